"""Ending within a decision: what is settled is not waited for."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searching import (
    FLAT,
    LIMITS,
    QUESTION,
    Outcome,
    WatchedEngine,
    check_idle,
    config,
    make_engine,
    run_search,
)

from spex_agents.answers.limits import Deadline, MaxSeconds, MaxTokens
from spex_agents.answers.self_consistency import AdaptiveStop
from spex_agents.answers.termination import ExactStop, TerminationRule
from spex_agents.answers.votes import Vote
from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.nodes import create_tot_graph
from spex_agents.rewards.simulated import SimulatedReward
from spex_agents.search import BestOfN, Policy, Rebase, Thought, Tree
from spex_agents.search.registry import make_policy
from spex_agents.search.tree import Path
from spex_agents.speculation import Result, Speculation
from spex_agents.speculation.config import Known
from spex_agents.speculation.session import Session
from spex_agents.speculation.solving import run_to_end, solve


class Slow(WatchedEngine):
    """Sixteen answers: nine say 12 after a second, seven take a minute."""

    def __init__(self) -> None:
        super().__init__(SimulatedEngine(hardware=FLAT))

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        index = int(request.id.split("/")[-2])
        self.begun = getattr(self, "begun", 0) + 1
        try:
            await asyncio.sleep(1 if index % 16 < 9 else 60)
        except asyncio.CancelledError:
            self.cancelled = [*getattr(self, "cancelled", []), index]
            raise
        text = f"\\boxed{{{12 if index < 9 else 13}}}, quality 0.9"
        request.tokens = 5
        return Thought(text=text, tokens=5, finish="stop", ends=True)


def came(rule: TerminationRule | None, policy: Policy, **more: Any) -> tuple[Result, float, Slow]:
    engine = Slow()

    async def main() -> tuple[Result, float]:
        made = config(engine, policy, reward=SimulatedReward(), termination=rule, **more)
        async with Session(made, Tree(QUESTION), run="r") as session:
            result = await run_to_end(session)
            seconds = asyncio.get_running_loop().time()
        check_idle(engine)
        return result, seconds

    return *run_virtual(main()), engine


@pytest.mark.parametrize("vote", ["majority", "weighted"])
def test_nine_equal_answers_of_sixteen_end_the_search_and_cancel_the_others(vote: Vote) -> None:
    result, seconds, engine = came(ExactStop(eager=True), BestOfN(width=16), vote=vote)
    assert seconds < 2
    assert result.answer == "12"
    assert engine.cancelled == list(range(9, 16))
    assert len(result.tree) == 9
    assert result.timed
    assert result.tree_sha256 == f"timed:{result.tree.sha256()}"
    assert (result.stopped, result.ended) == ("ExactStop(eager=True)",) * 2
    whole, seconds, _ = came(ExactStop(), BestOfN(width=16), vote=vote)
    assert (whole.answer, whole.timed, seconds >= 60) == ("12", False, True)
    assert whole.tree_sha256 == whole.tree.sha256()


def test_a_perfect_leaf_does_not_end_a_vote_for_the_best_before_those_that_come_first() -> None:
    # All rewards are equal, so the answer is that of the first: not known before it is there.
    result, seconds, _ = came(ExactStop(eager=True), BestOfN(width=16), vote="best")
    assert seconds >= 60
    assert result.answer == "12"


def test_a_probable_majority_ends_the_search_where_it_is_asked_for_eagerly() -> None:
    result, seconds, _ = came(AdaptiveStop(eager=True), BestOfN(width=16), vote="majority")
    assert seconds < 2
    assert result.answer == "12"
    result, seconds, _ = came(AdaptiveStop(), BestOfN(width=16, batch=4), vote="majority")
    assert len(result.tree) == 4  # of sixteen, and whenever it is run again
    assert not result.timed


@pytest.mark.parametrize(
    "rule",
    [
        MaxSeconds(5),
        Deadline(datetime.now(UTC) - timedelta(seconds=1)),
        MaxSeconds(5) | ExactStop(),
    ],
    ids=["seconds", "deadline", "composed"],
)
def test_time_ends_a_search_whatever_is_under_way(rule: TerminationRule) -> None:
    result, seconds, engine = came(rule, BestOfN(width=16))
    assert seconds <= 5
    begun, cancelled = getattr(engine, "begun", 0), getattr(engine, "cancelled", ())
    assert len(cancelled) == begun - len(result.tree)
    assert result.timed
    assert result.stopped is not None


def test_everything_decoded_counts_for_a_budget_of_tokens() -> None:
    def tokens(rule: TerminationRule, speculation: Speculation | None) -> Outcome:
        return run_search(Rebase(width=8), termination=rule, speculation=speculation)

    def wrong(known: Known) -> dict[Path, float]:
        return {(*path, 7): 0.9 for path in known.thoughts if len(path) == 1}

    whole = run_search(Rebase(width=8), termination=None, speculation=None)
    limit = whole.decoded
    spent = tokens(MaxTokens(limit), Speculation(forecast=wrong, waste=100))
    assert spent.ledger.wasted_tokens > 0
    assert len(spent.tree) < len(whole.tree) == len(tokens(MaxTokens(limit), None).tree)
    on = tokens(MaxTokens(limit // 2, waste=False), Speculation())
    assert on.tree == tokens(MaxTokens(limit // 2, waste=False), None).tree
    assert 0 < len(on.tree) < len(whole.tree)


@given(
    st.sampled_from(["rebase", "beam", "dvts", "tot-bfs", "rstar", "rap", "best-of-n"]),
    st.integers(0, 10**6),
    st.sampled_from(get_args(Vote)),
    st.booleans(),
)
@settings(max_examples=10)
def test_an_eager_search_has_the_answer_of_the_whole_one(
    name: str, seed: int, vote: Vote, ahead: bool
) -> None:
    speculation = Speculation() if ahead else None

    def found(rule: TerminationRule | None) -> Outcome:
        return run_search(
            make_policy(name), seed=seed, vote=vote, termination=rule, speculation=speculation
        )

    assert found(ExactStop(eager=True)).answer == found(None).answer


def test_a_graph_marks_a_tree_that_depends_on_timing() -> None:
    async def main() -> None:
        graph = create_tot_graph(
            Slow(),
            policy=BestOfN(width=16),
            reward=SimulatedReward(),
            limits=LIMITS,
            termination=ExactStop(eager=True),
        ).compile()
        state = await graph.ainvoke({"question": QUESTION})
        assert asyncio.get_running_loop().time() < 10
        assert state["answer"] == "12"
        assert state["tree_sha256"].startswith("timed:")
        assert state["timed"]
        assert len(state["thoughts"]) == len(state["ballots"]) == 9
        assert state["agreement"] == 1.0

    run_virtual(main())


def test_a_rule_keeps_the_votes_it_stopped_on() -> None:
    for name in ("tot-dfs", "beam", "rest-mcts", "dvts", "rap", "tot-bfs"):
        for limit in (200, 400, 800):
            rule = MaxTokens(limit, waste=False)
            found = run_search(make_policy(name), termination=rule, limits=LIMITS)
            said = [
                leaf for leaf in found.tree.leaves() if "boxed" in found.tree.thought(leaf).text
            ]
            if said and name in {"rap", "rest-mcts", "tot-bfs"}:
                assert found.answer is not None
            if found.ballots:
                assert found.answer is not None


def test_solve_tells_what_it_came_to() -> None:
    result = run_virtual(solve(config(make_engine(), Rebase(width=6)), QUESTION, seed=3))
    assert result.path in [ballot.path for ballot in result.ballots]
    mine = sum(ballot.reward for ballot in result.ballots if ballot.answer == result.answer)
    assert result.agreement == pytest.approx(mine / sum(ballot.reward for ballot in result.ballots))
    assert result.ended in ("policy", "ExactStop()")
    assert result.failures == {}
