"""Searches among the agents of langgraph-supervisor, langgraph-swarm and deepagents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from node_runs import QUESTION, fast, fast_engine, nothing_left, thread

from spex_agents.nodes import SpexMiddleware, create_tot_node, create_tot_tool
from spex_agents.search import Rebase

CHAT: Any = {"messages": [("user", QUESTION)]}
AGAIN: Any = {"messages": [("user", "And 6 + 6?")]}


class Scripted(BaseChatModel):
    """Says what a function of the conversation makes of it."""

    says: Callable[[Sequence[BaseMessage]], AIMessage]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **more: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **more: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.says(messages))])


_numbers = count()


def calls(name: str, **args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": f"c{next(_numbers)}"}])


def hands_over(to: str) -> Scripted:
    """Hands a user's message over, and tells what the other has said last."""

    def says(messages: Sequence[BaseMessage]) -> AIMessage:
        if messages[-1].type == "human":
            return calls(to)
        said = [one for one in messages if one.type == "ai" and one.name == "thinker"]
        return AIMessage(next(one.text for one in reversed(said) if one.text.isdigit()))

    return Scripted(says=says)


def always(name: str, messages: Sequence[BaseMessage]) -> AIMessage:
    return calls(name)


def thinker(engine: Any) -> Any:
    node = create_tot_node(engine, name="thinker", **fast(policy=Rebase(width=6)))
    graph = StateGraph(MessagesState).add_node("think", node).add_edge(START, "think")
    return graph.compile(name="thinker")


def told(messages: Sequence[AnyMessage]) -> list[tuple[str | None, str]]:
    return [(message.name, str(message.text)) for message in messages if message.text]


def middleware() -> SpexMiddleware:
    return SpexMiddleware(policy=Rebase(width=3))


@pytest.mark.filterwarnings("default::DeprecationWarning")
async def test_a_supervisor_has_a_search_among_its_agents() -> None:
    supervisor = pytest.importorskip("langgraph_supervisor")
    engine = fast_engine()
    boss = hands_over("transfer_to_thinker")
    team = supervisor.create_supervisor([thinker(engine)], model=boss)
    graph = team.compile(checkpointer=InMemorySaver())
    async with nothing_left(engine):
        first = await graph.ainvoke(CHAT, thread())
        again = await graph.ainvoke(AGAIN, thread())
    assert ("thinker", "12") in told(first["messages"])
    assert told(first["messages"])[-1] == ("supervisor", "12")
    assert told(again["messages"])[-1] == ("supervisor", "12")
    assert len({message.id for message in again["messages"]}) == len(again["messages"])


@pytest.mark.filterwarnings("default::DeprecationWarning")
async def test_a_supervisor_takes_agents_with_the_middleware_and_the_tool() -> None:
    supervisor = pytest.importorskip("langgraph_supervisor")

    def says(messages: Sequence[BaseMessage]) -> AIMessage:
        asked = messages[-1].name != "think"
        return calls("think", question=QUESTION) if asked else AIMessage("12")

    engine = fast_engine()
    tool = create_tot_tool(engine, **fast(policy=Rebase(width=6)))
    agent: Any = create_agent(
        Scripted(says=says), [tool], name="thinker", middleware=[middleware()]
    )
    boss = hands_over("transfer_to_thinker")
    team = supervisor.create_supervisor([agent], model=boss, output_mode="full_history")
    async with nothing_left(engine):
        result = await team.compile().ainvoke(CHAT)
    assert [text for _, text in told(result["messages"])].count("12") == 3  # tool, agent, boss
    assert told(result["messages"])[-1] == ("supervisor", "12")


async def test_a_swarm_hands_over_to_a_search_and_between_agents_that_search() -> None:
    swarm = pytest.importorskip("langgraph_swarm")
    engine = fast_engine()
    agents: list[Any] = [
        create_agent(
            Scripted(says=partial(always, f"transfer_to_{to}")),
            [swarm.create_handoff_tool(agent_name=to)],
            name=name,
            middleware=[middleware()],
        )
        for name, to in [("alice", "bob"), ("bob", "thinker")]
    ]
    team = swarm.create_swarm([*agents, thinker(engine)], default_active_agent="alice")
    graph = team.compile(checkpointer=InMemorySaver())
    async with nothing_left(engine):
        first = await graph.ainvoke(CHAT, thread())
        again = await graph.ainvoke(AGAIN, thread())
    assert first["active_agent"] == again["active_agent"] == "thinker"
    assert told(first["messages"])[-1] == ("thinker", "12")
    assert told(again["messages"])[-1] == ("thinker", "12")


async def test_a_deep_agent_searches_for_its_own_messages_and_in_its_subagents() -> None:
    deepagents = pytest.importorskip("deepagents")

    def says(messages: Sequence[BaseMessage]) -> AIMessage:
        last = messages[-1]
        if last.type == "human":
            return calls("write_file", file_path="/notes.txt", content="5 + 7")
        if last.name == "write_file":
            return calls("task", description=QUESTION, subagent_type="thinker")
        if last.name == "task":
            return calls("think", question=QUESTION)
        return AIMessage(f"Both say {last.text}.")

    engine = fast_engine()
    known: Any = {"name": "thinker", "description": "Thinks.", "runnable": thinker(engine)}
    agent = deepagents.create_deep_agent(
        Scripted(says=says),
        tools=[create_tot_tool(engine, **fast(policy=Rebase(width=6)))],
        middleware=[middleware()],
        subagents=[known],
        checkpointer=InMemorySaver(),
    )
    async with nothing_left(engine):
        result = await agent.ainvoke(CHAT, thread())
    assert result["messages"][-1].text == "Both say 12."
    assert [text for _, text in told(result["messages"])].count("12") == 2  # subagent and tool
    assert set(result["files"]) == {"/notes.txt"}  # written once, whatever was considered
    reports = [one.response_metadata["spex"] for one in result["messages"] if one.type == "ai"]
    assert [report["candidates"] for report in reports] == [1, 1, 1, 1]
