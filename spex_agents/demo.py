"""The demonstration's task: long sums for a small model, one addition a step.

A model of 135 million parameters gets most single additions right, but seldom six in a row. A
calculator can check each as it is written, so a search that asks it after every step gets further
than samples that are checked at their end.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from spex_agents.engines.base import Engine, PromptTemplate, Sampling
from spex_agents.errors import SettingsError
from spex_agents.rewards.arithmetic import Calculator
from spex_agents.search.limits import Limits
from spex_agents.search.rebase import Rebase
from spex_agents.speculation.config import SearchConfig

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A question and its right answer."""

    question: str
    answer: str

    @property
    def title(self) -> str:
        """The question in one line."""
        return ", ".join(self.question.splitlines())


def weekday_sum(start: int, daily: int) -> Problem:
    """A number to start with, and one to add on each of six days.

    Example:
        >>> weekday_sum(13, 4).answer
        '37'
    """
    lines = [f"Start: {start}", *(f"{day}: + {daily}" for day in _DAYS)]
    return Problem(question="\n".join(lines), answer=str(start + len(_DAYS) * daily))


def _solved(start: int, daily: int) -> tuple[str, str]:
    problem = weekday_sum(start, daily)
    totals = range(start, start + len(_DAYS) * daily, daily)
    lines = [
        f"{day}: {total} + {daily} = {total + daily}"
        for day, total in zip(_DAYS, totals, strict=True)
    ]
    return problem.question, "\n".join([*lines, f"The answer is {problem.answer}"])


def read_problems(file: Path) -> tuple[Problem, ...]:
    """The problems of a file with a JSON object in each line: `question` and `answer`.

    Raises:
        SettingsError: The file is not there, or a line is something else.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SettingsError(f"problems={str(file)!r}: cannot be read: {error.strerror}") from error
    try:
        return tuple(Problem(**json.loads(line)) for line in lines)
    except (ValueError, TypeError) as error:
        raise SettingsError(
            f"problems={str(file)!r}: a line must be a JSON object of question, answer: {error}"
        ) from error


SHOWN = ((3, 2), (28, 14), (15, 9), (41, 6))
TEMPLATE = PromptTemplate(system="", examples=tuple(_solved(*numbers) for numbers in SHOWN))
"""Four solved problems, then the question."""

SAMPLING = Sampling(temperature=0.8)
LIMITS = Limits(step_tokens=24, path_tokens=120, depth=10)

PROBLEMS = (weekday_sum(6, 9), weekday_sum(13, 6), weekday_sum(6, 6), weekday_sum(5, 4))
"""The first four of `examples/data/weekday_sums.jsonl`."""


def config(engine: Engine) -> SearchConfig:
    """The demonstration's search on `engine`."""
    return SearchConfig(
        engine=engine,
        policy=Rebase(width=8),
        reward=Calculator(rule="in order"),
        limits=LIMITS,
        sampling=SAMPLING,
        template=TEMPLATE,
    )
