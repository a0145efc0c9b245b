"""What a search has spent, told over all its runs: interrupted, cancelled, resumed."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph.state import CompiledStateGraph
from node_runs import ASKED, fast, nothing_left, settings, thread

from spex_agents.answers import MaxDollars, MaxTokens, TerminationRule
from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.nodes import create_tot_graph
from spex_agents.search import Dvts, Policy, Rebase, Rstar, Thought
from spex_agents.speculation import Ledger, Speculation

counts = st.integers(0, 1000)

SEARCHES: list[Policy] = [
    Rebase(width=6),
    Dvts(beams=4, width=2),
    Rstar(rollouts=4, width=2),
    Rstar(rollouts=3, width=2, create="all"),
]


class Counting(SimulatedEngine):
    """Counts what it decodes and is asked for, whatever becomes of it."""

    decoded = asked = sent = 0

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        self.asked += 1
        try:
            return await super().generate(prompt, request, sampling=sampling, max_tokens=max_tokens)
        finally:
            self.decoded += request.tokens
            self.sent += request.prompt_tokens


def spent_by(policy: Policy, breaks: list[float], **run: Any) -> tuple[dict[str, Any], Counting]:
    """The result of a search whose runs are cancelled after so many seconds each."""

    async def main() -> tuple[dict[str, Any], Counting]:
        engine = Counting()
        given = settings(run.pop("speculation", Speculation()), policy=policy)
        graph = create_tot_graph(engine, **given).compile(checkpointer=InMemorySaver())
        asked: Any = ASKED
        async with nothing_left(engine):
            for seconds in breaks:
                running = asyncio.ensure_future(graph.ainvoke(asked, thread(), **run))
                await asyncio.wait([running], timeout=seconds)
                if running.done() and running.result().get("tree_sha256"):
                    return running.result(), engine
                running.cancel()
                await asyncio.wait([running])
                asked = None if (await graph.aget_state(thread())).values else ASKED
            while not (result := await graph.ainvoke(asked, thread(), **run)).get("tree_sha256"):
                asked = None
        return result, engine

    return run_virtual(main())


def check(result: dict[str, Any], engine: Counting, whole: dict[str, Any]) -> None:
    ledger = result["ledger"]
    assert result["tree_sha256"] == whole["tree_sha256"]
    assert ledger["useful_tokens"] == whole["ledger"]["useful_tokens"]
    assert ledger["useful_tokens"] == sum(row["tokens"] for row in result["thoughts"])
    assert ledger["decoded_tokens"] == engine.decoded
    assert ledger["thought_calls"] == engine.asked
    assert ledger["sent_tokens"] == engine.sent
    assert ledger["prompt_tokens"] == whole["ledger"]["prompt_tokens"]
    assert ledger["hit_tokens"] <= ledger["useful_tokens"]


@pytest.mark.parametrize("policy", SEARCHES, ids=repr)
@pytest.mark.parametrize("seed", range(3))
def test_a_search_that_is_cancelled_and_resumed_counts_all_its_runs(
    policy: Policy, seed: int
) -> None:
    chance = Random(seed)
    breaks = [chance.uniform(0.01, 8) for _ in range(1 + seed)]
    whole, engine = spent_by(policy, [])
    check(whole, engine, whole)
    check(*spent_by(policy, breaks), whole)


@pytest.mark.parametrize("speculation", [Speculation(), None], ids=["ahead", "plain"])
@pytest.mark.parametrize("nodes", [["expand"], ["evaluate"], "*"], ids=str)
def test_a_search_that_is_interrupted_and_resumed_counts_all_its_runs(
    nodes: Any, speculation: Speculation | None
) -> None:
    whole, _ = spent_by(SEARCHES[0], [], speculation=speculation)
    result, engine = spent_by(SEARCHES[0], [], speculation=speculation, interrupt_before=nodes)
    check(result, engine, whole)
    assert result["ledger"]["calls"] >= whole["ledger"]["calls"] or speculation is not None


class Priced(SimulatedEngine):
    """Tells how long a prompt is, as a chat model does."""

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        request.prompt_tokens = 500
        return await super().generate(prompt, request, sampling=sampling, max_tokens=max_tokens)


@pytest.mark.parametrize("rule", [MaxTokens(1200), MaxDollars(0.01, sent=1, written=1)], ids=str)
def test_a_limit_counts_what_earlier_runs_have_spent(rule: TerminationRule, tmp_path: Path) -> None:
    file = tmp_path / "checkpoints.sqlite"
    with closing(sqlite3.connect(file, check_same_thread=False)) as connection:

        def graph(**more: Any) -> CompiledStateGraph[Any]:
            """As another process has it: nothing is known but what was saved."""
            search = create_tot_graph(Priced(speed=1000), **fast(speculation=None, **more))
            return search.compile(checkpointer=SqliteSaver(connection))

        whole = graph(termination=rule).invoke(ASKED, thread("whole"))
        assert whole["stopped"] == str(rule)
        asked: Any = ASKED
        while "tree_sha256" not in (
            again := graph(termination=rule).invoke(asked, thread("1"), interrupt_before="*")
        ):
            asked = None
        forked = [
            graph(termination=rule).invoke(None, state.config)
            for state in graph().get_state_history(thread("whole"))
            if state.next in (("expand",), ("evaluate",))
        ]
    assert len(forked) > 2
    for other in (again, *forked):
        assert (other["stopped"], other["tree_sha256"]) == (str(rule), whole["tree_sha256"])
        assert other["ledger"]["sent_tokens"] == whole["ledger"]["sent_tokens"]


def test_another_search_on_the_thread_has_a_ledger_of_its_own() -> None:
    async def main() -> None:
        graph = create_tot_graph(Counting(), **settings()).compile(checkpointer=InMemorySaver())
        other = {"question": "What is 6 + 6?"}
        await graph.ainvoke(other, thread(), interrupt_before=["evaluate"])
        result = await graph.ainvoke(ASKED, thread())
        again = await graph.ainvoke(ASKED, thread())
        tokens = sum(row["tokens"] for row in result["thoughts"])
        assert result["ledger"]["useful_tokens"] == again["ledger"]["useful_tokens"] == tokens

    run_virtual(main())


def test_what_a_checkpoint_tells_of_the_ledger_is_plain() -> None:
    async def main() -> None:
        graph = create_tot_graph(Counting(), **settings()).compile(checkpointer=InMemorySaver())
        state = await graph.ainvoke(ASKED, thread(), interrupt_after=["evaluate"])
        assert json.loads(json.dumps(state["ledger"])) == state["ledger"]
        tokens = sum(row["tokens"] for row in state["thoughts"])
        assert state["ledger"]["useful_tokens"] == tokens > 0

    run_virtual(main())


@given(first=counts, waste=counts, more=counts, saved=counts)
def test_what_a_run_has_spent_is_never_less_than_nothing_and_is_paid_once(
    first: int, waste: int, more: int, saved: int
) -> None:
    before = Ledger(useful_tokens=first, wasted_tokens=waste, hits=first)
    after = replace(before)
    after.go_on(Ledger(useful_tokens=more))
    after.keep(Ledger(useful_tokens=min(saved, first + more)))
    after.hits = 0  # a process that was killed took that with it
    spent = after.since(before)
    assert spent.useful_tokens >= 0
    assert spent.wasted_tokens >= 0
    assert spent.decoded_tokens == more
    assert spent.hits == 0
