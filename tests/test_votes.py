"""How answers are counted."""

from __future__ import annotations

from random import Random
from typing import cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spex_agents.answers.votes import Ballot, Vote, check_vote, elect, tally, winner
from spex_agents.errors import SettingsError


def ballots(*votes: tuple[str, float]) -> list[Ballot]:
    return [Ballot(answer, reward, (place,), place) for place, (answer, reward) in enumerate(votes)]


@pytest.mark.parametrize(
    ("method", "scores", "elected"),
    [
        ("majority", {"a": 2.0, "b": 1.0}, "a"),
        ("weighted", {"a": 0.5, "b": 0.75}, "b"),
        ("best", {"a": 0.25, "b": 0.75}, "b"),
    ],
)
def test_votes(method: Vote, scores: dict[str, float], elected: str) -> None:
    votes = ballots(("a", 0.25), ("b", 0.75), ("a", 0.25))
    assert tally(votes, method) == scores
    assert elect(votes, method) == elected


@pytest.mark.parametrize("method", get_args(Vote))
def test_on_a_tie_the_first_given_wins(method: Vote) -> None:
    assert elect(ballots(("b", 0.5), ("a", 0.5)), method) == "b"


def test_the_best_leaf_is_the_first_of_the_highest_reward() -> None:
    assert elect(ballots(("a", 0.5), ("b", 1.0), ("a", 1.0)), "best") == "b"


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0]))),
    st.booleans(),
    st.sampled_from(get_args(Vote)),
    st.randoms(use_true_random=False),
)
def test_a_vote_does_not_depend_on_the_order_of_its_ballots(
    votes: list[tuple[str, float]], placed: bool, method: Vote, random: Random
) -> None:
    cast = ballots(*votes) if placed else [Ballot(answer, reward) for answer, reward in votes]
    shuffled = random.sample(cast, len(cast))
    assert list(tally(shuffled, method).items()) == list(tally(cast, method).items())
    assert winner(shuffled, method) == winner(cast, method)


@pytest.mark.parametrize("method", get_args(Vote))
def test_nobody_is_elected_without_a_ballot(method: Vote) -> None:
    assert elect([], method) is None


def test_a_vote_of_no_reward_still_counts_for_something() -> None:
    assert elect(ballots(("a", 0.0)), "weighted") == "a"
    assert elect(ballots(("a", 0.0)), "best") == "a"


def test_a_vote_that_nobody_has_said_how_to_count_is_an_error() -> None:
    with pytest.raises(NotImplementedError, match="'median': say in tally how it is counted"):
        tally(ballots(("a", 0.5)), cast("Vote", "median"))


def test_an_unknown_vote_is_refused_with_the_known_ones() -> None:
    assert check_vote("best") == "best"
    with pytest.raises(SettingsError, match="'loudest': must be one of majority, weighted, best"):
        check_vote("loudest")
