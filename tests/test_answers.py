"""Answers: brought to a canonical form, counted."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spex_agents.answers import symbolic
from spex_agents.answers.equivalence import canonical, plain_form
from spex_agents.answers.votes import Ballot, Vote, check_vote, elect, tally, winner
from spex_agents.errors import SettingsError


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ("4", "4"),
        ("4.0", "4"),
        ("$4$", "4"),
        (" 4. ", "4"),
        ("+4", "4"),
        ("-0", "0"),
        ("0.50", "1/2"),
        ("2/4", "1/2"),
        (r"\frac{1}{2}", "1/2"),
        (r"\dfrac{2}{4}", "1/2"),
        ("1.5/2", "3/4"),
        ("1/0", "1/0"),
        ("1,234", "1234"),
        ("1 234", "1234"),
        ("Yes", "yes"),
        ("  YES   sir ", "yes sir"),
        (r"\text{B}", "b"),
        ("x^2 + 1", "x**2 + 1"),
        ("1 + x^2", "x**2 + 1"),
        (r"\{2, 1\}", "{1, 2}"),
        ("9^{9^{9^9}}", "9**(9**(9**9))"),  # nothing is computed: who asks may wish it
        ("100000000!", "factorial(100000000)"),
        ("[", "["),
        ("=", "="),
        ("1" * 5000, "1" * 5000),
        ("A long tale of 1 " * 50, "a long tale of 1 " * 49 + "a long tale of 1"),
    ],
)
def test_canonical_form(answer: str, form: str) -> None:
    assert canonical(answer) == form


@pytest.mark.parametrize(
    "answer",
    [
        r"\frac{" * 30,
        "x_{" * 45 + "1" + "}" * 45,  # sympy would not end
        r"\binom{99999}{50000}",  # too long to be written down
        "9^{9^{9^{9}}}!!",
        "\udcff_1",
        "x_1\n[1, 2]",
        "9" * 100 + "!",
    ],
)
def test_whatever_a_model_writes_has_a_form_in_time(
    answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(symbolic, "CPU_SECONDS", 0.3)
    began = time.process_time()
    assert isinstance(canonical(answer), str)
    assert time.process_time() - began < 0.3
    assert canonical("1 + x^2") == "x**2 + 1"  # and the next one is none the worse


def test_it_goes_on_when_its_process_was_killed() -> None:
    assert symbolic.form("x + x") == "x + x"
    running = symbolic._process._running
    assert running is not None
    running.kill()
    running.wait()
    assert symbolic.form("x + x") == "x + x"


def test_threads_may_ask_at_once() -> None:
    with ThreadPoolExecutor(8) as pool:
        forms = pool.map(canonical, [f"{number} + x^2" for number in range(1, 40)])
    assert list(forms) == [f"x**2 + {number}" for number in range(1, 40)]


@given(st.text(alphabet="0123456789.,/+- $", max_size=30))
def test_every_string_of_number_characters_has_a_form(answer: str) -> None:
    assert isinstance(canonical(answer), str)


@given(st.text(max_size=30))
def test_the_plain_form_never_disagrees_with_the_canonical_one(answer: str) -> None:
    if (easy := plain_form(answer)) is not None:
        assert canonical(answer) == easy


@given(st.fractions())
def test_a_fraction_is_its_own_form(value: object) -> None:
    assert canonical(str(value)) == str(value)


# Votes


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


@pytest.mark.parametrize("method", ["majority", "weighted", "best"])
def test_on_a_tie_the_first_given_wins(method: Vote) -> None:
    assert elect(ballots(("b", 0.5), ("a", 0.5)), method) == "b"


def test_the_best_leaf_is_the_first_of_the_highest_reward() -> None:
    assert elect(ballots(("a", 0.5), ("b", 1.0), ("a", 1.0)), "best") == "b"


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0]))),
    st.booleans(),
    st.sampled_from(["majority", "weighted", "best"]),
    st.randoms(use_true_random=False),
)
def test_a_vote_does_not_depend_on_the_order_of_its_ballots(
    votes: list[tuple[str, float]], placed: bool, method: Vote, random: Random
) -> None:
    cast = ballots(*votes) if placed else [Ballot(answer, reward) for answer, reward in votes]
    shuffled = random.sample(cast, len(cast))
    assert list(tally(shuffled, method).items()) == list(tally(cast, method).items())
    assert winner(shuffled, method) == winner(cast, method)


@pytest.mark.parametrize("method", ["majority", "weighted", "best"])
def test_nobody_is_elected_without_a_ballot(method: Vote) -> None:
    assert elect([], method) is None


def test_a_vote_of_no_reward_still_counts_for_something() -> None:
    assert elect(ballots(("a", 0.0)), "weighted") == "a"
    assert elect(ballots(("a", 0.0)), "best") == "a"


def test_an_unknown_vote_is_refused_with_the_known_ones() -> None:
    assert check_vote("best") == "best"
    with pytest.raises(SettingsError, match="'loudest': must be one of majority, weighted, best"):
        check_vote("loudest")
