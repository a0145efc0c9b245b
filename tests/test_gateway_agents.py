"""Graphs of one's own behind a gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest
from gateways import QUESTION, gateway
from langgraph.graph import END, START, StateGraph

from spex_agents.cli.gateway_parts import _agents
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import SettingsError
from spex_agents.nodes import create_tot_graph
from spex_agents.search import Limits, Rebase
from spex_agents.server.gateway.catalogue import Catalogue
from spex_agents.server.gateway.settings import Agent

PLAIN = Agent(
    create_tot_graph, {"policy": Rebase(width=4), "limits": Limits(depth=4, step_tokens=64)}
)


def shouting(engine: Any, **search: Any) -> Any:
    """An agent whose search is one of its steps."""

    async def shout(state: Any) -> Any:
        return {"answer": f"{state['answer']}!"}

    inner = create_tot_graph(engine, **search)
    graph = StateGraph(inner.state_schema, input_schema=inner.input_schema)
    graph.add_node("search", inner.compile())
    graph.add_node("shout", shout)
    return graph.add_edge(START, "search").add_edge("search", "shout").add_edge("shout", END)


async def test_an_agent_is_a_model_with_settings_of_its_own() -> None:
    async with gateway(agents={"plain": PLAIN}) as running, running.client() as client:
        models = [model.id async for model in client.models.list()]
        asked: Any = {"messages": QUESTION, "seed": 0}
        own = await client.chat.completions.create(model="spex/plain", **asked)
        sized = await client.chat.completions.create(model="spex/plain/rebase-4", **asked)
        other = await client.chat.completions.create(model="spex/plain/rebase-2", **asked)
    assert models[0] == "spex/plain"
    trees = [(done.model_extra or {})["spex"]["tree_sha256"] for done in (own, sized, other)]
    assert trees[0] == trees[1] != trees[2]


async def test_a_request_s_settings_go_before_the_agent_s() -> None:
    async with gateway(agents={"plain": PLAIN}) as running, running.client() as client:
        done = await client.chat.completions.create(
            model="spex/plain", messages=QUESTION, extra_body={"spex": {"depth": 1}}
        )
    lines = (done.choices[0].message.model_extra or {})["reasoning_content"].splitlines()
    assert [line.partition("]")[0] for line in lines] == ["[0", "[1", "[2", "[3"]


async def test_a_search_may_be_a_step_of_the_agent() -> None:
    agents = {"loud": Agent(shouting, PLAIN.search)}
    async with gateway(agents=agents) as running, running.client() as client:
        done = await client.chat.completions.create(model="spex/loud", messages=QUESTION, seed=0)
        assert done.choices[0].message.content == "12!"


@pytest.mark.parametrize(
    "model", ["spex/loud", "spex/plain/", "spex/plain/none", "spex/rebase/plain"]
)
async def test_what_is_no_agent_is_not_found(model: str) -> None:
    async with gateway(agents={"plain": PLAIN}) as running, running.client() as client:
        with pytest.raises(openai.NotFoundError, match="or ENGINE/AGENT with plain"):
            await client.chat.completions.create(model=model, messages=QUESTION)


async def test_a_size_needs_a_policy_by_name() -> None:
    async with gateway(agents={"plain": PLAIN}) as running, running.client() as client:
        with pytest.raises(openai.BadRequestError, match="name one to size it"):
            await client.chat.completions.create(
                model="spex/plain", messages=QUESTION, extra_body={"spex": {"width": 2}}
            )


@pytest.mark.parametrize("name", ["two words", "", "rebase", "rstar-8"])
def test_a_policy_s_name_is_no_agent_s(name: str) -> None:
    with pytest.raises(SettingsError, match=f"agent {name!r}"):
        Catalogue({"spex": SimulatedEngine()}, {name: PLAIN})


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("coder", "must be NAME=MODULE:ATTRIBUTE"),
        ("coder=nowhere:agent", "cannot import 'nowhere'"),
        ("coder=json:agent", "has no 'agent'"),
        ("coder=json:dumps", "must be an Agent"),
    ],
)
def test_an_agent_of_the_command_line_that_is_none_is_named(given: str, fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        _agents([given])


def test_an_agent_of_the_command_line_may_be_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_of_all.py").write_text(
        "from spex_agents import create_tot_graph\n"
        "from spex_agents.server.gateway.settings import Agent\n"
        "agent = Agent(create_tot_graph)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert _agents(["mine=mine_of_all:agent"])["mine"].create is create_tot_graph


async def test_an_agent_that_fails_as_its_search_begins_leaves_nothing_running() -> None:
    made = 0

    def once(engine: Any, **search: Any) -> Any:
        nonlocal made
        made += 1
        if made > 1:  # the first time the request is checked
            raise RuntimeError("it has changed meanwhile")
        return create_tot_graph(engine, **search)

    asked = {"model": "spex/once", "messages": QUESTION}
    async with gateway(served=False, agents={"once": Agent(once, PLAIN.search)}) as running:
        async with running.http() as http:
            answer = await http.post("/v1/chat/completions", json=asked)
            (search,) = (await http.get("/v1/searches")).json()["data"]
        assert (answer.status_code, search["state"], made) == (500, "failed", 2)
        assert await running.parts.searches.records.running() == []
