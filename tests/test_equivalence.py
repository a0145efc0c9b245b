"""When two answers are the same: in every notation, in time, and for votes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spex_agents.answers import canonical, counted, equivalent, extract_answer, same_as, symbolic
from spex_agents.answers.classes import same
from spex_agents.answers.equivalence import form, forming, plain_form, written

DATA = Path(__file__).parent / "data"


def rows(name: str) -> list[dict[str, Any]]:
    lines = (DATA / name).read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


@pytest.mark.parametrize("row", rows("equivalent.jsonl"), ids=str)
def test_the_cases_of_equivalence(row: dict[str, Any]) -> None:
    assert equivalent(row["a"], row["b"]) is row["same"]


@pytest.mark.parametrize("row", rows("extract.jsonl"), ids=str)
def test_the_cases_of_extraction(row: dict[str, Any]) -> None:
    found = extract_answer(row["text"])
    if row["answer"] is None:
        assert found is None
    else:
        assert found is not None
        assert equivalent(found, row["answer"])


@pytest.mark.parametrize("row", rows("equivalent_kinds.jsonl"), ids=str)
def test_every_kind_of_answer(row: dict[str, Any]) -> None:
    assert equivalent(row["a"], row["b"]) is row["same"]
    assert equivalent(row["b"], row["a"]) is row["same"]


@pytest.mark.parametrize(
    ("a", "b", "other"),
    [
        ("π", "pi", "pie"),
        ("x = pi", r"\pi", "p"),
        ("x1 = 2; x2 = -2", "{-2; 2}", "{2; 3}"),
        ("x1=x2=2", "x=2", "x=3"),
        ("x = 3 (double root)", "x = 3", "x = 4"),
        ("x = 3 or x = 3", "x = 3", "x = 3 or x = 4"),
        ("only x = 3", "x = 3", "x = 4"),
        ("+/-2", "±2", "-2"),
        (r"R \ {2}", "x ≠ 2", "x ≠ 3"),
        ("x = 2 oder x = -2", "{-2; 2}", "{2; 3}"),
        ("5 ct", "0.05 €", "5 €"),
        ("1 J", "1 Nm", "1 N"),
        ("1 Nm", "1 N m", "1 nm"),
        ("1 Stunde", "60 Minuten", "60 Sekunden"),
        ("20 Prozent", "20%", "0.02"),
        ("infinitely many solutions", "infinitely many", "no solution"),
        ("(3|4)", "(3, 4)", "(4, 3)"),
        (r"0,\overline{3}", "1/3", "1/33"),
        ("60°", "60 degrees", "60 rad"),
    ],
)
def test_a_notation_is_the_same_as_another_and_not_as_its_wrong_twin(
    a: str, b: str, other: str
) -> None:
    assert equivalent(a, b)
    assert equivalent(b, a)
    assert not equivalent(a, other)
    assert not equivalent(other, b)


@pytest.mark.parametrize(("a", "b"), [("x1 = 2", "x2 = 2"), ("x1 = 2; x2 = 3", "x = 2")])
def test_an_index_tells_names_apart(a: str, b: str) -> None:
    assert not equivalent(a, b)


VALUES = st.sampled_from(["2", "3", "1/2", "2 cm", "20 mm", "3 m", "150 cents", "90°", r"\pi/2"])
NAMED = st.builds(lambda name, value: f"{name}{value}", st.sampled_from(["x=", "y=", ""]), VALUES)
SEVERAL = st.builds(
    lambda parts, joint, ends: ends[0] + joint.join(parts) + ends[1],
    st.lists(NAMED, min_size=1, max_size=3),
    st.sampled_from([", ", "; ", " and ", " or "]),
    st.sampled_from(["  ", "()", "[]", "{}", "(]"]),
)
ANSWERS = st.one_of(
    SEVERAL,
    st.sampled_from([row[side] for row in rows("equivalent_kinds.jsonl") for side in "ab"]),
    st.text(alphabet="0123456789.,/+-%$ :()[]{}=<>xabcm\\", max_size=12),
    st.text(max_size=20),
)


@given(ANSWERS, ANSWERS)
@settings(deadline=None, max_examples=150)
def test_it_is_symmetric_and_reflexive(a: object, b: object) -> None:
    a, b = str(a), str(b)
    assert equivalent(a, a)
    assert equivalent(a, b) is equivalent(b, a)


@given(st.lists(ANSWERS, max_size=8))
@settings(deadline=None, max_examples=100)
def test_the_form_of_an_easy_answer_is_that_of_the_full_reading(answers: list[object]) -> None:
    easy = [str(one) for one in answers if plain_form(str(one)) is not None]
    assert [plain_form(one) for one in easy] == [form(one) for one in easy]
    keys = [canonical(one) for one in easy]  # equal keys: an equivalence, so it is transitive
    for (one, a), (other, b) in combinations(zip(easy, keys, strict=True), 2):
        assert a != b or equivalent(one, other)


@given(st.lists(ANSWERS, max_size=8), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=100)
def test_a_class_holds_only_answers_that_are_all_the_same(
    given_answers: list[object], random: object
) -> None:
    answers = [str(one) for one in given_answers]
    labels = written(answers, [form(one) for one in answers])
    by = dict(zip(answers, labels, strict=True))
    for one, other in combinations(answers, 2):
        if by[one] == by[other]:
            assert equivalent(one, other)
    assert set(labels) <= set(answers)
    turned = sorted(answers, reverse=True)
    again = dict(zip(turned, written(turned, [form(one) for one in turned]), strict=True))
    assert again == by


@given(st.fractions(max_denominator=10**6))
def test_a_number_is_the_same_in_every_notation(value: object) -> None:
    text = str(value)
    top, _, bottom = text.partition("/")
    notations = [
        f"${text}$",
        rf"\frac{{{top}}}{{{bottom or 1}}}",
        f"**{text}**",
        rf"\boxed{{{text}}}",
    ]
    assert all(equivalent(text, one) for one in notations)
    assert canonical(text) == text
    assert not any(
        equivalent(f"{text} + 1" if not bottom else f"-{text}5", one) for one in notations
    )


@given(st.lists(st.integers(-99, 99), min_size=2, max_size=3, unique=True))
def test_a_point_is_the_same_in_its_order_only(values: list[int]) -> None:
    point, *others = permutations(values)
    names = [f"{name} = {value}" for name, value in zip("xyz", point, strict=False)]
    named, bare = ", ".join(names), ", ".join(map(str, point))
    notations = [named, bare, f"({bare})", " and ".join(reversed(names))]
    assert all(equivalent(one, other) for one, other in combinations(notations, 2))
    for other in others:
        turned = ", ".join(map(str, other))
        assert equivalent(bare, turned)
        assert not equivalent(named, turned)
        assert not equivalent(f"({bare})", turned)


async def test_several_are_compared_at_once() -> None:
    known = ["1/2", r"\frac{x}{2}", "0.5x + 0", "red"]
    assert await same_as("x/2", known) == (False, True, True, False)
    assert await same_as("Red", known) == (False, False, False, True)
    assert await same_as("x", []) == ()


@pytest.mark.parametrize(
    ("answers", "labels"),
    [
        (["0.5", r"\frac{1}{2}", "1/2"], ["0.5", "0.5", "0.5"]),
        (["18 cm", "18", r"18\text{ cm}"], ["18 cm", "18 cm", "18 cm"]),
        (["10 minutes", "10 hours", "10"], ["10 minutes", "10 hours", "10"]),
        (["1 hour", "60 minutes", "60"], ["1 hour", "1 hour", "60"]),
        (["x = 5", "5", "y = 6"], ["5", "5", "y = 6"]),
        (["B) Paris", "B", "(B)"], ["B", "B", "B"]),
        (["Paris.", "paris"], ["paris", "paris"]),
        ([], []),
    ],
)
async def test_votes_count_what_is_the_same_together(
    answers: Sequence[str], labels: Sequence[str]
) -> None:
    assert await counted(answers) == list(labels)


async def test_votes_may_be_counted_by_a_form_of_ones_own() -> None:
    assert await counted(["0.5", "1/2", "ab", "a b"], lambda text: text.replace(" ", "")) == [
        "0.5",
        "1/2",
        "ab",
        "ab",
    ]


# In time.

SLOW = r"\int " + "x_{" * 45 + "1" + "}" * 45  # sympy would not end


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbolic, "CPU_SECONDS", 0.3)


@pytest.mark.parametrize(
    "answer",
    [
        SLOW,
        "9^9^9^9",
        "9^{9^{9^{9}}}!!",
        r"\binom{99999}{50000}",
        "100000000!",
        "9" * 100 + "!",
        r"\frac{" * 30,
        "(" * 5000,
        "x=" * 3000,
        "5" * 100_000,
        r"\text{" * 60,
        "x^" * 140,
        "\udcff_1",
        "x_1\n[1, 2]",
        "\x00",
        "1e999999",
        " ," * 20_000,
        "",
    ],
)
def test_whatever_a_model_writes_has_a_form_in_time(answer: str, short: None) -> None:
    forming.cache_clear()
    began = time.process_time()
    assert len(form(answer).value) <= 310
    assert time.process_time() - began < 1
    assert equivalent("1 + x^2", "x^2 + 1")  # and the next one is none the worse


def test_what_cannot_be_told_is_the_same_only_as_itself(short: None) -> None:
    forming.cache_clear()
    assert equivalent("9^{9^{9^9}}", "9^{9^{9^9}}")
    assert not equivalent("9^{9^{9^9}}", "9^{9^{9^8}}")
    assert not equivalent("1/0", "2/0")
    assert not equivalent("1e999999", "1e999998")


async def test_an_easy_answer_does_not_wait_for_nasty_ones() -> None:
    forming.cache_clear()
    nasty = [forming(SLOW.replace("1", str(number))) for number in range(6)]
    assert await same_as("1 + x^2", ["x^2 + 1"]) == (True,)
    assert not any(one.done() for one in nasty[4:])
    symbolic._server.close()
    assert all(one.done() for one in nasty)
    forming.cache_clear()


async def test_forms_are_remembered_and_asked_for_once() -> None:
    forming.cache_clear()
    assert forming("a^2 - b^2") is forming("a^2 - b^2")
    await asyncio.gather(same_as("a^2 - b^2", ["(a-b)(a+b)"]), same_as("a^2 - b^2", ["0"]))


async def test_who_is_cancelled_while_waiting_spoils_nothing() -> None:
    forming.cache_clear()
    waiting = asyncio.create_task(same_as("a + b", ["b + a"]))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert await same_as("a + b", ["b + a"]) == (True,)


def test_it_goes_on_when_its_process_was_killed() -> None:
    assert same(form("x + 3x"), form("4x"))
    running = symbolic._server._process
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    forming.cache_clear()
    assert same(form("x + 3x"), form("4x"))


def test_threads_may_ask_at_once() -> None:
    with ThreadPoolExecutor(8) as pool:
        pairs = [(f"{number} + z^2", f"z^2 + {number}") for number in range(1, 40)]
        assert all(pool.map(equivalent, *zip(*pairs, strict=True)))
