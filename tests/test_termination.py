"""Stopping rules: what is lossless, the rule of the paper, and how rules compose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spex_agents.answers.limits import Deadline, MaxDollars, MaxSeconds, MaxTokens
from spex_agents.answers.self_consistency import AdaptiveStop, WindowStop
from spex_agents.answers.standing import Standing
from spex_agents.answers.termination import ExactStop, MarginStop, TerminationRule
from spex_agents.answers.votes import Ballot, Vote, elect
from spex_agents.errors import SettingsError

VOTES: Sequence[Vote] = get_args(Vote)
REWARDS = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1)
BALLOTS = st.builds(Ballot, st.sampled_from("abc"), REWARDS)


def standing(
    *votes: tuple[str, float], vote: Vote = "weighted", remaining: int | None = 0, tokens: int = 0
) -> Standing:
    ballots = [Ballot(answer, reward, (), place) for place, (answer, reward) in enumerate(votes)]
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
        ballots = [replace(ballot, place=place) for place, ballot in enumerate(ballots)]
        now = Standing(ballots=ballots, vote=vote, remaining=remaining, tokens=0)
        if not ExactStop()(now):
            return
        winner = elect(ballots, vote)
        worst = [[Ballot(answer, 1.0)] * remaining for answer in "abcd"]
        for completion in ([], later[:remaining], *worst):
            placed = [replace(ballot, place=len(ballots)) for ballot in completion]
            assert elect([*ballots, *placed], vote) == winner

    holds()


@given(st.sampled_from(VOTES), st.lists(BALLOTS, max_size=8))
def test_the_exact_stop_never_fires_while_the_rest_is_unknown(
    vote: Vote, ballots: list[Ballot]
) -> None:
    now = Standing(ballots=ballots, vote=vote, remaining=None, tokens=0)
    assert not ExactStop()(now)


def test_a_rounded_sum_does_not_pass_for_a_lead() -> None:
    # The lead exceeds what one leaf can give by the last digit of a double, no more.
    votes = [("b", 1.0), ("b", 0.1649010266898052)]
    votes += [("a", 1.0), ("a", 1.0), ("a", 0.1649010266898054)]
    now = standing(*votes, remaining=1)
    leaders = now.leaders()
    assert leaders is not None
    assert leaders[0][0] == "a"
    assert leaders[0][1] - leaders[1][1] > 1
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


def test_the_exact_stop_never_fires_under_a_vote_it_does_not_know() -> None:
    votes = [("a", 1.0)] * 3
    assert not ExactStop()(standing(*votes, vote=cast("Vote", "median"), remaining=0))


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


class Fixed(TerminationRule):
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
        (lambda: MaxDollars(0, sent=1, written=1), "limit=0: must be above 0"),
        (lambda: MaxDollars(1, sent=1, written=0), "written=0: must be above 0"),
        (lambda: MaxDollars(1, sent=-1, written=1), "sent=-1: must be at least 0"),
    ],
)
def test_settings_outside_their_range_are_refused(
    make: type[TerminationRule], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        make()


@pytest.mark.parametrize("given", [0.01, None, MaxTokens])
def test_a_rule_is_composed_with_rules_alone(given: Any) -> None:
    for compose in (ExactStop().__or__, ExactStop().__and__):
        with pytest.raises(SettingsError, match="termination="):
            compose(given)


# Adaptive self-consistency


@pytest.mark.parametrize(
    ("first", "second", "ends"),
    [
        # P(p > 1/2) for Beta(v1 + 1, v2 + 1): 1 - 2^-(v1 + 1) without another answer.
        (3, 0, False),  # 0.9375
        (4, 0, True),  # 0.96875
        (5, 1, False),  # 1 - 8 / 128 = 0.9375
        (6, 1, True),  # 1 - 9 / 256 = 0.965
        (5, 5, False),
    ],
)
def test_adaptive_stop_by_hand(first: int, second: int, *, ends: bool) -> None:
    votes = [("a", 0.1)] * first + [("b", 0.1)] * second
    assert AdaptiveStop()(standing(*votes, vote="majority", remaining=None)) is ends


def test_adaptive_stop_asks_whether_the_answer_that_leads_has_the_votes() -> None:
    # Weighted, b leads by one leaf; most leaves say a.
    votes = [("a", 0.1)] * 5 + [("b", 0.9)]
    assert AdaptiveStop()(standing(*votes, vote="majority")) is False
    assert not AdaptiveStop()(standing(*votes, ("a", 0.1), vote="weighted"))


@pytest.mark.parametrize(
    ("answers", "ends"),
    [
        ("aaaa", False),
        ("aaaaa", True),
        ("baaaaa", False),
        ("babababbbbb", False),
        ("babaxbbbbb", True),
    ],
)
def test_window_stop_by_hand(answers: str, *, ends: bool) -> None:
    votes = [(answer, 0.5) for answer in answers]
    assert WindowStop(size=5)(standing(*votes, remaining=None)) is ends


# Budgets


def test_max_tokens_counts_what_was_decoded_or_what_was_committed() -> None:
    now = Standing(ballots=[], vote="best", remaining=None, tokens=9, decoded=50)
    assert MaxTokens(50)(now)
    assert not MaxTokens(51)(now)
    assert not MaxTokens(10, waste=False)(now)
    assert (MaxTokens(1).timed, MaxTokens(1, waste=False).timed) == (True, False)


def test_time_is_up_when_it_is_and_says_when_to_ask_again() -> None:
    now = Standing(ballots=[], vote="best", remaining=None, tokens=0, seconds=2.0, time=1000.0)
    at = datetime.fromtimestamp(1001, UTC)
    assert not MaxSeconds(3)(now)
    assert not Deadline(at)(now)
    later = replace(now, seconds=3.0, time=1001.0)
    assert MaxSeconds(3)(later)
    assert Deadline(at)(later)
    assert MaxSeconds(3).due(now) == 1.0
    assert (MaxSeconds(9) | Deadline(at)).due(now) == 1.0
    assert (ExactStop() & MarginStop()).due(now) is None
    with pytest.raises(SettingsError, match="must have a time zone"):
        Deadline(datetime(2030, 1, 1))
    with pytest.raises(SettingsError, match="limit=0: must be above 0"):
        MaxSeconds(0)


# Within a decision


def test_only_eager_rules_are_asked_within_a_decision() -> None:
    votes = [Ballot("a", 1.0, (), place) for place in range(9)]
    within = Standing(ballots=votes, vote="majority", remaining=7, tokens=0, within=True)
    assert ExactStop().fired(within) is None
    assert ExactStop().fired(replace(within, within=False)) == ExactStop()
    eager = ExactStop(eager=True)
    assert eager.fired(within) is eager
    assert (ExactStop() | eager).fired(within) is eager
    assert (ExactStop() & eager).fired(within) is None
    assert str((MaxTokens(5) | eager).fired(within)) == "ExactStop(eager=True)"


def test_a_perfect_leaf_waits_for_those_that_may_be_placed_before_it() -> None:
    votes = [Ballot("a", 0.5, (0,), 0), Ballot("b", 1.0, (2,), 1)]
    within = Standing(ballots=votes, vote="best", remaining=2, tokens=0, within=True, fixed=1)
    assert ExactStop(eager=True).fired(within) is None
    assert ExactStop(eager=True).fired(replace(within, fixed=2)) is not None
