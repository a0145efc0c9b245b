"""A search that was broken off goes on from its checkpoint, to the same tree."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from node_runs import (
    ASKED,
    SPECULATION,
    Breakable,
    fast,
    fast_engine,
    idle,
    nothing_left,
    settings,
    thread,
    tree_hash,
)
from processes import PATIENCE

from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import EngineError
from spex_agents.nodes import create_tot_graph
from spex_agents.search import Beam, Policy, Rebase, Rstar
from spex_agents.speculation.config import Speculation

POLICIES = [Rebase(width=6), Beam(beams=4, width=2), Rstar(rollouts=4, width=2)]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
@pytest.mark.parametrize("speculation", SPECULATION, ids=["ahead", "plain"])
@pytest.mark.parametrize("fails_from", [1, 5, 9, 14])
@pytest.mark.parametrize("asked", [None, ASKED], ids=["resumed", "asked again"])
def test_it_goes_on_after_a_failure(
    policy: Policy, speculation: Speculation | None, fails_from: int, asked: Any
) -> None:
    async def main() -> None:
        engine = Breakable()
        graph = create_tot_graph(engine, **settings(speculation, policy=policy)).compile(
            checkpointer=InMemorySaver()
        )
        engine.fails_from = fails_from
        async with nothing_left(engine):
            with pytest.raises(EngineError, match="broken"):
                await graph.ainvoke(ASKED, thread())
        engine.fails_from = None
        saved = (await graph.aget_state(thread())).values.get("thoughts", [])
        result = await graph.ainvoke(asked, thread())
        assert result["tree_sha256"] == await tree_hash(policy=policy)
        assert result["thoughts"][: len(saved)] == saved
        written = sum(row["tokens"] for row in result["thoughts"])
        assert written == result["ledger"]["useful_tokens"]

    run_virtual(main())


@pytest.mark.parametrize("nodes", [["select"], ["expand"], ["evaluate"], ["answer"], "*"], ids=str)
@pytest.mark.parametrize("speculation", SPECULATION, ids=["ahead", "plain"])
def test_it_goes_on_after_interrupts(nodes: Any, speculation: Speculation | None) -> None:
    async def main() -> None:
        engine = SimulatedEngine()
        graph = create_tot_graph(engine, **settings(speculation)).compile(
            checkpointer=InMemorySaver(), interrupt_before=nodes
        )
        asked: Any = ASKED
        interrupts = 0
        while not (result := await graph.ainvoke(asked, thread())).get("tree_sha256"):
            assert idle(engine)
            interrupts += 1
            asked = None
        assert interrupts
        assert result["tree_sha256"] == await tree_hash()

    run_virtual(main())


def test_it_runs_ahead_again_as_soon_as_it_goes_on() -> None:
    async def main() -> None:
        graph = create_tot_graph(SimulatedEngine(), **settings()).compile(
            checkpointer=InMemorySaver(), interrupt_before=["expand"]
        )
        await graph.ainvoke(ASKED, thread())
        statuses = [
            event.get("status")
            async for event in graph.astream(None, thread(), stream_mode="custom")
        ]
        assert "speculative" in statuses

    run_virtual(main())


def test_another_question_in_the_middle_of_a_search_begins_anew() -> None:
    async def main() -> None:
        graph = create_tot_graph(SimulatedEngine(), **settings()).compile(
            checkpointer=InMemorySaver()
        )
        other = {"question": "What is 6 + 6?"}
        await graph.ainvoke(other, thread(), interrupt_before=["evaluate"])
        result = await graph.ainvoke(ASKED, thread())
        assert result["tree_sha256"] == await tree_hash()

    run_virtual(main())


def test_it_forks_from_an_earlier_checkpoint() -> None:
    async def main() -> None:
        graph = create_tot_graph(SimulatedEngine(), **settings()).compile(
            checkpointer=InMemorySaver()
        )
        result = await graph.ainvoke(ASKED, thread())
        history = list(graph.get_state_history(thread()))
        middle = history[len(history) // 2]
        again = await graph.ainvoke(None, middle.config)
        assert again["tree_sha256"] == result["tree_sha256"]

    run_virtual(main())


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
@pytest.mark.parametrize("edit", [{"question": "What is 6 + 6?"}, {"seed": 3}], ids=str)
def test_a_fork_whose_state_was_edited_is_another_search(policy: Policy, edit: Any) -> None:
    async def main() -> None:
        more: dict[str, Any] = {"policy": policy, "termination": None}
        builder = create_tot_graph(SimulatedEngine(), **settings(None, **more))
        wanted = await builder.compile().ainvoke({**ASKED, **edit})
        graph = builder.compile(checkpointer=InMemorySaver())
        await graph.ainvoke(ASKED, thread())
        history = [
            state for state in graph.get_state_history(thread()) if "decided" in state.values
        ]
        under_way = [state for state in history if state.next and state.next != ("__start__",)]
        for state in under_way[:: max(1, len(under_way) // 4)]:
            fork = await graph.aupdate_state(state.config, edit)
            again = await graph.ainvoke(None, fork)
            assert again["tree_sha256"] == wanted["tree_sha256"], state.next

    run_virtual(main())


# In another process

CHILD = """
import os, signal, sqlite3, sys
from langgraph.checkpoint.sqlite import SqliteSaver
from node_runs import ASKED, fast, fast_engine, thread
from spex_agents.nodes import create_tot_graph

saver = SqliteSaver(sqlite3.connect(sys.argv[1], check_same_thread=False))
graph = create_tot_graph(fast_engine(), **fast()).compile(checkpointer=saver)
expanded = 0
for update in graph.stream(ASKED, thread(), stream_mode="updates", durability="sync"):
    expanded += "expand" in update
    if expanded == 2:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def run_python(code: str, args: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def test_it_goes_on_after_its_process_was_killed(tmp_path: Path) -> None:
    file = str(tmp_path / "checkpoints.sqlite")
    killed = run_python(CHILD, [file])
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    connection = sqlite3.connect(file, check_same_thread=False)
    try:
        graph = create_tot_graph(fast_engine(), **fast()).compile(
            checkpointer=SqliteSaver(connection)
        )
        saved = graph.get_state(thread()).values
        assert saved["thoughts"]
        assert saved.get("tree_sha256") is None
        result = graph.invoke(None, thread())
    finally:
        connection.close()
    assert result["answer"] == "12"
    assert result["tree_sha256"] == run_virtual(tree_hash())
