"""The demonstration's task: long sums for a small model, one addition a step.

A model of 135 million parameters gets most single additions right, but seldom six in a row. A
calculator can check each, so a search that asks it after every step gets much further than one that
asks it at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from spex_agents.engines.base import Engine, PromptTemplate, Sampling
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


def weekday_sum(start: int, *more: int) -> Problem:
    r"""A number to start with, and one to add on each of six days.

    Example:
        >>> weekday_sum(3, 2, 9, 4, 6, 1, 7).title
        'Start: 3, Monday: + 2, Tuesday: + 9, Wednesday: + 4, Thursday: + 6, Friday: + 1, Saturday: + 7'
    """  # noqa: E501
    lines = [f"{day}: + {number}" for day, number in zip(_DAYS, more, strict=True)]
    return Problem(question="\n".join([f"Start: {start}", *lines]), answer=str(start + sum(more)))


def _solved(start: int, *more: int) -> tuple[str, str]:
    problem = weekday_sum(start, *more)
    before = accumulate(more, initial=start)
    lines = [
        f"{day}: {total} + {number} = {total + number}"
        for day, total, number in zip(_DAYS, before, more, strict=False)
    ]
    return problem.question, "\n".join([*lines, f"The answer is {problem.answer}"])


TEMPLATE = PromptTemplate(
    system="",
    examples=(
        _solved(3, 2, 9, 4, 6, 1, 7),
        _solved(8, 5, 1, 7, 3, 9, 2),
        _solved(5, 4, 8, 2, 9, 6, 3),
        _solved(1, 6, 4, 9, 8, 2, 5),
    ),
)
"""Four solved problems, then the question."""

SAMPLING = Sampling(temperature=0.7)
LIMITS = Limits(step_tokens=24, path_tokens=120, depth=10)

PROBLEMS = (
    weekday_sum(6, 3, 4, 9, 1, 5, 8),
    weekday_sum(2, 6, 5, 1, 7, 9, 8),
    weekday_sum(2, 7, 4, 1, 9, 6, 3),
    weekday_sum(7, 1, 9, 5, 8, 2, 3),
    weekday_sum(1, 7, 9, 2, 8, 6, 4),
    weekday_sum(7, 3, 5, 1, 9, 8, 4),
)
"""The first six that `examples/data/weekday_sums.py` draws with seed 7."""


def config(engine: Engine) -> SearchConfig:
    """The demonstration's search on `engine`."""
    return SearchConfig(
        engine=engine,
        policy=Rebase(width=8),
        reward=Calculator(once=True),
        limits=LIMITS,
        sampling=SAMPLING,
        template=TEMPLATE,
    )
