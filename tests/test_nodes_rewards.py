"""What a reward may do within a node's run: write to its stream, and not pause it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from node_runs import QUESTION, fast_engine, settings, thread

from spex_agents.errors import SettingsError
from spex_agents.nodes import create_tot_node
from spex_agents.rewards import Verifier
from spex_agents.search import BestOfN

CHAT: Any = {"messages": [("user", QUESTION)]}


def chat(reward: Any, saver: InMemorySaver | None = None) -> Any:
    node = create_tot_node(
        fast_engine(), **settings(policy=BestOfN(width=2), reward=Verifier(reward))
    )
    graph = StateGraph(MessagesState).add_node("think", node).add_edge(START, "think")
    return graph.compile(checkpointer=saver)


async def test_what_it_writes_to_the_stream_comes_from_the_node() -> None:
    async def tells(question: str, steps: Sequence[str]) -> float:
        get_stream_writer()({"steps": len(steps)})
        return 0.5

    written = [
        event async for event in chat(tells).astream(CHAT, stream_mode="custom") if "steps" in event
    ]
    assert len(written) == 2


async def test_an_interrupt_is_refused_and_the_remedy_told() -> None:
    async def asks(question: str, steps: Sequence[str]) -> float:
        return float(interrupt("How good is it?"))

    with pytest.raises(SettingsError, match="cannot be paused: call it in a node of your graph"):
        await chat(asks, InMemorySaver()).ainvoke(CHAT, thread())
