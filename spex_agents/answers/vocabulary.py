"""The signs of a formula, and what its names stand for."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import sympy

_TOKEN = re.compile(
    r"\s*(?:(?P<quotient>d[A-Za-z]\s*/\s*d[A-Za-z](?![A-Za-z])|\\frac\s*\{\s*d[^{}]*\}\s*\{\s*d[^{}]*\})"
    r"|(?P<number>\d+(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?|\.\d+)"
    r"|\\(?P<command>[A-Za-z]+)|(?P<word>(?:arc)?(?:sinh?|cosh?|tanh?|cot|sec|csc)|sqrt|log|ln|exp|"
    r"pi|gcd|lcm|max|min|abs|floor|ceil|binom|infinity|inf(?![a-z])|oo(?![a-z]))"
    r"|(?P<letter>[A-Za-z])|(?P<sign>\*\*|\\[{}]|!!|[-+*/^_!%'|(){}\[\],]))"
)


class NotRead(Exception):
    """This is no formula that can be read."""


def tokens(text: str) -> list[tuple[str, str]]:
    r"""The kind and the text of each sign.

    Raises:
        NotRead: One of them is not known.

    Example:
        >>> tokens(r"2\pi")
        [('number', '2'), ('command', 'pi')]
    """
    found: list[tuple[str, str]] = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise NotRead(text[position:])
        kind = token.lastgroup or ""
        value = token[kind]
        if kind == "quotient":
            value = re.sub(r"\\frac|[\s{}/]", "", value)
            if len(value) != 4:  # only dy/dx is read
                raise NotRead(value)
        elif kind == "command" and value in _DELIMITERS:
            kind, value = "sign", _DELIMITERS[value]
        elif kind == "word":
            kind = "command"
        elif kind == "command" and value in ("cdot", "times", "div", "circ"):
            kind, value = "sign", "\\" + value
        found.append((kind, value))
        position = token.end()
    return found


_DELIMITERS = {
    "lfloor": "floor(", "rfloor": ")floor", "lceil": "ceil(", "rceil": ")ceil", "vert": "|",
    "lvert": "|", "rvert": "|", "mid": "|", "prime": "'",
}  # fmt: skip


def logarithm(base: sympy.Expr, x: sympy.Expr) -> sympy.Expr:
    return sympy.log(x, base)


ANGLES: dict[str, Callable[..., Any]] = {
    name: getattr(sympy, name) for name in "sin cos tan cot sec csc sinh cosh tanh".split()
}
INVERSE = {name: getattr(sympy, f"a{name}") for name in ANGLES}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **ANGLES,
    **{f"arc{name}": inverse for name, inverse in INVERSE.items()},
    "ln": sympy.log,
    "log": partial(logarithm, sympy.Integer(10)),
    "lg": partial(logarithm, sympy.Integer(10)),
    "exp": sympy.exp,
    "abs": sympy.Abs,
    "floor": sympy.floor,
    "ceil": sympy.ceiling,
}
SEVERAL: dict[str, Callable[..., Any]] = {
    "gcd": sympy.gcd,
    "lcm": sympy.lcm,
    "max": sympy.Max,
    "min": sympy.Min,
    "binom": sympy.binomial,
}
CONSTANTS = {
    "pi": sympy.pi,
    "infty": sympy.oo,
    "infinity": sympy.oo,
    "inf": sympy.oo,
    "oo": sympy.oo,
    "e": sympy.E,
    "i": sympy.I,
}
GREEK = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi "
    "rho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon "
    "Phi Psi Omega ell hbar".split()
)
MARKS = frozenset(
    "bar overline vec hat widehat tilde overrightarrow dot ddot angle triangle mathbf".split()
)
