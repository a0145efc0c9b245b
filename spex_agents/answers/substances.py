"""Chemical formulas: there a digit counts atoms, and case tells elements apart."""

from __future__ import annotations

import re

_ELEMENTS = (
    "He|Li|Be|Ne|Na|Mg|Al|Si|Cl|Ar|Ca|Sc|Ti|Cr|Mn|Fe|Co|Ni|Cu|Zn|Ga|Ge|As|Se|Br|Kr|Rb|Sr|Zr|Nb|Mo|"
    "Ag|Cd|In|Sn|Sb|Te|Xe|Cs|Ba|La|Ce|Pt|Au|Hg|Pb|Bi|Ra|Th|Pu|H|B|C|N|O|F|P|S|K|V|Y|I|W|U"
)
_LONGEST = 200  # characters of an equation
_COUNT = r"(?:_?\{?\d+\}?)?"
_GROUP = rf"(?:(?:{_ELEMENTS}){_COUNT})"
_ION = re.compile(rf"^({_ELEMENTS})(\d[-+])$")  # Fe3+
_FORMULA = re.compile(
    rf"(?P<many>\d*)\s*(?P<atoms>(?:{_GROUP}|\({_GROUP}+\){_COUNT})+)"
    r"(?:\^?\{?(?P<charge>\d*[-+])\}?)?$"
)


_STATE = re.compile(r"\s*\((?:s|l|g|aq)\)$")


def reaction(text: str) -> str | None:
    r"""A chemical equation in one notation; None for what is none.

    Example:
        >>> reaction(r"2H2 + O2 \to 2H_2O"), reaction(r"x \to 2")
        ('2H2 + O2 -> 2H2O', None)
    """
    sides = re.split(r"\\to(?![A-Za-z])", text)
    if len(sides) != 2 or len(text) > _LONGEST:
        return None
    told = []
    for side in sides:
        terms = [re.sub(r"\s+", "", _STATE.sub("", term)) for term in re.split(r"\s\+\s", side)]
        if not all(map(_FORMULA.match, terms)):
            return None
        told.append(" + ".join(sorted(re.sub(r"[_{}^]", "", term) for term in terms)))
    return " -> ".join(told) if re.search(r"[A-Z]\w*\d|[A-Z][a-z]|\+", text) else None


def substance(text: str) -> str | None:
    """A chemical formula in one notation; None where it may as well be something else.

    Example:
        >>> substance("H_2O"), substance("Fe^{3+}"), substance("NO2") == substance("N2O")
        ('H2O', 'Fe 3+', False)
        >>> substance("B"), substance("V_1"), substance("x^2")
        (None, None, None)
    """
    text = _ION.sub(r"\1^\2", re.sub(r"\s+", "", text))
    if len(text) > 40 or (found := _FORMULA.match(text)) is None:
        return None
    atoms = re.sub(r"[_{}]", "", found["atoms"])
    elements = re.findall(_ELEMENTS, atoms)
    charge = found["charge"] or ""
    if charge and ("^" in text or len(elements) > 1 or len(elements[0]) > 1 or charge == "+"):
        return f"{found['many']}{atoms} {charge}"
    counted = re.search(r"[A-Za-z)]\d", atoms) is not None
    if charge or not counted or (len(elements) == 1 and "_" in text):
        return None
    return f"{found['many']}{atoms}"
