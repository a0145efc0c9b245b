"""When two answers are the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import TypeAlias

from spex_agents.answers import symbolic

Canonical: TypeAlias = Callable[[str], str]
"""Brings an answer to a form in which equal answers are equal strings."""

_WORDS = re.compile(r"[^\d\\^=+*/_]+$")
_LONGEST = 200  # characters of mathematics; what is longer is compared as text
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:/\d+)?$")


def canonical(answer: str) -> str:
    r"""Bring an answer to a form in which equal answers are equal strings.

    Plain numbers become reduced fractions; other mathematics goes through math-verify, which may
    take milliseconds, a second at first use and seconds at most (`symbolic.form`): call it off the
    event loop. What is not mathematics, or takes longer, is compared case-folded.

    Example:
        >>> canonical("0.50") == canonical(r"\frac{1}{2}") == "1/2"
        True
    """
    if (easy := plain_form(answer)) is not None:
        return easy
    if parsed := symbolic.form(answer):
        return _number(parsed) if _NUMBER.match(parsed) else parsed
    return _folded(answer)


def plain_form(answer: str) -> str | None:
    """Return the canonical form of a plain number, a word or a text; None if it needs `canonical`.

    It takes microseconds, so it may run on the event loop.
    """
    if len(answer) > _LONGEST:
        return _folded(answer)
    plain = answer.strip().strip("$").replace(",", "").replace(" ", "").removesuffix(".")
    if _NUMBER.match(plain):
        return _number(plain)
    return _folded(answer) if _WORDS.match(answer) else None


def _folded(answer: str) -> str:
    return " ".join(answer.casefold().split())


def _number(text: str) -> str:
    numerator, _, denominator = text.partition("/")
    try:
        return str(Fraction(numerator) / Fraction(denominator or 1))
    except ZeroDivisionError:
        return text
