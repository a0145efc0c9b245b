"""Ending early without loss: through every policy and vote, on random trees full of ties."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_policies import LIMITS, POLICIES, Step, grow

from spex_agents.answers.termination import ExactStop, Standing
from spex_agents.answers.votes import Ballot, Vote, elect
from spex_agents.search import (
    Beam,
    BestOfN,
    Dvts,
    Expand,
    Limits,
    Path,
    Policy,
    Rap,
    Rebase,
    Rstar,
    RstarActions,
    TotBfs,
    TotDfs,
    Tree,
    draw,
)
from spex_agents.search.policy import State, voters

VOTES: tuple[Vote, ...] = ("majority", "weighted", "best")


def ballots(policy: Policy, state: State, tree: Tree, answers: str) -> list[Ballot]:
    """The votes, as a session counts them; a leaf's answer, if it has one, is drawn by its path."""
    found = []
    for place, leaf in enumerate(voters(policy, state, tree)):
        answer = draw(tree.seed, leaf, "answer").choice(answers)
        if answer != "-":
            found.append(Ballot(answer, tree.rewards[leaf], leaf, place))
    return found


def standing(policy: Policy, step: Step, vote: Vote, answers: str) -> Standing:
    return Standing(
        ballots=ballots(policy, step.after, step.tree, answers),
        vote=vote,
        remaining=policy.remaining(step.after, step.tree),
        tokens=0,
    )


@pytest.mark.parametrize("examples", [300, pytest.param(5000, marks=pytest.mark.slow)])
def test_the_answer_is_that_of_the_whole_search_for_every_policy_and_vote(examples: int) -> None:
    @settings(max_examples=examples)
    @given(
        POLICIES,
        st.integers(0, 10**6),
        LIMITS,
        st.sampled_from(VOTES),
        st.sampled_from(["a", "aab", "aabc-", "abcd--"]),
    )
    def holds(policy: Policy, seed: int, limits: Limits, vote: Vote, answers: str) -> None:
        steps = grow(policy, seed, limits)
        last = steps[-1]
        whole = elect(ballots(policy, last.after, last.tree, answers), vote)
        for step in steps:
            now = standing(policy, step, vote, answers)
            if isinstance(step.decision, Expand) and ExactStop()(now):
                assert elect(now.ballots, vote) == whole

    holds()


@pytest.mark.parametrize("examples", [300, pytest.param(5000, marks=pytest.mark.slow)])
def test_the_answer_is_the_same_though_a_part_of_a_decision_is_missing(examples: int) -> None:
    @settings(max_examples=examples)
    @given(
        POLICIES,
        st.integers(0, 10**6),
        LIMITS,
        st.sampled_from(VOTES),
        st.sampled_from(["a", "aab", "aabc-"]),
    )
    def holds(policy: Policy, seed: int, limits: Limits, vote: Vote, answers: str) -> None:
        steps, random = grow(policy, seed, limits), Random(seed)
        last = steps[-1]
        whole = elect(ballots(policy, last.after, last.tree, answers), vote)
        for step, after in pairwise(steps):
            assert isinstance(step.decision, Expand)
            there = [path for path in step.decision.paths if random.random() < 0.7]
            tree = step.tree.with_thoughts({path: after.tree.thoughts[path] for path in there})
            tree = tree.with_rewards(
                {path: after.tree.rewards[path] for path in there if path in after.tree.rewards}
            )
            now = ballots(policy, step.after, tree, answers)
            missing = [path for path in step.decision.paths if path not in tree]
            standing = Standing(
                ballots=now,
                vote=vote,
                remaining=policy.remaining(step.after, tree),
                tokens=0,
                within=True,
                fixed=fixed(now, step.decision.paths, missing),
            )
            rule = ExactStop(eager=True)
            if rule.fired(standing) is not None:
                assert elect(now, vote) == whole

    holds()


def fixed(now: list[Ballot], demanded: tuple[Path, ...], missing: list[Path]) -> int | None:
    """How many votes stand before the first of those that are missing."""
    if not missing:
        return None
    late = set(demanded[demanded.index(missing[0]) :])
    return next((at for at, ballot in enumerate(now) if ballot.path in late), None)


@pytest.mark.parametrize(
    "policy",
    [
        Rebase(width=8),
        Beam(beams=8, width=2),
        Dvts(beams=8, width=2),
        TotBfs(width=3, keep=5),
        TotDfs(width=3, threshold=0.0, solutions=5),
        Rstar(rollouts=12, width=3),
        RstarActions(rollouts=12, width=1),
        Rap(rollouts=12, width=2),
        BestOfN(width=8, batch=2),
    ],
    ids=lambda policy: type(policy).__name__,
)
def test_it_ends_searches_early(policy: Policy) -> None:
    ended = 0
    for seed in range(80):
        steps = grow(policy, seed, Limits(depth=4, step_tokens=40, path_tokens=160))
        ended += any(
            ExactStop()(standing(policy, step, "majority", "a"))
            for step in steps
            if isinstance(step.decision, Expand)
        )
    assert ended > 4
