"""Figures as reports give them."""

from __future__ import annotations

from collections.abc import Mapping
from math import comb, sqrt


def rounded(figures: Mapping[str, object]) -> dict[str, object]:
    """The same with four digits after the point.

    Example:
        >>> rounded({"share": 2 / 3, "count": 3})
        {'share': 0.6667, 'count': 3}
    """
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in figures.items()
    }


def several(count: int, one: str, many: str = "") -> str:
    """A count with its noun.

    Example:
        >>> several(1, "seed"), several(20, "seed"), several(8, "query", "queries")
        ('1 seed', '20 seeds', '8 queries')
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def sign_test(one: int, other: int) -> float:
    """The exact two-sided p-value of so many wins against so many, ties left out.

    Example:
        >>> sign_test(9, 1), sign_test(2, 1)
        (0.021484375, 1.0)
    """
    games, fewer = one + other, min(one, other)
    tail = sum(comb(games, wins) for wins in range(fewer + 1))
    return min(1.0, 2 * tail / (1 << games))


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The Wilson score interval of a share; of 95 % by default, (0, 1) where nothing was counted.

    Example:
        >>> wilson(5, 10)
        (0.237, 0.763)
    """
    if count == 0:
        return 0.0, 1.0
    share, scale = right / count, 1 + z * z / count
    middle = (share + z * z / (2 * count)) / scale
    half = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / scale
    return round(max(0.0, middle - half), 3), round(min(1.0, middle + half), 3)
