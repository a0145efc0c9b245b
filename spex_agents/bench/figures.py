"""Figures as reports give them."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt


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
