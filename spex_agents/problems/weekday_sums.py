"""Running totals for a small model: long sums, one addition a step.

A model of 135 million parameters gets most single additions right, but seldom six in a row. A
calculator can check each as it is written, so a search that asks it after every step gets further
than samples that are checked at their end.
"""

from __future__ import annotations

from itertools import product
from random import Random

from spex_agents.engines.prompts import PromptTemplate
from spex_agents.problems.kinds import Stated

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


def weekday_sum(start: int, daily: int) -> Stated:
    """A number to start with, and one to add on each of six days.

    Example:
        >>> weekday_sum(13, 4).answer
        '37'
    """
    lines = [f"Start: {start}", *(f"{day}: + {daily}" for day in _DAYS)]
    return Stated(question="\n".join(lines), answer=str(start + len(_DAYS) * daily))


def _solved(start: int, daily: int) -> tuple[str, str]:
    problem = weekday_sum(start, daily)
    totals = range(start, start + len(_DAYS) * daily, daily)
    lines = [
        f"{day}: {total} + {daily} = {total + daily}"
        for day, total in zip(_DAYS, totals, strict=True)
    ]
    return problem.question, "\n".join([*lines, f"The answer is {problem.answer}"])


SHOWN = ((3, 2), (28, 14), (15, 9), (41, 6))
TEMPLATE = PromptTemplate(system="", examples=tuple(_solved(*numbers) for numbers in SHOWN))
"""Four solved problems, then the question."""


def weekday_sums(seed: int = 2027, count: int = 40) -> tuple[Stated, ...]:
    """Running totals with two digits at most at their start; none of those that are shown."""
    numbers = [pair for pair in product(range(5, 21), range(3, 10)) if pair not in SHOWN]
    return tuple(weekday_sum(*pair) for pair in Random(seed).sample(numbers, count))
