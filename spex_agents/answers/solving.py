"""What a single unknown comes to: of an equation its values, of an inequality where it lies.

Only what pupils solve: polynomials, and absolute values of linear ones. The rest is compared as it
is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise, product

import sympy

_HIGHEST = 4
_MOST_BARS = 2
_MOST_SIGNS = 60
_ALMOST = sympy.Float("1e-40")


def solved(expression: sympy.Expr, sign: str, told: Callable[[sympy.Expr], str]) -> str | None:
    """The only letter of `expression`, and the numbers for which it is 0, above it, or not below.

    Of an equation all values, and each once: (x - 2)^2 = 0 is not x = 2 to who asks for an
    equation, and x^2 = -1 is solved by no real number.

    Args:
        expression: A sum; of one letter, or it is not solved.
        sign: "=", ">" or ">=".
        told: How a number is written.

    Example:
        >>> x = sympy.Symbol("x")
        >>> solved(2 * x - 4, "=", str), solved(x**2 - 4, "=", str), solved(4 - x**2, ">", str)
        ('x 2', 'x {-2, 2}', 'x (-2, 2)')
    """
    letters = expression.free_symbols
    if len(letters) != 1 or len(str(*letters)) != 1 or expression.count_ops() > _MOST_SIGNS:
        return None
    (letter,) = letters
    bars = list(expression.atoms(sympy.Abs))
    if bars and (len(bars) > _MOST_BARS or str(letter) in "zZ"):
        return None  # |z| = 5 is a circle
    zeros = (
        _zeros_with_bars(expression, letter, bars)
        if bars
        else _zeros(expression, letter, once=sign == "=")
    )
    if not zeros or not all(zero.is_real for zero in zeros):
        return None
    zeros.sort(key=lambda zero: zero.evalf(60))
    if sign != "=":
        found = _intervals(expression, letter, zeros, sign == ">=", told)
        return f"{letter} {found}" if found else None
    first, *others = sorted(map(told, zeros))
    return f"{letter} {{{', '.join([first, *others])}}}" if others else f"{letter} {first}"


def _degree(part: sympy.Expr) -> float:
    """At most this, without multiplying anything out; infinite where it is no polynomial."""
    if not part.free_symbols:
        return 0
    if part.is_Symbol:
        return 1
    if part.is_Add:
        return max(map(_degree, part.args))
    if part.is_Mul:
        return sum(map(_degree, part.args))
    if part.is_Pow and part.exp.is_Integer and 0 < part.exp <= _HIGHEST:
        return int(part.exp) * _degree(part.base)
    return math.inf


def _zeros(expression: sympy.Expr, letter: sympy.Symbol, *, once: bool) -> list[sympy.Expr]:
    """All of a polynomial; none where some of them are not real, or not found.

    Args:
        expression: The polynomial.
        letter: Its unknown.
        once: None either where one comes twice.
    """
    if _degree(expression) > _HIGHEST:
        return []
    polynomial = sympy.Poly(expression, letter)
    degree = polynomial.degree()
    if degree == 1:
        slope, rest = polynomial.all_coeffs()
        return [-rest / slope]
    if degree == 2:
        a, b, c = polynomial.all_coeffs()
        inside = sympy.expand(b * b - 4 * a * c)
        if not (inside > 0) and (once or inside != 0):
            return []
        root = sympy.sqrt(inside)
        return list({(-b + root) / (2 * a), (-b - root) / (2 * a)})
    if not (polynomial.domain.is_ZZ or polynomial.domain.is_QQ):
        return []
    rational: dict[sympy.Expr, int] = polynomial.ground_roots()
    found = len(rational) if once else sum(rational.values())
    return list(rational) if found == degree else []


def _zeros_with_bars(
    expression: sympy.Expr, letter: sympy.Symbol, bars: Sequence[sympy.Expr]
) -> list[sympy.Expr]:
    if any(_degree(bar.args[0]) != 1 for bar in bars):
        return []
    found: set[sympy.Expr] = set()
    for signs in product((1, -1), repeat=len(bars)):
        piece = sympy.expand(
            expression.subs(
                {bar: sign * bar.args[0] for bar, sign in zip(bars, signs, strict=True)}
            )
        )
        if _degree(piece) == 1:
            found |= set(_zeros(piece, letter, once=True))
        elif piece.free_symbols or piece == 0:
            return []
    return [zero for zero in found if abs(expression.subs(letter, zero).evalf(60)) < _ALMOST]


def _intervals(
    expression: sympy.Expr,
    letter: sympy.Symbol,
    zeros: Sequence[sympy.Expr],
    closed: bool,
    told: Callable[[sympy.Expr], str],
) -> str:
    """Where it is above 0, as intervals are written; "" where that is everywhere, or one number."""
    between = [
        zeros[0] - 1,
        *((low + high) / 2 for low, high in pairwise(zeros)),
        zeros[-1] + 1,
    ]
    above = [expression.subs(letter, point).evalf(60) > 0 for point in between]
    ends = ["-oo", *map(told, zeros), "oo"]
    if closed and not all(a or b for a, b in pairwise(above)):
        return ""  # a zero that stands alone
    parts: list[list[str]] = []
    for at, holds in enumerate(above):
        if holds and closed and at and above[at - 1]:
            parts[-1][1] = ends[at + 1]
        elif holds:
            parts.append([ends[at], ends[at + 1]])
    left, right = ("[", "]") if closed else ("(", ")")
    if parts == [["-oo", "oo"]]:
        return ""
    return " u ".join(
        sorted(
            f"{'(' if low == '-oo' else left}{low}, {high}{')' if high == 'oo' else right}"
            for low, high in parts
        )
    )
