"""So much of something: percentages, money, units, what is counted."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise
from typing import TypeAlias

from spex_agents.answers.numbers import WORDS, leading, number
from spex_agents.answers.units import OF_CENTS, Unit, measure, singular

Quantity: TypeAlias = tuple[str, str, str]
"""The value, the unit, and the value in base units ("" for none)."""

FUNCTIONS = frozenset(
    "sin cos tan cot sec csc log sqrt exp arcsin arccos arctan sinh cosh tanh gcd lcm max min "
    "mod".split()
)
_NO_COUNT = WORDS | FUNCTIONS | frozenset(
    """and or if but not no nor than to by out over under below above minus plus times point base
    modulo choose only except when unless less fewer greater at least most about without with
    remainder from until since because as for in on is are was were be squared cubed factorial
    power root divided multiplied equals equal which that bc bce r between up down per ago"""
    .split()
)  # fmt: skip
"""Words that do not tell what is counted, but change the number, or go on with a sentence."""
_FILLING = re.compile(
    r"(?:(?:^|\s+)(?:in\s+total|total|in\s+all|altogether|overall|left\s+over|remaining|"
    r"each)|(?<=\w)(?<!unit)(?<!units)(?<!steps)(?<!spaces)(?<!places)\s+left)+$",
    re.IGNORECASE,
)
_HOW = re.compile(r"\s+(?:old|long|tall|wide|high|deep|away|in\s+\w+)$", re.IGNORECASE)
_ALONE = frozenset("mglsLhVJW$")  # signs of units that follow a number at once
_APART = frozenset("NACFKTM")  # those that need a blank before them: 5N may be a formula
_POWERED = re.compile(r"(?!m)[A-Za-z]\s*\^\s*\{?\s*\d+\s*\}?$")
_PERCENT = re.compile(
    r"(.+?)\s*(?:(%|percent|prozent|per cent|pct\.?|percentage points?)|‰)$", re.IGNORECASE
)
_MONEY = re.compile(
    r"([-+]?)\s*(US\$|C\$|A\$|R\$|[$€£¥₹₩₽]|(?:USD|EUR|GBP|INR|CHF|JPY|Rs\.?)(?=[\s\d]))\s*(.+)$"
)
_THOUSAND = {"k": 10**3, "m": 10**6, "b": 10**9, "bn": 10**9, "mn": 10**6, "mm": 10**6, "t": 10**12}
_RATE = re.compile(r"\s*(?:/|\bper\b|\ban?\b(?=\s)|\bevery\b)\s*", re.IGNORECASE)
_RATES = {
    "bpm": "beats per minute", "fps": "frames per second", "mpg": "miles per gallon",
    "wpm": "words per minute",
}  # fmt: skip
_POWERS = {"sq.": "square", "cu.": "cubic"}
_COMMA = re.compile(r"(\D{0,4}\d+),(\d{1,2}(?:\s*[^\s\d,].*)?)$")
_COMMANDS = (
    ("^\\circ", "°"),
    ("\\Omega", "Ω"),
    ("\\mu ", "µ"),
    ("\\mu", "µ"),
    ("μ", "µ"),
    ("° C", "°C"),
    ("° F", "°F"),
)
_PIECE = re.compile(r"\s*(°|'|\"|[^\s\d°'\",;:+*^/\\()=<>-]+)(?:\s*,?\s*and\s+|\s*,\s*|\s*)")
_AND_A_HALF = re.compile(r"(an?|one|\d+)\s+([a-z]+)\s+and\s+a\s+half$", re.IGNORECASE)
_A_TIME = re.compile(r"an?\s+([a-z]{3,})$", re.IGNORECASE)
_MONEY_AND = re.compile(r"^([$€£])\s*(\d+)(?=\s+(?:and\s+)?\d+\s*[a-z¢])")
_ARTICLE = re.compile(r"(?:of\s+)?(?:an?|the)\s+", re.IGNORECASE)


def amount(text: str) -> Quantity | None:
    """A number and what it is of; None for anything else.

    Example:
        >>> amount("1.5 hours"), amount("$5.00"), amount("50%"), amount("5 x")
        (('3/2', 'h', '5400 s'), ('5', '$', '5 $'), ('1/2', '', ''), None)
    """
    if comma := _COMMA.match(text):  # 3,5 kg
        point = f"{comma[1]}.{comma[2]}"
        found = _percent(point) or _money(point) or _measured(point)
        if found is not None and (found[2] or "%" in text):
            return found
    if half := _AND_A_HALF.match(text):  # an hour and a half
        text = f"{half[1] if half[1][0].isdigit() else 1} 1/2 {half[2]}"
    elif (article := _A_TIME.match(text)) and (one := measure(article[1])) and one.base == "s":
        return _told(Fraction(1), one)
    text = _MONEY_AND.sub(r"\2 \1", text)  # $3 and 50 cents
    return _percent(text) or _money(text) or _measured(text)


def with_signs(text: str) -> str:
    r"""A text with the signs of units for their commands.

    Example:
        >>> with_signs(r"25^\circ C"), with_signs(r"10 k\Omega")
        ('25°C', '10 kΩ')
    """
    for command, sign in _COMMANDS:
        text = text.replace(command, sign)
    return text


def _percent(text: str) -> Quantity | None:
    if (percent := _PERCENT.match(text)) is None:
        return None
    value = number(percent[1].strip("$ "))
    return None if value is None else (str(value / (100 if percent[2] else 1000)), "", "")


def _money(text: str) -> Quantity | None:
    if (money := _MONEY.match(text)) is None:
        return None
    sign, currency, amount = money.groups()
    if (found := leading(amount)) is None:
        return None
    value, end = found
    rest = _FILLING.sub("", amount[end:]).strip()
    if factor := _THOUSAND.get(rest.partition(" ")[0].casefold()):
        value, rest = value * factor, rest.partition(" ")[2]
    one = measure(currency.rstrip("."))
    if one is None:
        return None
    rate = _RATE.split(f" {rest}", maxsplit=1)
    if rate[0].strip() and measure(rate[0]) != one:  # $5 USD is $5
        return None
    if len(rate) > 1:
        other = measure(rate[1]) or counted(rate[1])
        if other is None:
            return None
        one = measure(f"{one.name}/{other.name}") or Unit(f"{one.name}/{other.name}")
    return _told(-value if sign == "-" else value, one)


def _measured(text: str) -> Quantity | None:
    """A number and what it is of, or several that are added up: 1 hour 30 minutes, 5'6"."""
    if (found := leading(text)) is None:
        return None
    value, end = found
    rest = _FILLING.sub("", text[end:])
    if not rest.strip() and text[end:].strip():
        return str(value), "", ""
    if value.denominator > 1 and (article := _ARTICLE.match(rest.strip())):  # half a mile
        rest = " " + rest.strip()[article.end() :]
    if not rest.strip():
        return None
    one = _unit(rest) or _unit(_HOW.sub("", rest))
    if one is not None:
        return _told(value, one)
    if (several := _added(text)) is not None:
        return several
    one = counted(rest)
    return None if one is None else _told(value, one)


def _told(value: Fraction, one: Unit) -> Quantity:
    if one.name == "°C":
        return str(value), one.name, f"{value + Fraction('273.15')} K"
    if one.name == "°F":
        return str(value), one.name, f"{(value + Fraction('459.67')) * 5 / 9} K"
    return str(value), one.name, f"{value * one.worth} {one.base}" if one.base else ""


def _unit(words: str) -> Unit | None:
    """A unit of measure after a number: not in 5x, and not in 2 g h."""
    bare = words.strip()
    if bare in ("'", '"'):
        return measure("ft" if bare == "'" else "in")
    if (
        len(bare) == 1
        and bare.isascii()
        and not (bare in _ALONE or (bare in _APART and words[0] == " "))
    ):
        return None
    if _POWERED.match(bare):
        return None  # 3t^2 is no mass
    letters = bare.split()
    if len(letters) > 1 and all(len(one) == 1 for one in letters) and letters != ["N", "m"]:
        return None
    return measure(bare)


def unit_after(words: str) -> Unit | None:
    """The unit that words after a formula are; None where they may be variables."""
    if words.casefold() in ("unit", "units", "square units", "cubic units"):
        return counted(words)
    return measure(words) if len(words) > 1 or words == "m" else None


def _added(text: str) -> Quantity | None:
    parts: list[tuple[Fraction, Unit]] = []
    position = 0
    names: list[str] = []
    apart = False
    while position < len(text):
        found = leading(text[position:])
        if found is None or (parts and found[0] < 0):
            return None
        position += found[1]
        piece = _PIECE.match(text, position)
        if piece is None:
            return None
        name = piece[1]
        if name in ("'", '"'):
            arc = names[:1] == ["°"]
            name = ("arcmin" if arc else "ft") if name == "'" else "arcsec" if arc else "in"
        names.append("min" if name == "m" and names[-1:] == ["h"] else name)
        position = piece.end()
        one = measure(names[-1])
        if one is None or not one.base:
            return None
        if one.base == "cent" and parts and parts[0][1].base in OF_CENTS:
            one = Unit(one.name, Fraction(1, 100), parts[0][1].base)
        if apart and abs(found[0]) * one.worth >= parts[-1][1].worth:
            return None  # 3 cm, 50 mm are two
        apart = piece[0].strip().endswith(",")
        parts.append((found[0], one))
    first = parts[0][1]
    falling = all(a[1].worth > b[1].worth for a, b in pairwise(parts))
    if len(parts) < 2 or not falling or any(one.base != first.base for _, one in parts):
        return None
    sign = -1 if parts[0][0] < 0 else 1
    total = sum((abs(value) * one.worth for value, one in parts), Fraction(0))
    return _told(sign * total / first.worth, first)


def counted(words: str) -> Unit | None:
    """What is counted, in the singular; None for words that change a number, and for variables.

    Example:
        >>> counted(" red apples"), counted("or more"), counted("xy")
        (Unit(name='red apple', worth=Fraction(1, 1), base=''), None, None)
    """
    if (words and words[0].isascii() and words[0].isalpha()) and len(words.strip()) < 3:
        return None
    words = words.strip(" .()")
    words = re.sub(r"^(?:sq|cu)\.", lambda short: _POWERS[short[0]], words)
    if words.casefold() in ("unit", "units"):
        return Unit("")
    words = _RATES.get(words.casefold(), words)
    over, *under = _RATE.split(words, maxsplit=1)
    if under:
        one, other = measure(over) or counted(over), measure(under[0]) or counted(under[0])
        return Unit(f"{one.name}/{other.name}") if one and other else None
    words = re.split(r"\s+of\s+", words)[0]
    said = re.findall(r"[^\W\d_]+", words.casefold())
    if re.search(r"[\d\\=<>+*(){}\[\],;^_|!/:]", words) or not 0 < len(said) <= 5:
        return None
    if _NO_COUNT & set(said) or said[0] in ("of", "a", "an", "the"):
        return None
    if any(len(word) == 1 and word.isascii() for word in said):
        return None
    head, _, rest = words.replace("-", " ").partition(" ")
    if rest and (one := measure(head)) is not None:  # 45 degrees north
        return Unit(f"{one.name} {singular(rest.casefold())}")
    short = len(said) == 1 and len(said[0]) < 3 and said[0].isascii()
    return None if short else Unit(singular(words.casefold().strip()))
