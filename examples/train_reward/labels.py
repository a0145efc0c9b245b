"""Labels of the steps of whole solutions (no other package needed)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from typing import TypedDict

from spex_agents.answers import extract_answer
from spex_agents.rewards.checking.arithmetic import equations

_NUMBER = re.compile(r"\d+")


class Solution(TypedDict):
    """A row that `collect` wrote."""

    question: str
    steps: list[str]
    right: bool


def monte_carlo(solutions: Sequence[Solution]) -> list[list[float]]:
    """How good each step of each solution is: the share of right answers among all that went on.

    Math-Shepherd (Wang et al., 2024, arXiv 2312.08935) completes each step several times and takes
    the share of right answers ("soft estimation"). Solutions that begin with the same steps are
    completions of each other's, so no further ones are drawn.

    Example:
        >>> rows = [
        ...     Solution(question="?", steps=["a", "b"], right=True),
        ...     Solution(question="?", steps=["a", "c"], right=False),
        ... ]
        >>> monte_carlo(rows)
        [[0.5, 1.0], [0.5, 0.0]]
    """
    outcomes: dict[tuple[str, ...], list[bool]] = defaultdict(list)
    for row in solutions:
        for end in range(1, len(row["steps"]) + 1):
            outcomes[row["question"], *row["steps"][:end]].append(row["right"])
    labels = []
    for row in solutions:
        below = [
            outcomes[row["question"], *row["steps"][:end]]
            for end in range(1, len(row["steps"]) + 1)
        ]
        labels.append([sum(right) / len(right) for right in below])
    return labels


def checked(row: Solution) -> list[float]:
    """Whether each step of a running total holds by itself, whatever went wrong before it.

    A sum has to take the total before it and the day's number; an answer has to be the last total.

    Example:
        >>> steps = ["Monday: 3 + 2 = 6", "Tuesday: 6 + 2 = 8", "The answer is 8"]
        >>> checked(Solution(question="Start: 3\\nMonday: + 2", steps=steps, right=False))
        [0.0, 1.0, 1.0]
    """
    total, daily = map(Fraction, _NUMBER.findall(row["question"])[:2])
    labels = []
    for step in row["steps"]:
        if (found := next(equations(step), None)) is not None:
            labels.append(float(found.holds and found.terms == [total, daily]))
            total = found.right
        else:
            labels.append(float(extract_answer(step) == str(total)))
    return labels
