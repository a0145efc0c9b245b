"""Ending early without loss: through every policy and vote, on random trees full of ties."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_policies import LIMITS, POLICIES, Step, grow

from spex_agents.answers.equivalence import equivalent, form, written
from spex_agents.answers.standing import Standing
from spex_agents.answers.termination import ExactStop
from spex_agents.answers.votes import Ballot, Vote, elect
from spex_agents.search import (
    Beam,
    BestOfN,
    Dvts,
    Expand,
    Limits,
    Particles,
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

VOTES: tuple[Vote, ...] = get_args(Vote)


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


@pytest.mark.parametrize("examples", [300, pytest.param(2500, marks=pytest.mark.slow)])
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


@pytest.mark.parametrize("examples", [300, pytest.param(2500, marks=pytest.mark.slow)])
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


# Answers that leave a unit unsaid

UNITS = ("10 minutes", "10 hours", "10", "600 seconds", "600", "7", "7 cm", "x = 7")
ANSWERS = st.sampled_from(UNITS) | st.sampled_from(["10 minutes", "10", "7"])
GIVEN = st.tuples(ANSWERS, st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1))


def count(given: list[tuple[str, float]]) -> list[Ballot]:
    """The votes, grouped as a session groups them."""
    forms = [form(answer) for answer, _ in given]
    labels = written([answer for answer, _ in given], forms)
    return [
        Ballot(label, reward, (), place, each)
        for place, (label, (_, reward), each) in enumerate(zip(labels, given, forms, strict=True))
    ]


@pytest.mark.parametrize("examples", [1000, pytest.param(2500, marks=pytest.mark.slow)])
def test_no_later_vote_changes_the_answer_by_parting_it_from_those_with_a_unit(
    examples: int,
) -> None:
    @settings(max_examples=examples)
    @given(
        st.sampled_from(VOTES),
        st.lists(GIVEN, min_size=1, max_size=12),
        st.integers(0, 5),
        st.lists(GIVEN, min_size=5, max_size=5),
    )
    def holds(
        vote: Vote,
        given: list[tuple[str, float]],
        remaining: int,
        later: list[tuple[str, float]],
    ) -> None:
        now = count(given)
        if not ExactStop()(Standing(ballots=now, vote=vote, remaining=remaining, tokens=0)):
            return
        answer = elect(now, vote)
        worst = [[(units, 1.0)] * remaining for units in UNITS]
        parted = [[(one, 1.0), *[(other, 1.0)] * remaining] for one in UNITS for other in UNITS]
        completions = ([], later, *worst, *parted)
        for completion in dict.fromkeys(tuple(each[:remaining]) for each in completions):
            whole = count([*given, *completion])
            assert equivalent(str(answer), str(elect(whole, vote)))

    holds()


@pytest.mark.parametrize("examples", [200, pytest.param(1500, marks=pytest.mark.slow)])
def test_the_answer_is_that_of_the_whole_search_where_some_leave_their_unit_unsaid(
    examples: int,
) -> None:
    @settings(max_examples=examples)
    @given(POLICIES, st.integers(0, 10**6), LIMITS, st.sampled_from(VOTES))
    def holds(policy: Policy, seed: int, limits: Limits, vote: Vote) -> None:
        def votes(step: Step) -> list[Ballot]:
            leaves = voters(policy, step.after, step.tree)
            answers = [draw(seed, leaf, "answer").choice(UNITS[:3]) for leaf in leaves]
            rewards = [step.tree.rewards[leaf] for leaf in leaves]
            return count(list(zip(answers, rewards, strict=True)))

        steps = grow(policy, seed, limits)
        whole = elect(votes(steps[-1]), vote)
        for step in steps:
            left = policy.remaining(step.after, step.tree)
            now = Standing(ballots=votes(step), vote=vote, remaining=left, tokens=0)
            if isinstance(step.decision, Expand) and ExactStop()(now):
                assert equivalent(str(elect(now.ballots, vote)), str(whole))

    holds()


@pytest.mark.parametrize(
    ("given_answers", "remaining", "stops"),
    [
        (["10 minutes"] * 3 + ["10"] * 3, 2, True),  # 6 to 0, parted 3 and 3 to 2
        (["10 minutes"] * 3 + ["10"] * 3, 3, False),  # "10 hours" three times: a tie of three
        (["10"] * 6, 5, True),  # nothing parts those that say the same
        (["10 minutes"] * 6, 5, True),
        (["10 minutes"] * 6 + ["600 seconds"] * 2, 7, True),  # by their base units: 8
        (["10 minutes"] * 5 + ["10"] + ["7"] * 2, 2, True),  # 5 to 2, at most 4
        (["10 minutes"] * 4 + ["10"] * 2 + ["7"] * 2, 2, False),  # parted 4 to at most 4
    ],
)
def test_by_hand_where_some_leave_their_unit_unsaid(
    given_answers: list[str], remaining: int, *, stops: bool
) -> None:
    votes = count([(answer, 0.5) for answer in given_answers])
    standing = Standing(ballots=votes, vote="majority", remaining=remaining, tokens=0)
    assert ExactStop()(standing) is stops


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
        Particles(width=4, iterations=5, counted="particles"),
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
