"""Events and signs of life: which search they are of, where it runs, and whether it goes on."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, ToolCall
from langchain_core.runnables import Runnable
from langgraph.errors import NodeTimeoutError
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import TimeoutPolicy
from node_runs import ASKED, QUESTION, fast, fast_engine, nothing_left, settings, thread

from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.nodes import SpexMiddleware, create_tot_graph, create_tot_node, create_tot_tool
from spex_agents.search import Rebase
from spex_agents.search.tree import Thought

CHAT: Any = {"messages": [("user", QUESTION)]}


class Agent(FakeMessagesListChatModel):
    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, AIMessage]:
        return self


def call(identity: str) -> ToolCall:
    return ToolCall(name="think", args={"question": QUESTION}, id=identity, type="tool_call")


async def events_of(graph: Any, asked: Any = CHAT) -> list[dict[str, Any]]:
    return [part async for part in graph.astream(asked, thread(), stream_mode="custom")]


async def test_two_tool_calls_of_one_message_are_told_apart() -> None:
    model = Agent(
        responses=[AIMessage("", tool_calls=[call("a"), call("b")]), AIMessage("Twelve.")]
    )
    tool = create_tot_tool(fast_engine(), **fast(policy=Rebase(width=2)))
    events = await events_of(create_agent(model, [tool]))
    assert all(event["origin"].startswith("tools:") for event in events)
    searches = {event["search"]: event["tool_call"] for event in events}
    assert sorted(searches.values()) == ["a", "b"]
    ended = [event["tool_call"] for event in events if event["type"] == "ledger"]
    assert sorted(ended) == ["a", "b"]


def test_a_tool_without_an_agent_has_no_call() -> None:
    tool = create_tot_tool(fast_engine(), **fast(policy=Rebase(width=2)))
    assert tool.invoke({"question": QUESTION}) == tool.invoke(call("a")).content


@pytest.mark.parametrize("sync", [False, True])
async def test_every_event_of_a_middleware_names_its_search_and_its_node(sync: bool) -> None:
    model = Agent(responses=[AIMessage("4")])
    agent: Any = create_agent(model, middleware=[SpexMiddleware(policy=Rebase(width=2))])
    if sync:
        events = list(agent.stream(CHAT, stream_mode="custom"))
    else:
        events = await events_of(agent)
    assert len({event["search"] for event in events}) == 1
    assert all(event["origin"].startswith("model:") for event in events)
    assert [event["type"] for event in events].count("ledger") == 1
    assert events[-1]["ledger"]["thought_calls"] == 2


async def test_every_turn_of_an_agent_is_a_search_of_its_own() -> None:
    asks = AIMessage("", tool_calls=[call("a")])
    model = Agent(responses=[asks, asks, AIMessage("Twelve.")])
    tool = create_tot_tool(fast_engine(), **fast(policy=Rebase(width=2)))
    middleware = SpexMiddleware(policy=Rebase(width=2))
    events = await events_of(create_agent(model, [tool], middleware=[middleware]))
    by_search = {event["search"]: event["origin"].partition(":")[0] for event in events}
    assert list(by_search.values()) == ["model", "tools", "model"]


async def test_a_node_is_a_subagent_of_a_deep_agent_and_says_where_it_runs() -> None:
    deepagents = pytest.importorskip("deepagents")
    node = create_tot_node(fast_engine(), **fast(policy=Rebase(width=6)))
    thinker = StateGraph(MessagesState).add_node("think", node).add_edge(START, "think").compile()
    handed: dict[str, Any] = {"description": QUESTION, "subagent_type": "thinker"}
    task = ToolCall(name="task", args=handed, id="a", type="tool_call")
    model = Agent(responses=[AIMessage("", tool_calls=[task]), AIMessage("Twelve.")])
    known: Any = {"name": "thinker", "description": "Thinks.", "runnable": thinker}
    agent = deepagents.create_deep_agent(model, subagents=[known])
    events: list[Any] = []
    state: dict[str, Any] = {}
    modes = ["custom", "values"]
    async for space, mode, part in agent.astream(CHAT, stream_mode=modes, subgraphs=True):
        if mode == "custom":
            events.append(part)
        elif not space:
            state = part
    said = [(message.type, message.text) for message in state["messages"]]
    assert said[1:] == [("ai", ""), ("tool", "12"), ("ai", "Twelve.")]
    (origin,) = {event["origin"] for event in events}
    assert [part.partition(":")[0] for part in origin.split("|")] == ["tools", "think"]


def test_a_graph_that_is_no_part_of_another_has_no_origin() -> None:
    graph = create_tot_graph(fast_engine(), **fast()).compile()
    events: list[Any] = list(graph.stream(ASKED, stream_mode="custom"))
    assert {event["origin"] for event in events} == {""}
    assert len({event["search"] for event in events}) == 1


# Signs of life


class Slow(SimulatedEngine):
    """A thought takes ten minutes and grows; or it takes for ever, and nothing is written."""

    def __init__(self, *, stuck: bool) -> None:
        super().__init__()
        self.stuck = stuck

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        for _ in range(10):
            await asyncio.sleep(10_000 if self.stuck else 60)
            request.tokens += 1
        return await super().generate(prompt, request, sampling=sampling, max_tokens=max_tokens)


@pytest.mark.parametrize("stuck", [False, True])
def test_a_node_beats_while_its_search_goes_on_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, stuck: bool
) -> None:
    beats: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        runtime = Runtime(heartbeat=lambda: beats.append(loop.time()))
        monkeypatch.setattr("spex_agents.nodes.listening.get_runtime", lambda: runtime)
        engine = Slow(stuck=stuck)
        graph = create_tot_graph(engine, **settings(policy=Rebase(width=2))).compile()
        async with nothing_left(engine):
            await asyncio.wait([run := asyncio.create_task(graph.ainvoke(ASKED))], timeout=1000)
            run.cancel()
            await asyncio.wait([run])

    run_virtual(main())
    assert beats
    pauses = [after - before for before, after in pairwise(beats)]
    if stuck:
        assert beats[-1] - beats[0] < 5
    else:
        assert max(pauses) < 120
        assert beats[-1] - beats[0] > 600


async def test_a_search_that_does_not_go_on_meets_its_idle_timeout() -> None:
    engine = Slow(stuck=True)
    graph = StateGraph(MessagesState)
    graph.add_node(
        "think",
        create_tot_node(engine, **fast()),
        timeout=TimeoutPolicy(idle_timeout=0.5, refresh_on="heartbeat"),
    )
    before = asyncio.all_tasks()
    async with nothing_left(engine):
        with pytest.raises(NodeTimeoutError):
            await graph.add_edge(START, "think").compile().ainvoke(CHAT)
        if ending := asyncio.all_tasks() - before:  # LangGraph does not wait for them
            await asyncio.wait(ending)
