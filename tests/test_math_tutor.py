"""The tutor of the examples: what it teaches, what it tells and when, and what it survives."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, settings
from hypothesis import given as drawn
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command
from node_runs import thread
from processes import PATIENCE
from tutoring import ANSWER, IN_ORDER, QUESTION, Adder, lesson, tutor
from typer.testing import CliRunner

from examples.math_tutor import Check, create_math_tutor
from examples.math_tutor import __main__ as client
from examples.math_tutor.evidence import Attempt, Evidence, Step
from examples.math_tutor.marking import mark
from examples.math_tutor.memory import Record
from examples.math_tutor.steps import false_sum, form, given, number, stated
from examples.math_tutor.words import (
    came_to,
    explanation,
    greeting,
    hints,
    marked,
    no_solution,
    tried,
)
from spex_agents.answers import symbolic
from spex_agents.engines.embedded.engine import EmbeddedEngine
from spex_agents.errors import EngineUnavailable
from spex_agents.nodes import tree_of
from spex_agents.rewards import Confidence
from spex_agents.search import BestOfN, Policy, Rebase, Rstar
from spex_agents.search.tree import Thought, Tree
from spex_agents.speculation.config import Speculation
from spex_agents.view import read_recording

POLICIES = [Rebase(width=6), Rstar(rollouts=8, width=3)]


def grown(rows: dict[tuple[int, ...], tuple[str, float]], question: str = QUESTION) -> Tree:
    """A tree with these texts and rewards; what nothing lies below has ended."""
    parents = {path[:-1] for path in rows}
    thoughts = {
        path: Thought(text=text, tokens=9, ends=path not in parents)
        for path, (text, _) in rows.items()
    }
    return Tree(question, 0, thoughts, {path: reward for path, (_, reward) in rows.items()})


def said_after(line: str, said: Sequence[str]) -> str:
    """What was answered to the last such line."""
    at = max(n for n, one in enumerate(said) if one == f"human: {line}")
    return said[at + 1]


# A lesson


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
async def test_a_whole_lesson(policy: Policy) -> None:
    graph = tutor(Adder(), policy=policy, checkpointer=InMemorySaver(), store=InMemoryStore())
    state, _ = await lesson(graph, thread(), [])
    first, second, third = Evidence(tree_of(state), IN_ORDER).steps(tuple(state["path"]))
    assert [step.value for step in (first, second, third)] == ["19", "25", "31"]
    refuted = first.others[0] if first.others else second.others[0]
    at_first = refuted in first.others
    before = [] if at_first else ["19"]
    after = ["38/2", r"\frac{50}{2}"] if at_first else [r"\frac{50}{2}"]
    lines = [*before, "hint", refuted.value, "why", *after, "Wednesday: 25 + 6 = 31"]
    state, said = await lesson(graph, thread(), lines, Command(resume="explain"))
    assert refuted.value in said_after(refuted.value, said)
    assert "I tried that too" in said_after(refuted.value, said)
    assert f" is not {refuted.value}; " in said_after(refuted.value, said)
    assert f" is not {refuted.value}; " not in said_after("why", said)  # it was just said
    assert said_after(r"\frac{50}{2}", said) == "ai: Right: Tuesday: 19 + 6 = 25"
    assert "1. Monday: 13 + 6 = 19" in said[-2]
    assert said[-1].startswith("ai: The answer is 31. Hints: 1. Slips: ")
    assert state["status"] == "done"
    assert "__interrupt__" not in state


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
async def test_the_lesson_is_the_same_without_speculation(policy: Policy) -> None:
    lines = ["hint", "29", "why", "19", "hint", "hint", "25", "give up"]
    told = []
    for speculation in (Speculation(), None):
        graph = tutor(Adder(), policy=policy, speculation=speculation, checkpointer=InMemorySaver())
        state, said = await lesson(graph, thread(), lines)
        told.append((state["tree_sha256"], said))
    assert told[0] == told[1]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))]
)
async def test_nothing_is_told_before_its_time(policy: Policy, seed: int) -> None:
    graph = tutor(Adder(), policy=policy, seed=seed, checkpointer=InMemorySaver())
    state, _ = await lesson(graph, thread(), [])
    first, *_ = Evidence(tree_of(state), IN_ORDER).steps(tuple(state["path"]))
    wrong = [other.value for other in first.others]
    lines = ["hint", "hint", "1000", *wrong, "13 + 6 = 1000", "13 + 6"]
    _, said = await lesson(graph, thread(), lines, Command(resume="why"))
    told = " ".join(one for one in said if one.startswith("ai: "))
    assert not {"19", "31"} & set(re.findall(r"\d+", told)), told


async def test_another_seed_is_another_tree() -> None:
    hashes = set()
    for seed in (0, 1):
        graph = tutor(Adder(), seed=seed, checkpointer=InMemorySaver())
        hashes.add((await lesson(graph, thread(), []))[0]["tree_sha256"])
    assert len(hashes) == 2


async def test_giving_up_tells_the_whole_solution() -> None:
    graph = tutor(Adder(), checkpointer=InMemorySaver())
    state, said = await lesson(graph, thread(), ["19", "Give up!"])
    assert "3. Wednesday: 25 + 6 = 31" in said[-2]
    assert state["status"] == "given up"


async def test_a_new_question_on_the_same_thread_begins_anew() -> None:
    graph = tutor(Adder(), checkpointer=InMemorySaver())
    await lesson(graph, thread(), ["19"])
    other = {"question": "Start: 2\nMonday: + 3\nTuesday: + 3", "known": "8"}
    state, said = await lesson(graph, thread(), ["5", "8"], other)
    assert said[-1].startswith("ai: The answer is 8.")
    assert len(state["thoughts"]) == len(tree_of(state).thoughts)


async def test_it_remembers_a_student() -> None:
    store = InMemoryStore()
    graph = tutor(Adder(), checkpointer=InMemorySaver(), store=store)
    ana = {"question": QUESTION, "known": ANSWER, "student": "ana.b"}
    await lesson(graph, thread("1"), ["hint", "29", "119", "19", "25", "31"], ana)
    _, said = await lesson(graph, thread("2"), [], ana)
    assert said[0] == (
        "ai: Welcome back: 1 of 1 problem done so far, 1 hint. Your slips were: carrying 2 "
        "times. So this time, look at what is carried from one place to the next."
    )
    _, said = await lesson(graph, thread("3"), [], {**ana, "student": "ben"})
    assert not said[0].startswith("ai: Welcome back")


async def test_the_same_wrong_line_is_one_slip() -> None:
    graph = tutor(Adder(), checkpointer=InMemorySaver())
    state, _ = await lesson(graph, thread(), ["20", "20", "99", "20/1"])
    assert state["slips"] == {"off by one": 1, "a wrong digit": 1}
    state, _ = await lesson(graph, thread(), ["26"], Command(resume="19"))
    assert state["slips"] == {"off by one": 2, "a wrong digit": 1}  # another step's is another


# What it stands behind


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
async def test_it_teaches_nothing_unsound(policy: Policy) -> None:
    graph = tutor(Adder(slips=1.0), policy=policy, checkpointer=InMemorySaver())
    state, said = await lesson(graph, thread(), [])
    assert said[-1].startswith("ai: I have found no solution that I can stand behind")
    assert '- "Monday: 13 + 6 = ' in said[-1]
    assert re.search(r"13 \+ 6 is not \d+", said[-1])
    assert (state["status"], state["path"]) == ("unsolved", None)
    assert "__interrupt__" not in state


async def test_it_teaches_nothing_that_misses_the_known_answer() -> None:
    graph = tutor(Adder(slips=0), checkpointer=InMemorySaver())
    state, said = await lesson(graph, thread(), [], {"question": QUESTION, "known": "32"})
    assert "No path came to the known answer; they came to 31 (6 times)." in said[-1]
    assert state["status"] == "unsolved"


async def test_a_majority_of_wrong_paths_does_not_end_the_search_for_the_known_answer() -> None:
    class Misled(Adder):
        """Is wrong in most paths, and right in the last of them."""

        async def generate(self, prompt: Any, request: Any, **more: Any) -> Thought:
            written = await super().generate(prompt, request, **more)
            text = "The answer is 31" if "/5/" in request.id else "The answer is 30"
            return replace(written, text=text, ends=True, finish="stop")

    graph = create_math_tutor(
        Misled(slips=0), Check.unsure(Confidence()), policy=BestOfN(width=6, batch=1)
    ).compile(checkpointer=InMemorySaver())
    state, _ = await lesson(graph, thread(), [])
    assert (state["path"], state["stopped"]) == ([5], None)


async def test_without_a_known_answer_it_goes_by_the_check() -> None:
    graph = tutor(Adder(), checkpointer=InMemorySaver())
    _, said = await lesson(graph, thread(), ["19", "25", "31"], {"question": QUESTION})
    assert "unsure" not in said[0]
    assert said[-1].startswith("ai: The answer is 31.")


async def test_without_a_check_it_says_that_it_is_unsure() -> None:
    unsure = Check.unsure(Confidence())
    graph = tutor(Adder(slips=0.1), check=unsure, checkpointer=InMemorySaver())
    _, said = await lesson(graph, thread(), ["1000", "give up"], {"question": QUESTION})
    assert "I am unsure of it: nothing could check any of its steps" in said[0]
    assert "Whether it does what the question asks, I cannot check" in said[0]
    assert "it may be wrong" in said_after("1000", said)
    assert "only the model's view" in said[-2]
    assert said[-1].startswith("ai: I came to ")
    assert "; nothing has checked it. Hints: 0." in said[-1]


async def test_a_right_sum_is_not_refused_for_a_step_that_nothing_has_checked() -> None:
    unsure = Check.unsure(Confidence())
    graph = tutor(Adder(slips=0), check=unsure, checkpointer=InMemorySaver())
    _, said = await lesson(graph, thread(), ["6 + 6 = 12", "12"], {"question": QUESTION})
    assert "Your sum holds." in said_after("6 + 6 = 12", said)
    assert "nothing has checked mine" in said_after("6 + 6 = 12", said)
    assert "Your sum holds" not in said_after("12", said)


async def test_another_true_sum_is_not_refused_where_the_answer_is_not_known() -> None:
    free = Check.of_sums(Adder())
    graph = tutor(Adder(slips=0), check=free, checkpointer=InMemorySaver())
    _, said = await lesson(graph, thread(), ["6 + 6 = 12", "give up"], {"question": QUESTION})
    assert said_after("6 + 6 = 12", said).startswith("ai: Your sum holds. It is not what I have,")
    assert "Slips: none." in said[-1]
    asked = {"question": QUESTION, "known": "31"}
    _, said = await lesson(graph, thread(), ["6 + 6 = 12", "give up"], asked)
    told = said_after("6 + 6 = 12", said)
    assert told.startswith("ai: Your sum holds, but it is not this step.")
    assert "Slips: none." not in said[-1]


def test_of_what_was_tried_the_rubbish_is_not_told() -> None:
    def attempt(value: str, text: str, tries: int) -> Attempt:
        return Attempt(value=value, text=text, tries=tries, reward=0.0, way=None, ends={})

    others = [attempt("Hmm", "The value is Hmm", 9), attempt("20", "13 + 6 = 20 " + "km " * 99, 2)]
    others += [attempt(str(n), f"13 + 6 = {n}", 1) for n in range(30, 40)]
    step = Step(
        text="13 + 6 = 19", value="19", unit=None, remarks=(), reward=1.0, agree=3,
        others=tuple(others),
    )  # fmt: skip
    told = explanation([step], 0, Check.of_sums(Adder()))
    assert "Hmm" not in told
    assert told.count("Tried") == 4
    assert max(map(len, told.split("\n"))) < 260


UNREAD = grown(
    {
        (0,): ("15 girls x 4 ill = 60 girls = 60 boys", 0.9),
        (0, 0): ("The answer is 60", 0.9),
    }
)


async def test_sums_that_no_calculator_can_read_are_not_taught() -> None:
    free = Check.of_sums(Adder())
    evidence = Evidence(UNREAD, free)
    assert await evidence.solution(None) is None
    assert await evidence.solution("60") == (0, 0)  # known to be right
    said = no_solution(evidence, None)
    assert 'No calculator can read "15 girls x 4 ill = 60 girls = 60 boys"' in said
    assert "contradict" not in said
    assert await Evidence(UNREAD, Check.unsure(Confidence())).solution(None) == (0, 0)
    readable = Tree(
        UNREAD.question,
        0,
        {**UNREAD.thoughts, **ONE_SUM.thoughts},
        {**UNREAD.rewards, **ONE_SUM.rewards},
    )
    evidence = Evidence(readable, free)
    path = await evidence.solution(None)
    assert path == (1, 0)
    told = came_to(evidence, path, evidence.steps(path), None)
    assert told.startswith("I came to 60; the sums hold, but nothing has checked")
    assert came_to(evidence, path, evidence.steps(path), "60") == "The answer is 60."


ONE_SUM = grown({(1,): ("15 * 4 = 60", 0.8), (1, 0): ("The answer is 60", 0.8)})


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("10 + 3 = 13 + 3 = 16", "10 + 3 is not 13 + 3"),
        ("10 + 3 = 12 + 1 = 14", "12 + 1 is not 14"),
        ("So 7 / 2 = 3 R 2.", "7 / 2 is not 3 R 2"),
        ("10 + 3 = 12 + 1 = 13", None),
    ],
)
def test_a_false_equation_is_quoted(line: str, told: str | None) -> None:
    assert false_sum(line) == told


CONTRADICTIONS = grown(
    {
        (0,): ("12 * 30 = 360", 1.0),
        (0, 0): ("The answer is 360", 1.0),
        (1,): ("12 + 30 = 42", 1.0),
        (1, 0): ("The answer is 12 + 30 = 42 apples.", 1.0),
        (2,): ("12 + 30 = 43", 0.0),
        (2, 0): ("The answer is 43", 0.0),
    }
)


async def test_where_sums_alone_are_checked_one_answer_has_to_prevail() -> None:
    free = Check.of_sums(Adder())
    assert await Evidence(CONTRADICTIONS, free).solution("42") == (1, 0)
    assert await Evidence(CONTRADICTIONS, free).solution(None) is None
    said = no_solution(Evidence(CONTRADICTIONS, free), None)
    assert "The paths contradict each other: 360 (once), 42 (once)." in said
    agreed = CONTRADICTIONS.with_rewards({(0, 0): 0.0})
    assert await Evidence(agreed, free).solution(None) == (1, 0)


async def test_sums_else_confidence() -> None:
    check = Check.of_sums(Adder())
    thoughts = [Thought(text=text, tokens=2, logprobs=(-1.0, -1.0)) for text in ("So", "1 + 1 = 3")]
    request: Any = None
    assert 0.5 < await check.reward.score("?", thoughts[:1], request) < 1
    assert await check.reward.score("?", thoughts, request) == 0
    right = replace(thoughts[0], text="48 / 2 = 24 clips")
    answer = replace(thoughts[0], text=r"\boxed{24 \text{ clips}}")
    assert await check.reward.score("?", [right, answer], request) == 1


# Marks

TREE = grown(
    {
        (0,): ("Two days add 12.", 1.0),
        (0, 0): ("13 + 12 = 25 km", 1.0),
        (0, 0, 0): ("25 + 6 = 31 km", 1.0),
        (0, 0, 0, 0): ("The answer is 31 km", 1.0),
        (1,): ("13 + 6 = 19 km", 0.9),
        (1, 0): ("19 + 12 = 31 km", 0.9),
        (1, 0, 0): ("The answer is 31", 0.9),
        (2,): ("13 * 6 = 78", 1.0),
        (2, 0): ("The answer is 78", 1.0),
        (3,): ("13 + 12 = 26", 0.0),
        (3, 0): ("The answer is 26", 0.0),
    }
)


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("25", "right"),
        ("25 km", "right"),
        ("25.0 apples", "right"),
        (r"$\frac{50}{2}$", "right"),
        (r"25\,\text{km}", "right"),
        ("5^2", "right"),
        ("24 2/2", "right"),
        ("x = 25", "right"),
        ("25 = x", "right"),
        ("13+12=25", "right"),
        ("Two days: 25", "right"),
        ("25 m", "unit"),
        ("13 + 12", "sum"),
        ("13 + 12 = 26", "false sum"),
        ("13 + 11 = 25", "false sum"),
        ("26", "tried"),
        ("52/2", "tried"),
        ("78", "tried"),
        ("twenty-five", "right"),
        ("twenty-five apples", "right"),
        ("ninety-nine", "wrong"),
        ("hundreds of apples", "unreadable"),
        ("19", "another way"),
        ("31", "ahead"),
        ("99", "wrong"),
        ("I do not know", "unreadable"),
        ("", "unreadable"),
        ("  ", "unreadable"),
        (r"\frac{", "unreadable"),
        ("25)", "unreadable"),
        ("9" * 100_000, "unreadable"),
        (r"\frac12" * 25, "wrong"),
        pytest.param("x_{" * 45 + "1" + "}" * 45, "wrong", marks=pytest.mark.slow),
        pytest.param("\\binom{99999}{50000}", "wrong", marks=pytest.mark.slow),
        ("\x00\ud8005%$\\", "wrong"),
    ],
)
async def test_a_line_is_marked(line: str, verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbolic, "CPU_SECONDS", 0.5)
    evidence = Evidence(TREE, IN_ORDER)
    path = await evidence.solution("31")
    assert path == (0, 0, 0, 0)
    began = time.process_time()
    assert (await mark(line, evidence.steps(path), 0)).verdict == verdict
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("text", "line", "verdict", "why"),
    [
        ("10 / 3 = 3.33", "10/3", "right", "exactly 10/3; 3.33 is rounded"),
        ("10 / 3 = 3.33", "3 1/3", "right", "exactly 10/3; 3.33 is rounded"),
        ("10 / 3 = 3.33", "3.333", "right", "3.33 is rounded further"),
        ("10 / 3 = 3.33", "10 / 3 = 3.3", "rounded", "to 1 digit after the point"),
        ("10 / 3 = 3.33 cm", "10/3 cm", "right", "exactly 10/3; 3.33 is rounded"),
        ("The answer is 3.33", "10/3", "right", "exactly 10/3; 3.33 is rounded"),
        ("The answer is 10/3", "3,33", "rounded", "to 2 digits after the point"),
        ("19 / 8 = 2.375", "2.38", "rounded", "to 2 digits after the point"),
        ("10 / 3 = 3.33", "3.34", "wrong", ""),
        ("2 m + 3 cm = 203 cm", "5 cm", "wrong", ""),
        ("10 / 3 = 3.33", "3", "wrong", ""),
        ("5 / 2 = 2.5", "2.504", "wrong", ""),
        ("5 / 2 = 2.5", "249/100", "wrong", ""),
        ("The answer is 3.33", "3.333", "wrong", ""),
    ],
)
async def test_what_agrees_but_for_rounding_is_told_so(
    text: str, line: str, verdict: str, why: str
) -> None:
    found = stated(text)
    assert found is not None
    steps = [replace(STEP, text=text, value=found.value, unit=found.unit, others=())]
    came = await mark(line, steps, 0)
    assert (came.verdict, why in came.why) == (verdict, True)
    said = marked(came, steps, 0, IN_ORDER, None, sure=True)
    assert why in said
    if verdict == "rounded":
        assert steps[0].value not in said
        assert said.startswith("Not quite: ")


async def test_a_known_answer_may_be_the_rounded_one() -> None:
    rows = {(0,): ("10 / 3 = 3.33", 1.0), (0, 0): ("The answer is 10/3", 1.0)}
    evidence = Evidence(grown(rows), IN_ORDER)
    assert await evidence.solution("3.33") == await evidence.solution("10/3") == (0, 0)
    assert await evidence.solution("3.34") is None
    rounded = Evidence(grown({**rows, (0, 0): ("The answer is 3.33", 1.0)}), IN_ORDER)
    assert await rounded.solution("10/3") == (0, 0)


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("so she has 25 left, because 13 + 12 = 25", "right"),
        ("so she has 25 left", "right"),
        ("because 13 + 12 = 25, she has 25 left", "right"),
        ("13 and 12 more make 25", "right"),
        ("she has 25 km to go because 13 + 12 is 25", "right"),
        ("so she has 99 left", "wrong"),
        ("it is between 20 and 30", "unreadable"),
    ],
)
async def test_a_value_inside_a_sentence_is_read(line: str, verdict: str) -> None:
    evidence = Evidence(TREE, IN_ORDER)
    path = await evidence.solution("31")
    assert path is not None
    assert (await mark(line, evidence.steps(path), 0)).verdict == verdict


@pytest.mark.parametrize(
    ("step", "answer", "told"),
    [
        ("25 + 6 = 31 km", "The answer is 31 km", "31 km"),
        ("25 + 6 = 31 km", "The answer is 31", "31 km"),
        ("25 + 6 = 31", "The answer is 25 + 6 = 31 apples.", "31 apples"),
        ("25 + 6 = 31", r"The answer is \boxed{31\text{ cm}}", "31 cm"),
        ("25 + 6 = 31", "The answer is 31", "31"),
    ],
)
def test_the_answer_is_told_with_its_unit(step: str, answer: str, told: str) -> None:
    evidence = Evidence(grown({(0,): (step, 1.0), (0, 0): (answer, 1.0)}), IN_ORDER)
    assert came_to(evidence, (0, 0), evidence.steps((0, 0)), "31") == f"The answer is {told}."


@pytest.mark.parametrize(
    ("value", "line"),
    [("2x + 1", "1+2x"), ("1/3", r"\frac{2}{6}"), (r"2\sqrt{3}", r"\sqrt{12}"), ("0.5", "50/100")],
)
async def test_an_equivalent_form_is_right(value: str, line: str) -> None:
    steps = [replace(STEP, text=f"y = {value}", value=value)]
    assert (await mark(line, steps, 0)).verdict == "right"
    assert (await mark(f"y = {line}", steps, 0)).verdict == "right"
    assert (await mark("7x", steps, 0)).verdict == "wrong"


@pytest.mark.parametrize(
    ("text", "line", "verdict"),
    [
        ("150 / 2.5 = 60 km/h.", "60 m/s", "unit"),
        ("150 / 2.5 = 60 km/h.", "60 km", "unit"),
        ("150 / 2.5 = 60 km/h.", "1 km/min", "right"),
        ("150 / 2.5 = 60 km/h.", "2 km/min", "wrong"),
        ("8 * 5 = 40 cm^2.", "40 cm", "unit"),
        ("8 * 5 = 40 cm^2.", "40 square centimetres", "right"),
        ("3 * 4.50 = 13.50 euros.", "1350 cents", "right"),
        ("3 * 4.50 = 13.50 euros.", "13.50 cents", "unit"),
        ("3 * 4.50 = 13.50 euros.", "13,50", "right"),
        ("3 * 4.50 = 13.50 euros.", "13,50 euros", "right"),
        ("3 * 4,50 = 13,50 euros.", "13.5", "right"),
        ("5 + 7 = 12 litres.", "12000 ml", "right"),
        ("5 + 7 = 12 in all.", "12 cm", "right"),
    ],
)
async def test_units_are_converted_and_wrong_ones_are_told(
    text: str, line: str, verdict: str
) -> None:
    found = stated(text)
    assert found is not None
    step = replace(STEP, text=text, value=found.value, unit=found.unit)
    before = replace(STEP, text=f"1 * {found.value} = {found.value}", value=found.value, unit=None)
    assert (await mark(line, [before, step], 1)).verdict == verdict


async def test_another_true_sum_is_told_to_hold_and_is_no_slip_in_computing() -> None:
    config = {"configurable": {"thread_id": "one"}}
    graph = tutor(Adder(), checkpointer=InMemorySaver())
    state, said = await lesson(graph, config, ["18 + 2 = 20"])
    assert said[-1].startswith("ai: Your sum holds, but it is not this step.")
    assert state["slips"] == {"of another kind": 1}
    state, said = await lesson(graph, config | {"configurable": {"thread_id": "two"}}, ["20"])
    assert said[-1].startswith("ai: No.")
    assert state["slips"] == {"off by one": 1}


def test_a_problem_that_the_tutor_could_not_solve_does_not_count() -> None:
    unsolved = Record(question="a", status="unsolved", hints=0, slips={})
    done = Record(question="b", status="done", hints=1, slips={})
    assert greeting([unsolved]) == ""
    assert greeting([unsolved, done]) == "Welcome back: 1 of 1 problem done so far, 1 hint."


async def test_an_earlier_step_is_no_progress() -> None:
    evidence = Evidence(TREE, IN_ORDER)
    assert (await mark("25", evidence.steps((0, 0, 0, 0)), 1)).verdict == "behind"


def test_the_tree_tells_where_each_alternative_went() -> None:
    first, second = Evidence(TREE, IN_ORDER).steps((0, 0, 0, 0))
    assert first.remarks == ("Two days add 12.",)
    assert (first.value, first.unit, second.value) == ("25", "km", "31")
    fates = {other.value: (other.reward, other.way, dict(other.ends)) for other in first.others}
    assert fates == {
        "19": (0.9, (1, 0, 0), {"31": 1}),
        "78": (1.0, None, {"78": 1}),
        "26": (0.0, None, {"26": 1}),
    }


def test_no_perfect_reward_stands_beside_a_wrong_step() -> None:
    steps = Evidence(TREE, IN_ORDER).steps((0, 0, 0, 0))
    told = {other.value: tried(other, IN_ORDER) for other in steps[0].others}
    assert "reward" not in told["78"] + told["26"]
    assert "but it ended with 78 (once)" in told["78"]
    assert "reward 0.90" in told["19"]  # says more than that it passes
    assert "as my solution does" in told["19"]


def test_a_value_is_told_by_the_best_thought_that_came_to_it() -> None:
    rows: dict[tuple[int, ...], tuple[str, float]] = {
        (0,): ("1 + 2 = 4", 0.0),
        (1,): ("2 + 2 = 4", 1.0),
        (2,): ("1 + 2 = 3", 1.0),
        (2, 0): ("Answer: 3", 1.0),
    }
    (step,) = Evidence(grown(rows), IN_ORDER).steps((2, 0))
    assert [(one.text, one.reward, one.tries) for one in step.others] == [("2 + 2 = 4", 1.0, 2)]


async def test_of_sound_paths_the_elected_one_is_taught() -> None:
    assert await Evidence(TREE, IN_ORDER).solution(None) == (0, 0, 0, 0)
    assert await Evidence(TREE, IN_ORDER).solution("78") == (2, 0)
    assert await Evidence(TREE, IN_ORDER).solution("26") is None


async def test_another_way_of_the_search_is_followed() -> None:
    graph = tutor(Adder(slips=0), checkpointer=InMemorySaver())
    await lesson(graph, thread(), [])
    rows = {"thoughts": None, "rewards": None}
    await graph.aupdate_state(thread(), rows, as_node="begin")
    tree = {
        "thoughts": [
            {"path": list(path), "text": one.text, "tokens": 9, "finish": "stop", "ends": one.ends}
            for path, one in TREE.thoughts.items()
        ],
        "rewards": [{"path": list(path), "reward": r} for path, r in TREE.rewards.items()],
    }
    await graph.aupdate_state(thread(), tree, as_node="solve")
    state = await graph.ainvoke(None, thread())
    assert state["path"] == [0, 0, 0, 0]
    _, said = await lesson(graph, thread(), ["31"], Command(resume="19"))
    assert said_after("19", said).startswith("ai: Right, another way")
    assert "2. 19 + 12 = 31 km" in said[-2]


# Hints

STEP = Step(text="", value="", unit=None, remarks=(), reward=1.0, agree=1, others=())
NUMBER = st.integers(-99, 999) | st.fractions(-9, 99, max_denominator=20)
WORDS = st.sampled_from(["Tuesday", "so", "2x + 1", "there are", "(5)", "1,000", "0.50", "\\frac"])


@st.composite
def steps(draw: st.DrawFn) -> Step:
    value = draw(NUMBER.map(str) | st.sampled_from(["2x + 1", "x^2", "\\frac{1}{2}", "1,000"]))
    parts = draw(st.lists(WORDS | NUMBER.map(str) | st.just(value), max_size=6))
    other = draw(NUMBER.map(str))
    assume(form(other) != form(value))
    text = f"{' '.join(parts)} = {value}"
    tried = Attempt(
        value=other, text=f"{value} + 1 = {other}", tries=1, reward=0.0, way=None, ends={}
    )
    return replace(STEP, text=text, value=value, others=(tried,))


@settings(max_examples=60)
@drawn(steps())
def test_only_the_last_hint_tells_the_value(step: Step) -> None:
    *graded, last = hints(step)
    assert len(graded) >= 2
    assert step.value in last
    for hint in graded:
        if (size := number(step.value)) is None:
            literal = re.escape("".join(step.value.split()))
            assert not re.search(rf"(?<!\w){literal}(?!\w)", "".join(hint.split()))
        else:
            found = re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", hint)
            if size.denominator != 1:
                found += re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?/\d+", hint)
            assert abs(size) not in [number(one) for one in found], hint


@drawn(st.text(max_size=60))
def test_whatever_is_written_comes_to_something(text: str) -> None:
    assert isinstance(given(text).value, str)
    found = stated(text)
    assert found is None or found.value


# Restarts


class Mute(Adder):
    async def generate(self, *args: Any, **kwargs: Any) -> Thought:
        raise AssertionError("nothing is to be written any more")


async def test_it_goes_on_where_it_waited(tmp_path: Path) -> None:
    file = str(tmp_path / "lessons.sqlite")
    async with AsyncSqliteSaver.from_conn_string(file) as saver:
        await lesson(tutor(Adder(), checkpointer=saver), thread(), ["hint", "19"])
    async with AsyncSqliteSaver.from_conn_string(file) as saver:
        graph = tutor(Mute(), checkpointer=saver)
        waiting = (await graph.aget_state(thread())).interrupts
        assert waiting[0].value.startswith("Step 2 of 3")
        state, said = await lesson(graph, thread(), ["31"], Command(resume="25"))
    assert state["status"] == "done"
    whole = tutor(Adder(), checkpointer=InMemorySaver())
    assert said == (await lesson(whole, thread(), ["hint", "19", "25", "31"]))[1]


CHILD = """
import asyncio, os, signal, sys
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from node_runs import thread
from tutoring import ANSWER, QUESTION, Adder, tutor

async def main():
    async with AsyncSqliteSaver.from_conn_string(sys.argv[1]) as saver:
        graph = tutor(Adder(), checkpointer=saver)
        accepted = 0
        parts = graph.astream(
            {"question": QUESTION, "known": ANSWER}, thread(),
            stream_mode="custom", subgraphs=True, durability="sync",
        )
        async for _, event in parts:
            accepted += event.get("status") == "scored"
            if accepted == 13:
                os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_killed_search_goes_on(tmp_path: Path) -> None:
    file = str(tmp_path / "lessons.sqlite")
    killed = subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-c", CHILD, file],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    whole, engine = Adder(), Adder()
    _, expected = await lesson(
        tutor(whole, speculation=None, checkpointer=InMemorySaver()), thread(), ["19"]
    )
    async with AsyncSqliteSaver.from_conn_string(file) as saver:
        graph = tutor(engine, speculation=None, checkpointer=saver)
        broken = await graph.aget_state(thread())
        assert broken.next == ("solve",)
        await graph.ainvoke(None, thread())
        _, said = await lesson(graph, thread(), [], Command(resume="19"))
    assert said == expected
    assert engine.calls <= whole.calls - 12  # two layers were written before


# On a terminal


class Failing(Adder):
    async def generate(self, *args: Any, **kwargs: Any) -> Thought:
        if self.calls >= 12:
            raise EngineUnavailable("the server is gone")
        return await super().generate(*args, **kwargs)


@pytest.fixture
def tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Runs the terminal client on the adder; its exit code and output."""
    monkeypatch.setattr(client, "make_engine", lambda *settings: Adder(slips=0.2))
    file = str(tmp_path / "lessons.sqlite")

    def run(*options: str, lines: str | bytes = "") -> tuple[int, str]:
        done = CliRunner().invoke(client.app, ["--database", file, *options], input=lines)
        return done.exit_code, done.output

    return run


def test_a_piped_lesson(tell: Callable[..., tuple[int, str]]) -> None:
    code, output = tell("--number", "1", lines="hint\n19\nquit\n25\n")
    assert code == 0
    assert "> hint\nIt uses 13 and 6.\n" in output
    assert "Right: Monday: 13 + 6 = 19" in output
    assert output.endswith("The lesson waits for you: the same command goes on with it.\n")
    code, output = tell("--number", "1", lines="25\ngive up\n")
    assert "Right: Monday: 13 + 6 = 19\nStep 2 of 6" in output
    assert "The answer is 49. Hints: 1. Slips: none." in output
    assert code == 0
    code, output = tell("--number", "1", lines="25\n")
    assert output.endswith("This lesson is over; --again begins it anew.\n")
    assert code == 0
    code, output = tell("--number", "1", "--again", lines="")
    assert "Step 1 of 6" in output
    assert code == 0


def test_the_search_of_a_new_lesson_is_recorded(
    tell: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    file = tmp_path / "lesson.json"
    code, _ = tell("--number", "1", "--record", str(file))
    recorded = read_recording(file)
    assert (code, recorded["settings"]["policy"], recorded["answer"]) == (0, "rebase", "49")
    assert "events" in recorded
    before = file.read_text(encoding="utf-8")
    code, output = tell("--number", "1", "--record", str(file))
    assert (code, "begin it anew with --again" in output) == (2, True)
    assert file.read_text(encoding="utf-8") == before


def test_a_search_that_was_broken_off_is_not_recorded(
    tell: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lesson.json"
    file.write_text("an older lesson", encoding="utf-8")
    with monkeypatch.context() as patched:
        patched.setattr(client, "make_engine", lambda *settings: Failing())
        assert tell("--number", "1", "--record", str(file))[0] == 3
    code, output = tell("--number", "1", "--record", str(file))
    assert (code, "was broken off" in output, "has been" in output) == (2, True, False)
    assert file.read_text(encoding="utf-8") == "an older lesson"
    code, output = tell("--number", "1")
    assert (code, "Step 1 of 6" in output) == (0, True)
    assert tell("--number", "1", "--again", "--record", str(file))[0] == 0
    assert read_recording(file)["answer"] == "49"
    assert [one.name for one in tmp_path.glob("lesson.json*")] == ["lesson.json"]


def test_another_style_is_another_lesson(
    tell: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    engines: list[Adder] = []

    def make_engine(*settings: object) -> Adder:
        engines.append(Adder(slips=0))
        return engines[-1]

    monkeypatch.setattr(client, "make_engine", make_engine)
    for options in ([], ["--problems", "weekday-sums"], []):
        assert tell(QUESTION, "--answer", ANSWER, *options)[0] == 0
    first, second, third = [engine.calls for engine in engines]
    assert min(first, second) > 0
    assert third == 0  # the lesson of the first is still there


@pytest.mark.slow
def test_done_problems_are_not_given_again(tell: Callable[..., tuple[int, str]]) -> None:
    _, first = tell(lines="give up\n")
    _, second = tell(lines="hint\n")
    _, third = tell(lines="")
    assert first.splitlines()[:7] != second.splitlines()[:7] == third.splitlines()[:7]
    assert "Welcome back: 0 of 1 problem done so far" in second


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--number", "40"], "--number 40"),
        (["--number", "-1"], "--number -1"),
        (["  "], "question='  '"),
        (["What is 1 + 1?", "--number", "1"], "leave it out with a QUESTION"),
        (["--answer", "2"], "--answer 2"),
        (["--problems", "no-set"], "--problems no-set"),
        (["--reward", "no-reward"], "--reward no-reward"),
        (["--policy", "no-policy"], "--policy no-policy"),
        (["--width", "0"], "--width 0"),
        (["--database", __file__], "give another file"),
        (["--database", "/no/such/place"], "give another file"),
    ],
)
def test_bad_input_is_refused(
    options: list[str], told: str, tell: Callable[..., tuple[int, str]]
) -> None:
    code, output = tell(*options)
    assert (code, told in output) == (2, True), output


def test_a_thread_keeps_to_its_question(tell: Callable[..., tuple[int, str]]) -> None:
    assert tell("--number", "1", "--thread", "one")[0] == 0
    code, output = tell("--number", "2", "--thread", "one")
    assert code == 2
    assert "--thread one: is about another question" in output


def test_no_solution_is_an_exit_code(
    tell: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "make_engine", lambda *settings: Adder(slips=1))
    code, output = tell("--number", "1")
    assert code == 1
    assert "no solution that I can stand behind" in output


def start(database: Path, *options: str, lines: bytes = b"") -> str:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "examples.math_tutor"),
            *("--number", "1", "--database", str(database), *options),
        ],
        cwd=Path(__file__).parents[1],
        input=lines,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A lesson on the model that waits at its second step, and what was said."""
    database = tmp_path_factory.mktemp("lessons") / "lessons.sqlite"
    return database, start(database, lines=b"hint\n79\n\xff\\frac{\n38/2\n")


@pytest.mark.model
@pytest.mark.slow
def test_a_lesson_of_the_model(waiting: tuple[Path, str]) -> None:
    _, said = waiting
    assert 'No. I tried that too. Tried 2 times: "Monday: 13 + 6 = 79": 13 + 6 is not 79;' in said
    assert "I cannot read that: the brackets do not match" in said
    assert "Right: Monday: 13 + 6 = 19" in said


@pytest.mark.model
@pytest.mark.slow
def test_another_process_asks_no_model(
    waiting: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    database, _ = waiting
    monkeypatch.setattr(EmbeddedEngine, "generate", None)
    options = ["--number", "1", "--database", str(database)]
    done = CliRunner().invoke(client.app, options, input="why\n49\n")
    assert "Step 2 of 6" in done.output
    assert "The answer is 49. Hints: 1." in done.output
    assert done.exit_code == 0


@pytest.mark.model
@pytest.mark.slow
def test_the_model_s_lesson_is_the_same_without_speculation(
    waiting: tuple[Path, str], tmp_path: Path
) -> None:
    lines = b"hint\n79\n\xff\\frac{\n38/2\n"
    assert start(tmp_path / "plain.sqlite", "--no-speculation", lines=lines) == waiting[1]


def test_a_package_that_is_missing_is_named_with_its_extra() -> None:
    program = (
        "import runpy, sys; sys.modules['langgraph.checkpoint.sqlite'] = None; "
        "runpy.run_module('examples.math_tutor', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "is missing: pip install -e '.[embedded,server]'" in done.stderr
    assert "Traceback" not in done.stderr
