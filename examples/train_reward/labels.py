"""Labels of steps, as Math-Shepherd has them, from whole solutions (no other package needed)."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TypedDict


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
