"""Checkpoints hold what is new: they grow with the tree, not with its square."""

from __future__ import annotations

import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.errors import NodeTimeoutError
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import RetryPolicy, TimeoutPolicy
from node_runs import ASKED, QUESTION, Breakable, fast_engine, thread

from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.errors import EngineError
from spex_agents.nodes import create_tot_graph, create_tot_node, tree_of
from spex_agents.nodes.steps import STEP_TOKENS
from spex_agents.rewards import SimulatedReward
from spex_agents.search import Rebase, Rstar

CHAT: Any = {"messages": [("user", QUESTION)]}


def search(rollouts: int) -> dict[str, Any]:
    return {"policy": Rstar(rollouts=rollouts), "reward": SimulatedReward(latency=0.0001)}


def chat(saver: Any, *, rollouts: int = 4, checkpointer: bool | None = None) -> Any:
    node = create_tot_node(fast_engine(), checkpointer=checkpointer, **search(rollouts))
    graph = StateGraph(MessagesState).add_node("think", node).add_edge(START, "think")
    return graph.compile(checkpointer=saver)


async def stored(
    file: Path, rollouts: int, question: str = QUESTION, name: str = "1"
) -> tuple[int, int]:
    """Thoughts of a search, and what all its checkpoints hold."""
    async with AsyncSqliteSaver.from_conn_string(str(file)) as saver:
        graph = create_tot_graph(fast_engine(), **search(rollouts)).compile(checkpointer=saver)
        result = await graph.ainvoke({"question": question}, thread(name))
        async for snapshot in graph.aget_state_history(thread(name)):
            if snapshot.values.get("thoughts"):
                assert len(tree_of(snapshot.values)) <= len(result["thoughts"])
    database = sqlite3.connect(file)
    held = database.execute("select sum(length(checkpoint) + length(metadata)) from checkpoints")
    written = database.execute("select sum(length(value)) from writes")
    total = held.fetchone()[0] + written.fetchone()[0]
    database.close()
    return len(result["thoughts"]), total


THREAD = "e0a1b2c3-0000-4000-8000-123456789abc"


async def test_sixteen_rollouts_take_less_than_two_hundred_kilobytes(
    tmp_path: Path,
) -> None:
    _, size = await stored(tmp_path / "16", 16, name=THREAD)
    assert size < 75_000
    assert (tmp_path / "16").stat().st_size < 200_000  # with what SQLite adds to each row


async def test_so_they_do_in_a_node_of_another_graph(tmp_path: Path) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "16")) as saver:
        await chat(saver, rollouts=16).ainvoke(CHAT, thread(THREAD))
    assert (tmp_path / "16").stat().st_size < 200_000


async def test_their_size_is_linear_in_the_tree(tmp_path: Path) -> None:
    few, small = await stored(tmp_path / "4", 4)
    many, large = await stored(tmp_path / "32", 32)
    assert large / many < 1.2 * small / few
    assert (tmp_path / "32").stat().st_size / many < 1.2 * (tmp_path / "4").stat().st_size / few


async def test_a_long_question_is_stored_once(tmp_path: Path) -> None:
    _, short = await stored(tmp_path / "short", 4)
    _, long = await stored(tmp_path / "long", 4, QUESTION + " " * 100_000)
    assert long - short < 4 * 100_000


async def test_what_a_crash_may_lose_is_bounded_and_a_failure_loses_nothing() -> None:
    graph = create_tot_graph(fast_engine(), **search(8)).compile(checkpointer=InMemorySaver())
    result = await graph.ainvoke(ASKED, thread())
    kept = [len(state.values["thoughts"]) async for state in graph.aget_state_history(thread())]
    tokens = [row["tokens"] for row in result["thoughts"]]
    for later, before in pairwise(kept):
        assert sum(tokens[before:later][:-1]) < STEP_TOKENS

    engine = Breakable(speed=1000)
    plain: dict[str, Any] = {**search(8), "speculation": None}
    graph = create_tot_graph(engine, **plain).compile(checkpointer=InMemorySaver())
    engine.fails_from = 12
    with pytest.raises(EngineError, match="broken") as failed:
        await graph.ainvoke(ASKED, thread())
    assert len((await graph.aget_state(thread())).values["thoughts"]) == 11
    assert failed.value.partial is not None
    assert engine.written == 12
    engine.fails_from = None
    again = await graph.ainvoke(None, thread())
    assert again["tree_sha256"] == result["tree_sha256"]
    assert engine.written == len(result["thoughts"]) + 1


def test_a_step_that_runs_out_of_time_goes_on_where_it_was() -> None:
    late = 0

    def again(error: Exception) -> bool:
        nonlocal late
        late += 1
        return isinstance(error, NodeTimeoutError)

    async def main() -> None:
        engine = Breakable()
        builder = create_tot_graph(
            engine, policy=Rstar(rollouts=4), reward=SimulatedReward(latency=0.5), speculation=None
        )
        builder.nodes["expand"].timeout = TimeoutPolicy(run_timeout=0.9)
        builder.nodes["expand"].retry_policy = RetryPolicy(
            retry_on=again, max_attempts=50, initial_interval=0.01, max_interval=0.01
        )
        result = await builder.compile().ainvoke(ASKED)
        assert late
        assert engine.written == len(result["thoughts"])  # no thought is asked for twice

    run_virtual(main())


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_every_durability_keeps_the_whole_search(durability: Any, tmp_path: Path) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
        graph = create_tot_graph(fast_engine(), **search(4)).compile(checkpointer=saver)
        result = await graph.ainvoke(ASKED, thread(), durability=durability)
        kept = (await graph.aget_state(thread())).values
        assert kept["thoughts"] == result["thoughts"]
        assert tree_of(kept).sha256() == result["tree_sha256"]
        states = [state async for state in graph.aget_state_history(thread())]
        assert (len(states) <= 2) == (durability == "exit")


@pytest.mark.parametrize("checkpointer", [None, False])
async def test_a_node_may_keep_its_search_out_of_the_checkpoints(checkpointer: Any) -> None:
    saver = InMemorySaver()
    await chat(saver, checkpointer=checkpointer).ainvoke(CHAT, thread())
    spaces = {saved.config["configurable"]["checkpoint_ns"] for saved in saver.list(None)}
    assert any(space.startswith("think:") for space in spaces) == (checkpointer is None)


@pytest.mark.parametrize("policy", [Rstar(rollouts=4), Rebase(width=4)], ids=["single", "layers"])
async def test_from_any_moment_of_the_past_it_comes_to_the_same_end(policy: Any) -> None:
    graph = create_tot_graph(
        fast_engine(), policy=policy, reward=SimulatedReward(latency=0.0001)
    ).compile(checkpointer=InMemorySaver())
    first = await graph.ainvoke(ASKED, thread())
    states = [state async for state in graph.aget_state_history(thread())]
    for state in states[:: max(1, len(states) // 5)]:
        if state.next and state.next != ("__start__",):
            again = await graph.ainvoke(None, state.config)
            assert again["tree_sha256"] == first["tree_sha256"]
            assert len(again["thoughts"]) == len(first["thoughts"])
