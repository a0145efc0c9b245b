"""What a number may be of: units and what one of them is worth, as data."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

_TABLE = """
m 1 m + meter metre
in 127/5000 m - inch inche
ft 381/1250 m - foot feet
yd 1143/1250 m - yard
mi 201168/125 m - mile
nmi 1852 m - nautical_mile
acre 316160658/78125 m2 -
ha 10000 m2 - hectare
g 1 g + gram gramme
t 1000000 g - tonne metric_ton
ton 907184740/1000 g - short_ton
lb 45359237/100000 g - pound lbs
oz 45359237/1600000 g - ounce
u 1 u - amu
cc 1/1000000 m3 -
l 1/1000 m3 + liter litre L
gal 473176473/125000000000 m3 - gallon
qt 473176473/500000000000 m3 - quart
cup 473176473/2000000000000 m3 -
pt 473176473/1000000000000 m3 - pint
s 1 s + sec second sekunde sekunden
min 60 s - minute minuten
h 3600 s - hour hr stunde stunden
day 86400 s -
week 604800 s - wk woche wochen
month 1 month -
year 12 month - yr
decade 120 month -
century 1200 month -
Hz 1 s-1 + hertz
N 1000 g1m1s-2 + newton
Nm 1000 g1m2s-2 - newton_metre newton_meter
J 1000 g1m2s-2 + joule
cal 4184 g1m2s-2 + calorie
eV 801088317/5000000000000000000000000 g1m2s-2 + electronvolt electron_volt
Wh 3600000 g1m2s-2 + watt-hour watt_hour watthour
W 1000 g1m2s-3 + watt
hp 745700 g1m2s-3 - horsepower
Pa 1000 g1m-1s-2 + pascal
bar 100000000 g1m-1s-2 -
atm 101325000 g1m-1s-2 - atmosphere
A 1 A + amp ampere
C 1 A1s1 + coulomb
V 1000 A-1g1m2s-3 + volt
Ω 1000 A-2g1m2s-3 + ohm
F 1/1000 A2g-1m-2s4 + farad
T 1000 A-1g1s-2 + tesla
Wb 1000 A-1g1m2s-2 + weber
H 1000 A-2g1m2s-2 + henry henrie
K 1 K + kelvin
°C 1 °C - celsius degree_celsius degrees_celsius degree_C degrees_C centigrade degC
°F 1 °F - fahrenheit degree_fahrenheit degrees_fahrenheit degree_F degrees_F degF
mol 1 mol + mole
M 1000 m-3mol1 - molar
cd 1 cd - candela
lm 1 lm - lumen
lx 1 lm1m-2 - lux
Bq 1 s-1 - becquerel
B 8 bit + byte
bit 1 bit + bits
dB 1 dB - decibel
° 1/180 πrad - degree deg
arcmin 1/10800 πrad - arcminute
arcsec 1/648000 πrad - arcsecond
rad 1 rad - radian
rpm 1/60 rev1s-1 -
mph 201168/450000 m1s-1 -
kph 5/18 m1s-1 - kmh kmph
knot 463/900 m1s-1 -
$ 1 $ - dollar usd us$ buck
¢ 1/100 $ -
cent 1 cent - ct
€ 1 € - euro eur
£ 1 £ - gbp pound_sterling pounds_sterling quid
p 1/100 £ - pence penny
¥ 1 ¥ - yen jpy 円
元 1 元 - yuan rmb cny
₹ 1 ₹ - rupee inr rs
₩ 1 ₩ - won krw
₽ 1 ₽ - ruble rouble rub
R$ 1 R$ - real reai brl
C$ 1 C$ - cad
A$ 1 A$ - aud
CHF 1 CHF - chf franc
"""
_PREFIXES: dict[str, Fraction | int] = {
    "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "h": 100, "d": Fraction(1, 10),
    "c": Fraction(1, 100), "m": Fraction(1, 10**3), "µ": Fraction(1, 10**6),
    "n": Fraction(1, 10**9), "p": Fraction(1, 10**12), "f": Fraction(1, 10**15),
    "kilo": 10**3, "mega": 10**6, "giga": 10**9, "tera": 10**12, "hecto": 100,
    "deci": Fraction(1, 10), "centi": Fraction(1, 100), "milli": Fraction(1, 10**3),
    "micro": Fraction(1, 10**6), "nano": Fraction(1, 10**9), "pico": Fraction(1, 10**12),
    "femto": Fraction(1, 10**15),
}  # fmt: skip
_SHORT = {"mega": "M", "hecto": "h", "micro": "µ", "K": "k"}
_IRREGULAR = {
    "people": "person",
    "children": "child",
    "men": "man",
    "women": "woman",
    "feet": "foot",
    "inches": "inch",
    "mice": "mouse",
    "centuries": "century",
    "halves": "half",
    "kilo": "kg",
    "kilos": "kg",
    "sq": "square",
    "cu": "cubic",
}


class Unit(NamedTuple):
    """What is measured in.

    Attributes:
        name: As it is told.
        worth: Of base units.
        base: The base units; "" for what is only counted.
    """

    name: str
    worth: Fraction = Fraction(1)
    base: str = ""


class _Measure(NamedTuple):
    """A unit of the table, with its dimensions."""

    name: str
    worth: Fraction
    of: dict[str, int]
    prefixed: bool


_DIMENSION = re.compile(r"([^\d-]+)(-?\d*)")
_UNITS: dict[str, _Measure] = {}
for _line in _TABLE.strip().split("\n"):
    _name, _worth, _of, _takes, *_others = _line.split()
    _dimensions = {base: int(power or 1) for base, power in _DIMENSION.findall(_of)}
    for _word in (_name, *_others):
        _UNITS[_word.replace("_", " ")] = _Measure(
            _name, Fraction(_worth), _dimensions, _takes == "+"
        )

_SIGN = re.compile(r"\s*(?:/|\bper\b|\ba(?:n)?\b(?=\s))\s*", re.IGNORECASE)
_FACTOR = re.compile(
    r"(?:(?P<high>square|sq\.?|cubic|cu\.?)\s+)?(?P<word>[^\s^*\\/()\d.-][^\s^*\\/()\d.]*(?:\.(?=\s|$))?)"
    r"(?:\s*(?P<power>squared|cubed)|\s*\^\s*\{?\s*(?P<a>-?\d)\s*\}?|(?P<b>-?[23]))?"
    r"(?:\s*(?:\\cdot|\*|\\times)\s*|\s+|$)",
    re.IGNORECASE,
)
_LONGEST = 60
OF_CENTS = ("$", "€", "R$", "C$", "A$")


def of_cents(base: str) -> tuple[str, ...]:
    """What so many cents may be in base units: those of any currency that has some.

    Example:
        >>> of_cents("150 cent")[:2], of_cents("3/2 $")
        (('3/2 $', '3/2 €'), ())
    """
    number, *units = base.split(" ")
    if "cent" not in units:
        return ()
    units.remove("cent")
    return tuple(
        " ".join([str(Fraction(number) / 100), *sorted([currency, *units])])
        for currency in OF_CENTS
    )


@lru_cache(maxsize=1024)
def measure(words: str) -> Unit | None:
    """A unit of measure, or a product, a power or a quotient of some; None for what is none.

    Example:
        >>> measure("km per hour"), measure("apples")
        (Unit(name='km/h', worth=Fraction(5, 18), base='m s^-1'), None)
    """
    words = words.strip(" .")
    if not words or len(words) > _LONGEST:
        return None
    over, *under = _SIGN.split(words)
    names: list[str] = []
    worth, of = Fraction(1), dict[str, int]()
    for sign, part in [(1, over), *((-1, part) for part in under)]:
        found = _factors(part.strip().strip("()"))
        if found is None:
            return None
        name, price, dimensions = found
        names.append(name)
        worth *= price**sign
        for base, power in dimensions.items():
            of[base] = of.get(base, 0) + sign * power
    base = " ".join(
        unit if power == 1 else f"{unit}^{power}" for unit, power in sorted(of.items()) if power
    )
    return Unit("/".join(names), worth, base)


def _factors(words: str) -> tuple[str, Fraction, dict[str, int]] | None:
    names: list[str] = []
    worth, of = Fraction(1), dict[str, int]()
    position = 0
    if (known := _known(words)) is not None:  # degrees Celsius
        return known.name, known.worth, known.of
    while position < len(words):
        found = _FACTOR.match(words, position)
        one = _known(found["word"]) if found else None
        if found is None or one is None:
            return None
        high = (found["high"] or found["power"] or "").casefold()
        power = 2 if high.startswith("sq") else 3 if high else int(found["a"] or found["b"] or 1)
        names.append(one.name if power == 1 else f"{one.name}^{power}")
        worth *= one.worth**power
        for base, exponent in one.of.items():
            of[base] = of.get(base, 0) + exponent * power
        position = found.end()
    return (" ".join(names), worth, of) if names else None


def _known(word: str) -> _Measure | None:
    """A unit by its sign or its name, with its prefix."""
    word = word.strip(" .")
    low = word.casefold()
    for form in (word, low, singular(low)):
        if form in _UNITS:
            return _UNITS[form]
        if (found := _prefixed(form)) is not None:
            return found
    return None


def _prefixed(word: str) -> _Measure | None:
    word = _IRREGULAR.get(word, word)
    for prefix, factor in _PREFIXES.items():
        rest = word[len(prefix) :]
        if not rest or not word.startswith(prefix):
            continue
        one = _UNITS.get(rest)
        # Signs go with signs, and words with words.
        if one and one.prefixed and (rest in (one.name, "L")) == (len(prefix) == 1):
            sign = _SHORT.get(prefix, prefix[0])
            return _Measure(sign + one.name, one.worth * factor, one.of, False)
    return None


def singular(words: str) -> str:
    """Words with the last of them in the singular.

    Example:
        >>> singular("red apples"), singular("people"), singular("glass")
        ('red apple', 'person', 'glass')
    """
    head, _, last = words.rpartition(" ")
    last = _IRREGULAR.get(last, last)
    if last.endswith("ies") and len(last) > 4:
        last = last[:-3] + "y"
    elif last.endswith(("ches", "shes", "sses", "xes")):
        last = last[:-2]
    elif last.endswith("s") and not last.endswith(("ss", "us", "is")) and len(last) > 2:
        last = last[:-1]
    return f"{head} {last}".strip()
