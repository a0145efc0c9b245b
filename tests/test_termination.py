"""Stopping rules: what is lossless, the rule of the paper, and how rules compose."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spex_agents.answers.termination import (
    ExactStop,
    MarginStop,
    MaxTokens,
    Standing,
    Stop,
)
from spex_agents.answers.votes import Ballot, Vote, elect
from spex_agents.errors import SettingsError

VOTES: Sequence[Vote] = ("majority", "weighted", "best")
REWARDS = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1)
BALLOTS = st.builds(Ballot, st.sampled_from("abc"), REWARDS)


def standing(
    *votes: tuple[str, float], vote: Vote = "weighted", remaining: int | None = 0, tokens: int = 0
) -> Standing:
    ballots = [Ballot(answer, reward) for answer, reward in votes]
    return Standing(ballots=ballots, vote=vote, remaining=remaining, tokens=tokens)


# The lossless rule


@pytest.mark.parametrize("examples", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_once_the_exact_stop_fires_nothing_that_may_come_changes_the_winner(
    examples: int,
) -> None:
    @settings(max_examples=examples)
    @given(
        st.sampled_from(VOTES),
        st.lists(BALLOTS, max_size=12),
        st.integers(0, 6),
        st.lists(BALLOTS, max_size=6),
    )
    def holds(vote: Vote, ballots: list[Ballot], remaining: int, later: list[Ballot]) -> None:
        now = Standing(ballots=ballots, vote=vote, remaining=remaining, tokens=0)
        if not ExactStop()(now):
            return
        winner = elect(ballots, vote)
        worst = [[Ballot(answer, 1.0)] * remaining for answer in "abcd"]
        for completion in ([], later[:remaining], *worst):
            assert elect([*ballots, *completion], vote) == winner

    holds()


@given(st.sampled_from(VOTES), st.lists(BALLOTS, max_size=8))
def test_the_exact_stop_never_fires_while_the_rest_is_unknown(
    vote: Vote, ballots: list[Ballot]
) -> None:
    now = Standing(ballots=ballots, vote=vote, remaining=None, tokens=0)
    assert not ExactStop()(now)


def test_a_rounded_sum_does_not_pass_for_a_lead() -> None:
    # The lead exceeds what one leaf can give by the last digit of a double, and adding that leaf's
    # 1 rounds the digit away: a tie, which the answer given first wins.
    votes = [("b", 1.0), ("b", 0.1649010266898052)]
    votes += [("a", 1.0), ("a", 1.0), ("a", 0.1649010266898054)]
    now = standing(*votes, remaining=1)
    leaders = now.leaders()
    assert leaders is not None
    assert leaders[0][0] == "a"
    assert leaders[0][1] - leaders[1][1] > 1
    assert elect([*now.ballots, Ballot("b", 1.0)], "weighted") == "b"
    assert not ExactStop()(now)


@pytest.mark.parametrize(
    ("votes", "vote", "remaining", "stops"),
    [
        ([("a", 0.1)] * 3, "majority", 2, True),  # 3 : 0, at most 3 : 2
        ([("a", 0.1)] * 3, "majority", 3, False),  # a tie at 3 : 3
        ([("a", 0.1)] * 3 + [("b", 1.0)], "majority", 1, True),  # 3 : 1, at most 3 : 2
        ([("a", 0.9)] * 3 + [("b", 0.5)], "weighted", 2, True),  # 2.7 : 0.5, at most 2.7 : 2.5
        ([("a", 0.9)] * 3 + [("b", 0.8)], "weighted", 2, False),  # 2.7 : 0.8, may be 2.7 : 2.8
        ([("a", 0.99)], "best", 1, False),
        ([("a", 1.0)], "best", 1, True),
    ],
)
def test_exact_stop_by_hand(
    votes: list[tuple[str, float]], vote: Vote, remaining: int, *, stops: bool
) -> None:
    assert ExactStop()(standing(*votes, vote=vote, remaining=remaining)) is stops


def test_no_rule_on_votes_fires_without_a_vote() -> None:
    assert not ExactStop()(standing(remaining=0))
    assert not MarginStop(min_answers=1)(standing(remaining=0))


# The rule of the paper: n >= t and first - second > alpha * remaining * mean(runner-up's rewards)


@pytest.mark.parametrize(
    ("votes", "remaining", "stops"),
    [
        # 2.4 - 0.5 = 1.9 > 0.5 * 6 * 0.5 = 1.5
        ([("a", 0.8), ("b", 0.5), ("a", 0.8), ("a", 0.8)], 6, True),
        # 1.9 is not above 0.5 * 8 * 0.5 = 2.0
        ([("a", 0.8), ("b", 0.5), ("a", 0.8), ("a", 0.8)], 8, False),
        # the mean of 0.2 and 0.6 is 0.4: 2.4 - 0.8 = 1.6 > 0.5 * 7 * 0.4 = 1.4
        ([("a", 0.8), ("b", 0.2), ("a", 0.8), ("b", 0.6), ("a", 0.8)], 7, True),
        # 1.6 is not above 0.5 * 8 * 0.4 = 1.6... in exact arithmetic; 9 leaves no doubt
        ([("a", 0.8), ("b", 0.2), ("a", 0.8), ("b", 0.6), ("a", 0.8)], 9, False),
        # no runner-up: a leaf is taken to weigh 1; 3.2 > 0.5 * 6 = 3
        ([("a", 0.8)] * 4, 6, True),
        ([("a", 0.8)] * 4, 7, False),
        # three leaves are fewer than four
        ([("a", 0.8)] * 3, 0, False),
    ],
)
def test_margin_stop_by_hand(
    votes: list[tuple[str, float]], remaining: int, *, stops: bool
) -> None:
    rule = MarginStop(alpha=0.5, min_answers=4)
    assert rule(standing(*votes, remaining=remaining)) is stops


def test_margin_stop_needs_to_know_what_remains() -> None:
    assert not MarginStop(min_answers=1)(standing(("a", 1.0), remaining=None))


def test_max_tokens_stops_at_its_limit() -> None:
    assert MaxTokens(10)(standing(tokens=10))
    assert not MaxTokens(10)(standing(tokens=9))


# Composition


class Fixed(Stop):
    def __init__(self, *, fires: bool, lossy: bool) -> None:
        self.fires = fires
        self.lossy = lossy

    def __call__(self, standing: Standing) -> bool:
        return self.fires


@given(st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_rules_compose(one: bool, other: bool, lossy: bool, other_lossy: bool) -> None:
    left = Fixed(fires=one, lossy=lossy)
    right = Fixed(fires=other, lossy=other_lossy)
    assert (left | right)(standing()) is (one or other)
    assert (left & right)(standing()) is (one and other)
    assert (left | right).lossy is (lossy or other_lossy)
    # Both must agree, and one of them never errs.
    assert (left & right).lossy is (lossy and other_lossy)


def test_only_the_exact_stop_is_lossless() -> None:
    assert [rule.lossy for rule in (ExactStop(), MarginStop(), MaxTokens(1))] == [False, True, True]
    assert (ExactStop() | MarginStop()).lossy
    assert not (ExactStop() & MarginStop()).lossy


def test_a_composed_rule_names_its_parts() -> None:
    assert str(ExactStop() | MaxTokens(5)) == "ExactStop() | MaxTokens(limit=5)"
    assert "ExactStop()" in str(ExactStop() & MaxTokens(5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MarginStop(alpha=-1), "alpha=-1: must be at least 0"),
        (lambda: MarginStop(min_answers=0), "min_answers=0: must be a whole number of at least 1"),
        (lambda: MaxTokens(0), "limit=0: must be a whole number of at least 1"),
    ],
)
def test_settings_outside_their_range_are_refused(make: type[Stop], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make()
