"""Sums of quantities: whether their units let them hold."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from hashlib import sha256
from itertools import pairwise

from spex_agents.answers.amounts import counted
from spex_agents.answers.units import Unit, measure

MARKS = "".join(map(chr, range(0xE000, 0xE020)))
"""Each stands for a unit of a text."""
_TEXT = re.compile(r"\\(?:text|mathrm|mbox)\{\s*([^{}]{1,40}?)\s*\}(\^\{?\d\}?)?")
_PREFIXED = re.compile(r"([€£])[ \t]*(\d+(?:\.\d+)?)")
_POWER = r"(?:\^\{?\d\}?)?"
_WORD = rf"(?:(?:square|cubic|sq\.|cu\.)[ \t]+)?[A-Za-zµ°]+{_POWER}"
_MEASURED = re.compile(
    rf"(?<![\w.^])(\d+(?:\.\d+)?)[ \t]*(?!in[ \t]+[a-z])([€£¢]|{_WORD}"
    rf"(?:(?:/|[ \t]+per[ \t]+){_WORD})?)(?![\w^{{(\\])"
)
_COMPOUND = re.compile(
    rf"(?<![\w.^])\d+(?:\.\d+)?[{MARKS}](?:[ \t]+\d+(?:\.\d+)?[{MARKS}])+(?![\w^{{(\\])"
)
_COUNTED = "~"  # before the base of what has no measure
_POINTS = (2, 3)
_Evaluate = Callable[[str], tuple[Fraction | None, list[Fraction]]]


def bare(side: str) -> str:
    """A side of an equation without its units."""
    return side.translate(dict.fromkeys(map(ord, MARKS)))


class Measures:
    """The units of one text.

    Example:
        >>> measures = Measures()
        >>> measures.shown(measures.marked("4 cm + 5 apples"))
        '4 cm + 5 apples'
    """

    def __init__(self) -> None:
        self._units: dict[str, Unit] = {}

    def marked(self, text: str) -> str:
        """`text` with a mark for each unit after a number."""

        def plain(found: re.Match[str]) -> str:
            known = measure(found[1]) or _noun(found[1])
            return found[0] if known is None else f" {found[1]}{found[2] or ''}"

        text = _MEASURED.sub(self._mark, _PREFIXED.sub(r"\2 \1", _TEXT.sub(plain, text)))
        return _COMPOUND.sub(self._added, text)

    def _added(self, found: re.Match[str]) -> str:
        """A quantity in several units as their sum: 2 h 30 min."""
        units = [self._units[mark] for mark in _marks(found[0])]
        falling = all(a.worth > b.worth and a.base == b.base for a, b in pairwise(units))
        return f"({' + '.join(found[0].split())})" if falling else found[0]

    def _mark(self, found: re.Match[str]) -> str:
        if (unit := measure(found[2]) or _noun(found[2])) is None:
            return found[0]
        for mark in MARKS:
            if self._units.setdefault(mark, unit) == unit:
                return found[1] + mark
        return found[0]

    def shown(self, side: str) -> str:
        """A side with its units as words."""
        for mark, unit in self._units.items():
            side = side.replace(mark, f" {unit.name}")
        return side.strip()

    def holds(
        self, left: str, right: str, evaluate: _Evaluate, equal: Callable[[Fraction | None], bool]
    ) -> bool | None:
        """Whether both sides are the same; None where nobody can tell, as of ``2m + 4 = 10``.

        Args:
            left: A side with marks.
            right: The other.
            evaluate: Finds the value of a side without marks.
            equal: Whether a value of the left side is what is written on the right.
        """
        value, terms = evaluate(bare(left))
        mine, theirs = _marks(left), _marks(right)
        numbers = equal(value)
        if not mine:
            return numbers
        of = {self._units[mark].base for mark in mine + theirs}
        if any(base[:1] == _COUNTED for base in of):  # 2 boxes = 24 eggs may well hold
            return numbers or (False if len(of) == 1 and theirs and len(terms) > 1 else None)
        product = not re.search(r"[-+]", left)
        letters = all(re.fullmatch("[A-Za-z]", self._units[mark].name) for mark in mine)
        if not theirs:
            if numbers and (product or len(set(mine)) == 1):
                return True
            return None if numbers or letters or len(set(mine)) > 1 else False
        written = evaluate(bare(right))[0]
        shares = [self._share(left, right, evaluate, point) for point in _POINTS]
        if not written or shares[0] is None:
            return numbers if value is not None else None
        if shares[0] == shares[1]:
            factor = shares[0] * written / value if value else Fraction(0)
            converts = factor and not {factor, 1 / factor}.isdisjoint(terms)  # 2 h * 60 = 120 min
            return equal(shares[0] * written) or bool(numbers and product and converts)
        if numbers:  # 8 cm * 5 = 40 cm^2 leaves a unit out; 8 cm * 5 cm = 40 cm is false
            return False if len(mine) == len(terms) else True if product else None
        return None if letters else False

    def _share(self, left: str, right: str, evaluate: _Evaluate, point: int) -> Fraction | None:
        """How often `left` contains `right`, where base units have the values of a point."""
        mine, theirs = (evaluate(self._in_base(side, point))[0] for side in (left, right))
        return mine / theirs if mine is not None and theirs else None

    def _in_base(self, side: str, point: int) -> str:
        for mark, unit in self._units.items():
            if mark in side:
                side = re.sub(rf"(\d+(?:\.\d+)?){mark}", rf"(\1*({_worth(unit, point)}))", side)
        return side


def _marks(side: str) -> list[str]:
    return [char for char in side if char in MARKS]


def _noun(words: str) -> Unit | None:
    """What is counted, as it is written: apples."""
    one = counted(words) if words.isalpha() else None
    return Unit(words, base=_COUNTED + one.name) if one else None


def _worth(unit: Unit, point: int) -> Fraction:
    worth = unit.worth
    for factor in unit.base.split():
        name, _, power = factor.partition("^")
        drawn = sha256(f"{name} {point}".encode()).digest()
        worth *= Fraction(int.from_bytes(drawn[:2], "big") + 1) ** int(power or 1)
    return worth
