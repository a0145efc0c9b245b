"""Determinants: written in any way, and what they come to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from spex_agents.answers.numbers import number

_DETERMINANT = re.compile(
    r"(?:\\det\s*(?P<open>[({\[])?|(?P<bar>\|))\s*\\begin\{(?P<kind>[pb]?matrix|array)\}(?:\{[^{}]*\})?"
    r"(?P<cells>(?:[^\\]|\\(?!begin|end))*)\\end\{(?P=kind)\}\s*(?(open)[)}\]]|(?(bar)\|))$"
)
_MOST = 3  # rows of formulas; of numbers there may be more
_MOST_ROWS = 12


def determinant(text: str) -> str:
    r"""A determinant in the usual notation; any other text as it is.

    Example:
        >>> print(determinant(r"\det(\begin{pmatrix}1&2\\3&4\end{pmatrix})"))
        \begin{vmatrix}1&2\\3&4\end{vmatrix}
    """
    found = _DETERMINANT.match(text)
    return f"\\begin{{vmatrix}}{found['cells']}\\end{{vmatrix}}" if found else text


def expanded(rows: Sequence[Sequence[str]]) -> str | None:
    """What a determinant is worth, as a number or a formula; None if it is none, or too large.

    Example:
        >>> expanded([["1", "2"], ["3", "4"]]), expanded([["a", "b"], ["c", "d"]])
        ('-2', '(a)*((d))-(b)*((c))')
    """
    cells = [[cell.strip() for cell in row] for row in rows]
    if not 0 < len(cells) <= _MOST_ROWS or any(len(row) != len(cells) for row in cells):
        return None
    numbers = [[number(cell) for cell in row] for row in cells]
    exact = [[value for value in row if value is not None] for row in numbers]
    if all(len(row) == len(cells) for row in exact):
        return str(_worth(exact))
    return _formula(cells) if len(cells) <= _MOST and all(map(all, cells)) else None


def _worth(rows: list[list[Fraction]]) -> Fraction:
    """By elimination."""
    worth = Fraction(1)
    while rows:
        first = next((at for at, row in enumerate(rows) if row[0]), None)
        if first is None:
            return Fraction(0)
        top = rows.pop(first)
        worth *= top[0] * (-1 if first % 2 else 1)
        rows = [
            [value - row[0] / top[0] * over for value, over in zip(row[1:], top[1:], strict=True)]
            for row in rows
        ]
    return worth


def _formula(rows: Sequence[Sequence[str]]) -> str:
    """Along the first row."""
    if len(rows) == 1:
        return f"({rows[0][0]})"
    parts = []
    for at, cell in enumerate(rows[0]):
        minor = _formula([[*row[:at], *row[at + 1 :]] for row in rows[1:]])
        parts.append(f"{'-' if at % 2 else '+'}({cell})*({minor})")
    return "".join(parts).removeprefix("+")
