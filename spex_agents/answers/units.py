"""What a number may be of: units and what one of them is worth, as data."""

from __future__ import annotations

import re
from fractions import Fraction

_TABLE = """
mm 1/1000 m millimeter millimetre
cm 1/100 m centimeter centimetre
dm 1/10 m decimeter decimetre
m 1 m meter metre
km 1000 m kilometer kilometre
in 127/5000 m inch
ft 381/1250 m foot
yd 1143/1250 m yard
mi 201168/125 m mile
mg 1/1000 g milligram
g 1 g gram gramme
kg 1000 g kilogram kilo
t 1000000 g tonne
lb 45359237/100000 g pound lbs
oz 45359237/1600000 g ounce
ml 1/1000 l milliliter millilitre mL
l 1 l liter litre L
s 1 s sec second
min 60 s minute
h 3600 s hour hr
day 86400 s
week 604800 s wk
month 1 month
year 12 month yr
$ 1 $ dollar usd USD US$
cent 1/100 $ ¢
€ 1 € euro eur EUR
£ 1 £ gbp GBP
¥ 1 ¥ yen JPY 元 yuan
₹ 1 ₹ rupee INR Rs
° 1 ° degree deg
"""
_UNITS: dict[str, tuple[str, Fraction, str]] = {}
for _line in _TABLE.split("\n"):
    if _words := _line.split():
        _name, _factor, _of, *_others = _words
        for _word in (_name, *_others):
            _UNITS[_word] = (_name, Fraction(_factor), _of)

_POWER = re.compile(r"(square|sq\.?|cubic|cu\.?)\s+(.+)|(.+?)\s*\^?\s*\{?([23])\}?$", re.IGNORECASE)
_IRREGULAR = {
    "feet": "foot",
    "inches": "inch",
    "people": "person",
    "children": "child",
    "men": "man",
    "women": "woman",
    "mph": "mi/h",
    "kph": "km/h",
    "kmh": "km/h",
}


def is_unit(words: str) -> bool:
    """Whether a unit of measure is meant, or a power or a quotient of some, not what is counted.

    Example:
        >>> is_unit("cm"), is_unit("km per hour"), is_unit("apples")
        (True, True, False)
    """
    name, _, base = unit(words)
    return name in _UNITS or base != name


def unit(words: str) -> tuple[str, Fraction, str]:
    """The name of a unit, how many base units it is worth, and their name.

    Words that are no unit of measure are what is counted: one is worth one.

    Example:
        >>> unit("minutes"), unit("square cm")[0], unit("red apples")[0]
        (('min', Fraction(60, 1), 's'), 'cm^2', 'red apple')
    """
    words = words.strip(" .^")
    words = _IRREGULAR.get(words.casefold(), words)
    for sign in (" per ", "/"):
        over, found, under = words.partition(sign)
        if found and over.strip() and under.strip():
            (one, worth, of), (other, price, base) = unit(over), unit(under)
            return f"{one}/{other}", worth / price, f"{of}/{base}"
    if (power := _POWER.fullmatch(words)) and len(words) < 40:
        square, of_one, base, digit = power.groups()
        exponent = int(digit) if digit else 2 if square.casefold().startswith("sq") else 3
        name, worth, of = unit(of_one or base)
        return f"{name}^{exponent}", worth**exponent, f"{of}^{exponent}"
    for word in (words, words.casefold(), _singular(words.casefold())):
        if word in _UNITS:
            return _UNITS[word]
    return _singular(words.casefold()), Fraction(1), _singular(words.casefold())


def _singular(words: str) -> str:
    head, _, last = words.rpartition(" ")
    last = _IRREGULAR.get(last, last)
    if last.endswith("ies") and len(last) > 4:
        last = last[:-3] + "y"
    elif last.endswith(("ches", "shes", "sses", "xes")):
        last = last[:-2]
    elif last.endswith("s") and not last.endswith("ss") and len(last) > 2:
        last = last[:-1]
    return f"{head} {last}".strip()
