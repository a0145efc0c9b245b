"""The search as one node of somebody else's graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from node_runs import (
    QUESTION,
    Breakable,
    fast,
    fast_engine,
    idle,
    settings,
    thread,
    tree_hash,
)

from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import EngineError, SettingsError
from spex_agents.nodes import create_tot_node
from spex_agents.nodes.conversation import question_in
from spex_agents.nodes.told import NO_ANSWER
from spex_agents.search import Rstar
from spex_agents.search.tree import Thought

ASKED: Any = {"messages": [("user", QUESTION)]}


def chat(engine: SimulatedEngine, saver: InMemorySaver | None = None, **more: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("think", create_tot_node(engine, **more))
    graph.add_edge(START, "think")
    return graph.compile(checkpointer=saver)


def test_it_answers_the_last_human_message() -> None:
    async def main() -> None:
        result = await chat(SimulatedEngine(), **settings()).ainvoke(ASKED)
        reply = result["messages"][-1]
        assert isinstance(reply, AIMessage)
        assert len(result["messages"]) == 2
        assert reply.content == "12"
        report = reply.response_metadata["spex"]
        assert report["answer"] == "12"
        assert report["tree_sha256"] == await tree_hash()
        assert report["ledger"]["useful_tokens"] > 0
        assert report["stopped"] is None

    run_virtual(main())


def test_earlier_turns_are_context() -> None:
    turns = [SystemMessage("Be brief."), HumanMessage("Hello"), AIMessage("Hi!"), HumanMessage("?")]
    assert question_in(turns) == (
        "Conversation so far:\nSystem: Be brief.\nUser: Hello\nAssistant: Hi!\n\nQuestion:\n?"
    )
    assert question_in([HumanMessage("?")]) == "?"
    assert question_in([HumanMessage("?"), AIMessage("!")]) == "?\n\nSince then:\nAssistant: !"
    assert question_in([HumanMessage([{"type": "text", "text": "blocks"}])]) == "blocks"
    with pytest.raises(SettingsError, match="no question among 1 messages"):
        question_in([AIMessage("!")])


def test_every_turn_of_a_conversation_is_a_search_of_its_own() -> None:
    async def main() -> None:
        graph = chat(SimulatedEngine(), InMemorySaver(), **settings())
        first = await graph.ainvoke(ASKED, thread())
        second = await graph.ainvoke(ASKED, thread())
        assert len(second["messages"]) == 4
        hashes = [
            result["messages"][-1].response_metadata["spex"]["tree_sha256"]
            for result in (first, second)
        ]
        assert hashes[0] != hashes[1]  # the second has the first as its context

    run_virtual(main())


def test_without_an_answer_it_says_so() -> None:
    class Aimless:
        def thought(self, prompt: Prompt, seed: int, max_tokens: int) -> Thought:
            return Thought(text="Hm, quality 0.500000.", tokens=5, finish="stop", ends=True)

    async def main() -> None:
        result = await chat(SimulatedEngine(Aimless()), **settings(free_text=False)).ainvoke(ASKED)
        reply = result["messages"][-1]
        assert reply.content == NO_ANSWER
        assert reply.response_metadata["spex"]["answer"] is None

    run_virtual(main())


class Own(TypedDict, total=False):
    problem: str
    solution: str | None


@dataclass
class OwnData:
    problem: str
    solution: str | None = None


@pytest.mark.parametrize("schema", [Own, OwnData])
def test_a_state_of_your_own_has_its_own_keys(schema: Any) -> None:
    node = create_tot_node(fast_engine(), **fast(), question_key="problem", answer_key="solution")
    graph = StateGraph(schema).add_node("think", node).add_edge(START, "think").compile()
    asked: Any = schema(problem=QUESTION)
    assert graph.invoke(asked)["solution"] == "12"


@pytest.mark.parametrize("keys", [{"question_key": "mine"}, {"answer_key": "mine"}])
def test_one_key_without_the_other_is_refused(keys: Any) -> None:
    with pytest.raises(SettingsError, match="give both"):
        create_tot_node(fast_engine(), **keys)


def test_it_works_synchronously() -> None:
    engine = fast_engine()
    graph = chat(engine, InMemorySaver(), **fast())
    reply = graph.invoke(ASKED, thread())["messages"][-1]
    assert reply.response_metadata["spex"]["tree_sha256"] == run_virtual(tree_hash())
    events = list(graph.stream(ASKED, thread("2"), stream_mode="custom"))
    assert {event["type"] for event in events} == {"thought", "ledger"}
    assert idle(engine)


async def test_it_runs_by_hand() -> None:
    node = create_tot_node(fast_engine(), **fast())
    result = await node.ainvoke({"messages": [HumanMessage(QUESTION)]})
    assert result["messages"][0].content == "12"


def test_xray_shows_the_graph_inside() -> None:
    names = set(chat(fast_engine(), **fast()).get_graph(xray=True).nodes)
    assert {"think:select", "think:expand", "think:evaluate", "think:answer"} <= names


@pytest.mark.parametrize("subgraphs", [False, True])
def test_its_events_reach_the_stream_around_it(subgraphs: bool) -> None:
    async def main() -> None:
        graph = chat(SimulatedEngine(), **settings())
        parts = [
            part async for part in graph.astream(ASKED, stream_mode="custom", subgraphs=subgraphs)
        ]
        events = [part[1] for part in parts] if subgraphs else parts
        statuses = [event.get("status") for event in events]
        assert {"speculative", "accepted", "scored"} <= set(statuses)
        ids = [event["id"] for event in events if event.get("status") == "accepted"]
        assert len(ids) == len(set(ids))

    run_virtual(main())


def test_a_long_search_is_not_cut_by_a_limit_of_steps() -> None:
    async def main() -> None:
        graph = chat(SimulatedEngine(), **settings(policy=Rstar(rollouts=12, width=2)))
        result = await graph.ainvoke(ASKED, {"recursion_limit": 5})
        assert result["messages"][-1].content == "12"

    run_virtual(main())


def test_a_failed_run_goes_on_inside_the_node() -> None:
    async def main() -> None:
        engine = Breakable()
        engine.fails_from = 12
        graph = chat(engine, InMemorySaver(), **settings(None))
        with pytest.raises(EngineError):
            await graph.ainvoke(ASKED, thread())
        written, engine.fails_from = 11, None
        engine.written = 0
        result = await graph.ainvoke(None, thread())
        reply = result["messages"][-1].response_metadata["spex"]
        assert reply["tree_sha256"] == await tree_hash()
        whole = Breakable()
        await chat(whole, **settings(None)).ainvoke(ASKED)
        assert whole.written - written <= engine.written < whole.written

    run_virtual(main())
