"""The graph that LangGraph's server loads by ``langgraph.json``."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from node_runs import thread
from tutoring import QUESTION, Adder

from spex_agents.engines.base import Engine
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import SettingsError

ROOT = Path(__file__).parents[1]


def loaded(name: str, monkeypatch: pytest.MonkeyPatch, engine: Engine) -> Any:
    """What ``langgraph.json`` names, on that engine."""
    monkeypatch.setattr("spex_agents.make_engine", lambda *_: engine)
    named = json.loads((ROOT / "langgraph.json").read_text())["graphs"][name]
    file, _, attribute = named.partition(":")
    spec = importlib.util.spec_from_file_location("studio", ROOT / file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, attribute)


@pytest.fixture
def tot(monkeypatch: pytest.MonkeyPatch) -> Any:
    return loaded("tot", monkeypatch, SimulatedEngine(speed=1000))


async def test_its_graph_answers(tot: Any) -> None:
    context = {"policy": "best-of-n", "width": 2, "seed": 1}
    result = await tot.compile().ainvoke({"question": "What is 5 + 7?"}, context=context)
    assert result["answer"] is not None
    assert len(result["thoughts"]) == 2


async def test_its_conversation_answers_and_every_schema_is_there(
    tot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = loaded("chat", monkeypatch, SimulatedEngine(speed=1000)).compile()
    context = {"policy": "best-of-n", "width": 2}
    result = await chat.ainvoke({"messages": [("user", "What is 5 + 7?")]}, context=context)
    assert result["messages"][-1].text
    for graph in (chat, tot.compile()):
        assert graph.get_input_jsonschema()["properties"]
        assert graph.get_output_jsonschema()["properties"]
        titles = {one["title"] for one in graph.get_context_jsonschema()["properties"].values()}
        assert titles >= {"Policy", "Width", "Depth", "Seed", "Speculation", "Budget of tokens"}


async def test_an_unknown_policy_is_refused(tot: Any) -> None:
    with pytest.raises(SettingsError, match="policy='no'"):
        await tot.compile().ainvoke({"question": "What is 5 + 7?"}, context={"policy": "no"})


async def test_the_tutor_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    tutor = loaded("math_tutor", monkeypatch, Adder())
    graph = tutor({"configurable": {"width": 6}}).compile(checkpointer=InMemorySaver())
    state = await graph.ainvoke({"question": QUESTION}, thread())
    assert state["__interrupt__"][0].value.startswith("Step 1 of 3")


def test_the_tutor_takes_questions_of_any_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    tutor = loaded("math_tutor", monkeypatch, Adder())
    assert tutor({"configurable": {"problems": None, "reward": "confidence"}}).compile()
