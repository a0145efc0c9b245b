"""Quantities: amounts, and numbers in another dress, such as ratios, ranges and other bases."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import reduce
from math import comb, gcd, perm

from spex_agents.answers.amounts import Quantity, amount, counted, with_signs
from spex_agents.answers.numbers import ORDINALS, number

_OUT_OF = re.compile(r"(.+?)\s+(?:out\s+of|in|of)\s+(.+)$", re.IGNORECASE)
_REMAINDER = re.compile(
    r"(.+?)\s*(?:,?\s*(?:and\s+)?(?:with\s+)?(?:a\s+)?rem(?:ainder|\.)?(?:\s+(?:of|is))?\s+|\s*r\.?\s*)"
    r"(\d+)$",
    re.IGNORECASE,
)
_BASED = re.compile(
    r"([0-9A-Z]+)\s*(?:_\s*\{?\s*([a-z]+|\d{1,2})\s*\}?|\(?\s*(?:in\s+)?base[\s-]*([a-z]+|\d{1,2})\)?)$"
)
_PROGRAMMED = re.compile(r"0([xbo])([0-9A-Fa-f]+)$")
_BASES = {"x": 16, "b": 2, "o": 8}
_RATIO = re.compile(r"\d+(?:\s*:\s*\d+)+$")
_ORDINAL = re.compile(
    r"(?:the\s+)?(?:(\d+)\s?(?:st|nd|rd|th)|([a-z]+(?:-[a-z]+)?))(?:\s+(.+))?$", re.IGNORECASE
)
_DASHED = re.compile(r"\d+(?:-\d+){2,}$")
_SIMPLE = re.compile(r"[^-]*\d[^-]*$")
_TO = re.compile(r"(?:(between|from)\s+)?(.+?)(\s*-\s*|\s+to\s+|\s+and\s+)(.+)$", re.IGNORECASE)
_ERA = re.compile(r"(\d[\d,]*)\s*(b\.?\s?c\.?(?:\s?e\.?)?|a\.?\s?d\.?|c\.?\s?e\.?)$", re.IGNORECASE)
_ANNO = re.compile(r"(a)\.?\s?d\.?\s*(\d[\d,]*)$", re.IGNORECASE)
_CHOICES = re.compile(
    r"(?:\{\}\s*)?[_^]?\{?(?P<of>\d{1,3})\}?\s*(?P<kind>[CP])\s*_?\{?(?P<many>\d{1,3})\}?$"
)
_DECADE = re.compile(r"(?:the\s+)?(\d{3}0)'?s$", re.IGNORECASE)


def quantity(text: str) -> Quantity | None:
    """The value, the unit, and the value in base units ("" for none); None for no quantity.

    Example:
        >>> quantity("1.5 hours"), quantity("$5.00"), quantity("50%"), quantity("5 x")
        (('3/2', 'h', '5400 s'), ('5', '$', '5 $'), ('1/2', '', ''), None)
        >>> quantity("1 hour 30 minutes"), quantity("7 R 2"), quantity("101_2")
        (('3/2', 'h', '5400 s'), ('7 remainder 2', '', ''), ('5', '', ''))
    """
    text = with_signs(text)
    for reader in _READERS:
        if (found := reader(text)) is not None:
            return found
    return None


def _ratio(text: str) -> Quantity | None:
    if _RATIO.match(text) is None:
        return None
    parts = [int(part) for part in text.split(":")]
    return None if 0 in parts else (_reduced(parts), "", "")


def _reduced(parts: Sequence[int]) -> str:
    common = reduce(gcd, parts)
    return ":".join(str(part // common) for part in parts)


def _range(text: str) -> Quantity | None:
    """From one to another, which is no difference: 10-15, 10 to 15 cm, between 10 and 15."""
    if _DASHED.match(text):
        return text, "", ""  # a telephone number, or a score
    if (span := _TO.match(text)) is None:
        return None
    opened, low, between, high = span.groups()
    if ("and" in between) is not ((opened or "").casefold() == "between"):
        return None
    first, last = _end(low), _end(high)
    if first is None or last is None:
        return None
    (start, unit, base), (end, other, over) = first, last
    rising = Fraction(start) < Fraction(end)
    if "-" in between and not (rising and _dashes(low, between, high, unit or other)):
        return None  # a difference
    both = f"{start} to {end}"
    if not (opened or unit or other or "-" in between) and low.isdigit() and high.isdigit():
        # As a ratio, or as a range.
        ratio = _reduced([int(low), int(high)]) if int(low) and int(high) else both
        return ratio, both if rising else "", both if rising else ""
    if not rising or (unit and other and base.split(" ")[1:] != over.split(" ")[1:]):
        return None
    if other and over and not unit and Fraction(end):  # 10-15 cm: the unit is that of both
        worth = Fraction(over.split(" ")[0]) / Fraction(end)
        base = f"{Fraction(start) * worth}"
    return both, other or unit, f"{(base or start).split(' ')[0]} to {over or end}"


def _dashes(low: str, between: str, high: str, unit: str) -> bool:
    """Whether a dash is from one to another: between numerals, and close to them."""
    plain = _SIMPLE.match(low) and _SIMPLE.match(high) and "/" not in low + high
    return bool(plain) and (" " not in between or bool(unit))


def _end(text: str) -> Quantity | None:
    if (value := number(text)) is not None:
        return str(value), "", ""
    return amount(text)


def _out_of(text: str) -> Quantity | None:
    if (found := _OUT_OF.match(text)) is None:
        return None
    part, whole = number(found[1]), number(found[2])
    if part is None or whole is None or not whole or part > whole or part.denominator > 1:
        return None
    return str(part / whole), "", ""


def _remainder(text: str) -> Quantity | None:
    if (found := _REMAINDER.match(text)) is None or (whole := number(found[1])) is None:
        return None
    return (f"{whole} remainder {int(found[2])}" if int(found[2]) else str(whole)), "", ""


def _based(text: str) -> Quantity | None:
    if programmed := _PROGRAMMED.match(text):
        digits, base = programmed[2], _BASES[programmed[1]]
    elif written := _BASED.match(text):
        digits, said = written[1], number(written[2] or written[3])
        base = int(said) if said is not None and said.denominator == 1 else 0
        if digits.isalpha() and (len(digits) < 2 or base != 16):
            return None  # a name with an index
    else:
        return None
    try:
        return (str(int(digits, base)), "", "") if 2 <= base <= 36 else None
    except ValueError:
        return None


def _choices(text: str) -> Quantity | None:
    """Of so many so many chosen, or put in order: 5C2, {}_5P_2."""
    if (found := _CHOICES.match(text)) is None:
        return None
    of, many = int(found["of"]), int(found["many"])
    if not 0 < many <= of:
        return None
    return str(comb(of, many) if found["kind"] == "C" else perm(of, many)), "", ""


def _ordinal(text: str) -> Quantity | None:
    if (found := _ORDINAL.match(text)) is None:
        return None
    value = int(found[1]) if found[1] else ORDINALS.get(found[2].casefold())
    if value is None:
        return None
    if not found[3]:
        return str(value), "ordinal", ""
    one = counted(found[3])
    return None if one is None else (str(value), f"ordinal {one.name}", "")


def _year(text: str) -> Quantity | None:
    """Years before Christ, and decades; what is after Christ may leave that unsaid."""
    if decade := _DECADE.match(text):
        return f"{decade[1]}s", "", ""
    if anno := _ANNO.match(text):
        return anno[2].replace(",", ""), "ad", ""
    if (era := _ERA.match(text)) is None:
        return None
    year = era[1].replace(",", "")
    return (f"{year} bc", "", "") if era[2][0] in "bB" else (year, "ad", "")


_READERS: tuple[Callable[[str], Quantity | None], ...] = (
    _based, _remainder, _year, _choices, _ratio, _out_of, _range, _ordinal, amount,
)  # fmt: skip
