"""The graph that LangGraph's server loads by ``langgraph.json``."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from spex_agents.engines.simulated import SimulatedEngine
from spex_agents.errors import SettingsError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def factory(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SPEX_ENGINE", "simulated")
    named = json.loads((ROOT / "langgraph.json").read_text())["graphs"]["tot"]
    file, _, name = named.partition(":")
    spec = importlib.util.spec_from_file_location("studio", ROOT / file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "engine", SimulatedEngine(speed=1000))
    return getattr(module, name)


async def test_its_graph_answers(factory: Any) -> None:
    graph = factory({"configurable": {"policy": "best-of-n", "width": 2, "seed": 1}}).compile()
    result = await graph.ainvoke({"question": "What is 5 + 7?"})
    assert result["answer"] is not None
    assert len(result["thoughts"]) == 2


def test_an_unknown_policy_is_refused(factory: Any) -> None:
    with pytest.raises(SettingsError, match="policy='no'"):
        factory({"configurable": {"policy": "no"}})
