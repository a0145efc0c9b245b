"""What a formula comes to, by sympy: for a process that can be killed.

Two formulas are the same if they have the same values, to 40 digits, at fixed points of their
variables; exact numbers are compared exactly. Nothing that is too large is computed.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
from collections.abc import Sequence

import mpmath
import sympy
from math_verify import LatexExtractionConfig, parse

from spex_agents.answers.formula import formula
from spex_agents.answers.solving import solved
from spex_agents.answers.vocabulary import NotRead

logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that it has no time limit

_MOST = 8000.0  # digits of a number that is computed
_DIGITS = 40
_WORKED = 60  # digits that are computed
_LONGEST = 120  # characters of a value; a longer one is told by its hash
_ANALYSIS = re.compile(r"\\(?:sum|prod|int|lim)(?![A-Za-z])")


def algebra(kind: str, text: str) -> str | None:
    r"""A text that is the same for formulas that are the same; None for what is none.

    Args:
        kind: "value", "equation" (what is 0, up to a factor), "order" (up to a positive one), or
            "= 0", "> 0" and ">= 0" for its only letter, and the numbers for which that holds.
        text: LaTeX, or as on a calculator.

    Example:
        >>> algebra("value", r"\sqrt{8}") == algebra("value", r"2\sqrt2")
        True
        >>> algebra("value", r"\frac{1}{2^{99}}") == algebra("value", r"\frac{1}{2^{98}}")
        False
    """
    expression = _parsed(text)
    if expression is None:
        return None
    if _digits(expression) > _MOST:
        return _short(f"as written {expression}") if kind == "value" else None
    expression = _evaluated(expression)
    if expression.has(sympy.zoo, sympy.nan):
        return None  # 1/0 is not 2/0
    if kind.endswith(" 0"):
        return solved(expression, kind.removesuffix(" 0"), _number)
    expression = _with_constant(expression)
    names = sorted(expression.free_symbols, key=str)
    if kind == "value" and not names:
        return _short(_number(expression))
    first = -1 if expression.has(sympy.Abs) else 0  # |x| is not x
    values = [_at(expression, names, point) for point in range(first, 3)]
    if None in values:
        return _short(f"{kind} {expression}")
    if kind == "value" and len(set(map(_told, values))) == 1:
        simple = sympy.simplify(expression)  # as sin^2 x + cos^2 x
        return _short(_number(simple) if not simple.free_symbols else f"constant {simple}")
    if kind == "value":
        told = list(map(_told, values[:2]))
        if (
            len(names) == 1
            and len(str(names[0])) == 1
            and told == [_told(_at(names[0], names, point)) for point in (0, 1)]
        ):
            return str(names[0]).casefold()  # as the letter alone is told
        return _short(f"{' '.join(map(str, names))}: {' '.join(told)}")
    scale = next((value for value in values if value), None)
    if scale is None:
        return "0"
    with mpmath.workdps(_WORKED):
        scale = abs(scale) if kind == "order" else scale
        told = [_told(value / scale) for value in values if value is not None]
    return _short(f"{kind} {' '.join(told)}")


def _with_constant(expression: sympy.Expr) -> sympy.Expr:
    """With a constant of integration by one name: x^2 + c is x^2 + C, and c e^x is C e^x."""
    constants = {one for one in expression.free_symbols if _CONSTANT.match(str(one))}
    others = expression.free_symbols - constants
    if len(constants) != 1 or len(others) != 1 or str(*others) not in _VARIABLES:
        return expression
    (constant,) = constants
    rest = expression - constant
    if constant in rest.free_symbols:
        rest = expression / constant
        if constant in rest.free_symbols or not rest.has(sympy.exp):
            return expression
    return expression.subs(constant, sympy.Symbol("C"))


_CONSTANT = re.compile(r"[Cc](?:_[01])?$")
_VARIABLES = frozenset((*"xyztuvwrs", "theta", "phi"))


def _parsed(text: str) -> sympy.Expr | None:
    if _ANALYSIS.search(text):
        parsed = parse(f"${text}$", [LatexExtractionConfig()], "no_fallback", parsing_timeout=None)
        return parsed[0] if parsed and isinstance(parsed[0], sympy.Expr) else None
    try:
        return formula(text)
    except NotRead:
        return None


def _digits(expression: sympy.Basic) -> float:
    """About how many digits its largest number has once it is computed."""
    if isinstance(expression, sympy.Integer):
        return len(str(abs(int(expression)))) if abs(expression) < 10**4000 else math.inf
    parts = [_digits(part) for part in expression.args]
    if isinstance(expression, sympy.Pow):
        power = expression.exp
        if power.free_symbols or parts[1] > 8:
            return math.inf if parts[1] > 8 else sum(parts)
        size = abs(complex(power)) if power.is_number else 1.0
        return parts[1] + parts[0] * max(1.0, size)
    if isinstance(expression, sympy.factorial | sympy.binomial | sympy.gamma):
        inner = expression.args[0]
        if inner.free_symbols:
            return sum(parts)
        size = abs(float(inner)) if max(parts) <= 8 else math.inf
        return size * math.log10(size + 10) if size < 1e6 else math.inf
    return sum(parts, 0.0)


def _evaluated(expression: sympy.Basic) -> sympy.Expr:
    if isinstance(expression, sympy.Float):
        return sympy.Rational(str(expression))
    if not expression.args:
        return expression
    done: sympy.Expr = expression.func(*map(_evaluated, expression.args))
    return done.doit()


def _number(expression: sympy.Expr) -> str:
    expression = sympy.nsimplify(expression) if expression.has(sympy.Float) else expression
    if not expression.is_Rational:
        expression = sympy.radsimp(sympy.expand(expression))
    if expression.is_Rational:
        return f"{expression.p}" if expression.q == 1 else f"{expression.p}/{expression.q}"
    if expression in (sympy.oo, -sympy.oo):
        return str(expression)
    if expression in (sympy.I, sympy.E):
        return str(expression).casefold()  # as the letter alone is told
    value = _at(expression, [], 0)
    return str(expression) if value is None else f"~{_told(value)}"


def _at(expression: sympy.Expr, names: Sequence[sympy.Symbol], point: int) -> mpmath.mpc | None:
    """Its value where each variable has a value of its own, a negative one for a negative point."""
    chosen = {}
    for name in names:
        drawn = hashlib.sha256(f"{name} {point}".encode()).digest()
        value = sympy.Rational(int.from_bytes(drawn[:6], "big"), 1 << 48) + 1
        chosen[name] = -value if point < 0 else value
    try:
        found = expression.evalf(
            _WORKED, subs={name: value.evalf(80) for name, value in chosen.items()}
        )
        with mpmath.workdps(_WORKED):
            real, imaginary = found.as_real_imag()
            value = mpmath.mpc(mpmath.mpf(str(real)), mpmath.mpf(str(imaginary)))
            return value if mpmath.isfinite(value) else None
    except (TypeError, ValueError, ZeroDivisionError, AttributeError, NotImplementedError):
        return None


def _told(value: mpmath.mpc | None) -> str:
    with mpmath.workdps(_WORKED):
        value = mpmath.mpc(value or 0)
        size = abs(value)
        parts = []
        for part in (value.real, value.imag):
            small = abs(part) <= size * mpmath.mpf(10) ** -50 or abs(part) < mpmath.mpf(10) ** -3000
            parts.append("0" if small else mpmath.nstr(part, _DIGITS, min_fixed=0, max_fixed=0))
    return parts[0] if parts[1] == "0" else f"{parts[0]}+{parts[1]}i"


def _short(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return "sha256 " + hashlib.sha256(text.encode()).hexdigest()
