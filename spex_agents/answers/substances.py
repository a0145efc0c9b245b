"""Chemical formulas: there a digit counts atoms, and case tells elements apart."""

from __future__ import annotations

import re

_ELEMENTS = (
    "He|Li|Be|Ne|Na|Mg|Al|Si|Cl|Ar|Ca|Sc|Ti|Cr|Mn|Fe|Co|Ni|Cu|Zn|Ga|Ge|As|Se|Br|Kr|Rb|Sr|Zr|Nb|Mo|"
    "Ag|Cd|In|Sn|Sb|Te|Xe|Cs|Ba|La|Ce|Pt|Au|Hg|Pb|Bi|Ra|Th|Pu|H|B|C|N|O|F|P|S|K|V|Y|I|W|U"
)
_COUNT = r"(?:_?\{?\d+\}?)?"
_GROUP = rf"(?:(?:{_ELEMENTS}){_COUNT})"
_ION = re.compile(rf"^({_ELEMENTS})(\d[-+])$")  # Fe3+
_FORMULA = re.compile(
    rf"(?P<many>\d*)\s*(?P<atoms>(?:{_GROUP}|\({_GROUP}+\){_COUNT})+)"
    r"(?:\^?\{?(?P<charge>\d*[-+])\}?)?$"
)


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
