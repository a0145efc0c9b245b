"""Where the answer stands: markers, statements, languages, reasoning, and what is no answer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spex_agents.answers import (
    at_end,
    boxed,
    choice_letter,
    either,
    equivalent,
    extract_answer,
    found_in,
    json_key,
    last_line,
    last_number,
    python_block,
    whole_text,
)
from spex_agents.answers.languages import LANGUAGES
from spex_agents.answers.reasoning import open_tag, without_reasoning
from spex_agents.engines import Proposer
from spex_agents.errors import SettingsError
from spex_agents.rewards import Verifier
from spex_agents.search import Limits, TotBfs
from spex_agents.search.tree import Thought
from spex_agents.speculation import Result, SearchConfig, solve
from spex_agents.speculation.questions import check_question

DATA = Path(__file__).parent / "data"


def rows(name: str) -> list[tuple[str, str | None]]:
    lines = (DATA / name).read_text(encoding="utf-8").split("\n")
    return [(row["text"], row["answer"]) for line in lines if line for row in [json.loads(line)]]


@pytest.mark.parametrize(("text", "answer"), rows("extract_kinds.jsonl"))
def test_extraction(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 2/3 of the cake.", "2/3 of the cake"),
        ("The answer is 2 of the three numbers.", None),
        ("The answer to 3 + 5 is 8.", "8"),
        ("The answer to 3 + 5 is not 8.", None),
        ("The answer to part 2 is 8.", None),
        ("Answer: **42** km", "42 km"),
        ("Answer: **42 km** in all", "42 km"),
        ("Answer: 2 ** 3", "2 ** 3"),
        ("The answer is $18 for the two.", "$18"),
        ("The answer is $18$ for the two.", "18"),
    ],
)
def test_what_surrounds_an_answer_is_no_part_of_it(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


REPLIES: dict[str, list[tuple[str, str | None]]] = {}
for line in (DATA / "extract_replies.jsonl").read_text(encoding="utf-8").split("\n"):
    if line:
        reply = json.loads(line)
        REPLIES.setdefault(reply["kind"], []).append((reply["text"], reply["answer"]))

MISSED = {
    "Our answer of 12 is correct.",
    "Answer: In the kitchen",
    "{answer: 12}",
    '"answer": 12',
    "**Answer:** She needs to buy 3 more.",
    "Not 11 but 12 is the answer.",
    "Thus the answer is a triangle.",
    "The answer is 5 lbs. of sugar.",
    "The answer is the U.K. and the U.S.",
    "Without rounding, the answer would be 12.4.",
}
"""Replies that are not read as they are meant."""


@pytest.mark.parametrize("kind", REPLIES)
def test_replies_as_models_write_them(kind: str) -> None:
    wrong: dict[str, str | None] = {}
    for text, answer in REPLIES[kind]:
        found = extract_answer(text)
        if found != answer and (found is None or answer is None or not equivalent(found, answer)):
            wrong[text] = found
    assert set(wrong) <= MISSED, wrong


def test_what_is_missed_is_little() -> None:
    assert len(MISSED) <= 0.01 * sum(map(len, REPLIES.values()))


VALUES = st.sampled_from(["42", "-3", "3.14", "1/2", "(B)", "x+1", r"\frac{1}{2}", "1,234", "5%"])
BEFORE = st.sampled_from(["", "We add. ", "First \\boxed{3}.\n", "<think>\\boxed{9}</think>", "#"])


@given(VALUES, BEFORE, st.sampled_from(["", ".", " It holds.", "\nDone.", "\n\\boxed{"]))
def test_the_last_closed_marker_wins(value: str, before: str, after: str) -> None:
    for form in (r"\boxed{%s}", "<answer>%s</answer>", "The answer is $%s$.", "\nAnswer: $%s$\n"):
        assert extract_answer(f"Answer: 7.\n{before}{form % value}{after}") == value


@given(VALUES, st.sampled_from(LANGUAGES))
def test_nothing_in_a_reasoning_block_is_an_answer(value: str, language: object) -> None:
    for opened, closed in (
        ("<think>", "</think>"),
        ("<reasoning>", "</reasoning>"),
        ("[THINK]", "[/THINK]"),
        ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ):
        inside = f"The answer is {value}. \\boxed{{{value}}}"
        assert extract_answer(f"{opened}{inside}") is None
        assert extract_answer(f"{opened}{inside}{closed}") is None
        assert extract_answer(f"{inside}{closed}\nSo") is None
        assert extract_answer(f"{opened}{inside}{closed}Answer: 7") == "7"
        assert open_tag(f"a{opened}{inside}") == opened
        assert open_tag(f"a{opened}{inside}{closed}b") == ""


@given(st.text(alphabet="<>/think[]THINK|{}\\boxed answer is:#$\n 4", max_size=80))
def test_any_text_is_read(text: str) -> None:
    answer = extract_answer(text)
    assert answer is None or answer.strip() == answer != ""
    assert len(without_reasoning(text)) <= len(text) + text.count("<|")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 12", None),
        ("The answer is 12.", None),  # 12.5
        ("Answer: 12", None),
        ("#### 12", None),
        ("答案是12", None),
        ("The answer is 12. So we", "12"),
        ("Answer: 12\nNow", "12"),
        (r"\boxed{12}", "12"),
        (r"\boxed{12", None),
        ("<answer>12</answer>", "12"),
        ('{"answer": 12}', "12"),
        ('{"answer": 12', None),
        (r"\boxed{7}. The answer is 1", "7"),
        (r"So \boxed 1", None),
        (r"So \boxed 12 ", "12"),
        (r"So \boxed\frac12", None),
        (r"So \boxed\frac{1}{2}", r"\frac{1}{2}"),
        (r"The answer is $\frac12", None),
        (r"The answer is \frac12", None),
        ("The answer is Mr. Sm", None),
        ("The answer is Mr. Smith. He", "Mr. Smith"),
        ("| Answer | 12", None),
        ("| Answer | 12 |", "12"),
        ("<answer>12</answ", None),
        ("**Final answer**\n12", None),
        ("Answer: 12%\nA", "12%"),
        ("La respuesta es 12", None),
        ("La respuesta es 12. As", "12"),
        ('{"answer": "12', None),
    ],
)
def test_a_text_that_was_cut_off_has_an_answer_in_a_closed_marker_only(
    text: str, answer: str | None
) -> None:
    assert extract_answer(text, cut=True) == answer


def test_an_extract_is_told_what_it_asks_for() -> None:
    def told(text: str, *, cut: bool = False) -> str | None:
        return f"{text} {cut}"

    assert found_in(told, "4", cut=True, ended=False) == "4 True"
    assert found_in(str.upper, "a", cut=True) == "A"
    assert found_in(at_end(last_line), "a\nb", cut=True, ended=True) == "a"
    assert found_in(at_end(last_line), "a\nb", ended=False) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3 apples at $1,250.50 each.", "1,250.50"),
        ("it is -5.", "-5"),
        ("3-4", "4"),
        (".5", ".5"),
        ("v2 and x1", None),
        ("none", None),
        ("1,23", "23"),
    ],
)
def test_the_last_number(text: str, number: str | None) -> None:
    assert last_number(text) == number


def test_the_last_number_of_a_text_that_was_cut_off_has_been_seen_to_end() -> None:
    assert last_number("7 of 12", cut=True) == "7"
    assert last_number("7 of 12.", cut=True) == "7"
    assert last_number("7 of 1,25", cut=True) == "7"
    assert last_number("7 of 12 a", cut=True) == "12"
    assert last_number("12", cut=True) is None


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The answer is (B).", "B"),
        (r"\boxed{\text{(C)}}", "C"),
        ("Answer: d", "D"),
        ("It is Paris.\n**B**", "B"),
        ("B", "B"),
        ("Of (A) and (C), the second", "C"),
        ("A dog and I", None),
        ("The answer is 42.", None),
    ],
)
def test_the_letter_of_a_choice(text: str, letter: str | None) -> None:
    assert choice_letter(text) == letter


def test_other_ready_extracts() -> None:
    assert whole_text("<think>x</think> Paris ") == "Paris"
    assert whole_text(" ") is None
    assert last_line("a\n\nb\n") == "b"
    assert last_line("a\nb", cut=True) == "a"
    assert json_key("Total")('```json\n{"total": "4.50", "answer": 1}\n```') == "4.50"
    assert json_key("total")('{"answer": 1}') is None
    assert python_block("```python\nx = 1\n```\n```py\nx = 2\n```\n```\n") == "x = 2\n"
    assert python_block("```python\nx = 1") is None


def test_the_rule_of_search_and_learn_can_be_said() -> None:
    rule = either(boxed, at_end(last_number))
    assert rule("17 + 5 = 22", ended=False) is None
    assert rule("17 + 5 = 22") == "22"
    assert rule(r"17 + 5 = 22, \boxed{23}", ended=False) == "23"


HOSTILE = """
import resource, sys
from spex_agents.answers import extract_answer
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
for unit in sys.argv[1:]:
    extract_answer(unit * (1_000_000 // len(unit)))
"""


def test_a_megabyte_of_anything_is_read_in_time() -> None:
    units = ["\\boxed{", "{", "answer is ", "Answer:\n", "<answer>", "<think>", " ", "\n", "*"]
    units += ['{"answer": [', "the answer to ", "$", "#### 1. a\n", "答案是", "(A) is ", "1", "("]
    long = ("a = 1" + "1" * 60, "a = b" + "-123" * 60, "a = b" + "^5" * 60, "I" + ", I" * 60)
    units += [f"The answer is {value} é!\n" for value in long]
    units += ["The answers are ," + r"\a" * 60 + " Zz\n"]
    subprocess.run([sys.executable, "-c", HOSTILE, *units], check=True, timeout=300)


async def search(texts: dict[int, Thought], **settings: Any) -> Result:
    """One path whose thoughts are `texts`, by their depth."""

    async def propose(question: str, steps: Sequence[str], seed: int) -> Thought:
        return texts[len(steps)]

    config = SearchConfig(
        engine=Proposer(propose),
        policy=TotBfs(width=1, keep=1),
        reward=Verifier(always, pure=True),
        **settings,
    )
    return await solve(config, "How many?")


async def always(question: str, steps: Sequence[str]) -> float:
    return 1.0


def cut(text: str) -> Thought:
    return Thought(text=text, tokens=9, finish="length")


async def test_a_thought_that_was_cut_off_goes_on_and_is_no_answer() -> None:
    whole = {0: cut("The answer is 12"), 1: Thought(text="34.", tokens=2, finish="stop", ends=True)}
    assert (await search(whole)).answer == "1234"
    result = await search({0: cut("So the answer is 12")}, limits=Limits(path_tokens=9))
    assert result.answer is None
    result = await search({0: cut(r"So \boxed{12}, wh")}, limits=Limits(path_tokens=9))
    assert result.answer == "12"


async def test_an_ordinary_sentence_does_not_end_a_path() -> None:
    words = "Before I know what the answer is, I need the cost of one apple."
    texts = {0: Thought(text=words, tokens=9), 1: Thought(text="The answer is 4.", tokens=5)}
    result = await search(texts)
    assert len(result.tree) == 2
    assert result.answer == "4"


async def test_reasoning_over_several_thoughts_is_no_answer() -> None:
    texts = ["<think>First", r"maybe \boxed{3}", r"</think>", r"So \boxed{4}"]
    result = await search({n: Thought(text=text, tokens=9) for n, text in enumerate(texts)})
    assert len(result.tree) == 4
    assert result.answer == "4"


async def test_a_number_in_the_middle_of_a_path_does_not_end_it() -> None:
    rule = either(boxed, at_end(last_number))
    texts = {0: Thought(text="3 + 4 = 7", tokens=9), 1: Thought(text="So 8", tokens=2, ends=True)}
    result = await search(texts, extract=rule)
    assert len(result.tree) == 2
    assert result.answer == "8"


async def test_what_is_no_text_is_refused_in_a_question_and_replaced_in_a_thought() -> None:
    texts = {0: Thought(text="So \ud800 or \x00, \\boxed{4}", tokens=5)}
    tree = (await search(texts)).tree
    assert tree.thought((0,)).text == "So \ufffd or \ufffd, \\boxed{4}"
    for fault in ("a\ud800", "a\x00"):
        with pytest.raises(SettingsError, match="at character 1, which is no text"):
            check_question(fault)
