"""Numbers with what they are of: percentages, money, units, what is counted, ordinals, ratios."""

from __future__ import annotations

import re
from fractions import Fraction

from spex_agents.answers.numbers import number
from spex_agents.answers.units import is_unit, unit

_PERCENT = re.compile(r"(.+?)\s*(?:%|percent|per cent|percentage points?)$", re.IGNORECASE)
_MONEY = re.compile(r"([-+]?)\s*(US\$|[$€£¥₹]|USD|EUR|GBP|Rs\.?)\s*([-+]?[\d.].*)$")
COUNTED = re.compile(
    r"([-+]?[\d.,]*\d(?: \d{3})*\.?(?:\s+\d+/\d+|/\d+)?(?:\s*\\times\s*10\s*\^\s*\{?-?\d+\}?)?"
    r"|[-+]?(?:\d+\s*)?\\frac\s*(?:\{\d+\}|\d)\s*(?:\{\d+\}|\d))\s*"
    r"((?:[^\W\d_]|[¢€£¥$₹元])[^\d\\=<>+*(){}\[\],;]*?(?:\s*\^?\s*\{?[23]\}?)?|\^\\circ\s*[CF]?)$"
)
_ORDINAL = re.compile(r"(\d+)\s*(?:st|nd|rd|th)$", re.IGNORECASE)
_RATIO = re.compile(r"(\d+)\s*(?::|\s+to\s+)\s*(\d+)$")
FUNCTIONS = frozenset(
    "sin cos tan cot sec csc log sqrt exp arcsin arccos arctan sinh cosh tanh gcd lcm max min "
    "mod".split()
)


def quantity(text: str) -> tuple[str, str, str] | None:
    """The value, the unit, and the value in base units ("" for none); None for no quantity.

    Example:
        >>> quantity("1.5 hours"), quantity("$5.00"), quantity("50%"), quantity("5 x")
        (('3/2', 'h', '5400 s'), ('5', '$', '5 $'), ('1/2', '', ''), None)
    """
    if percent := _PERCENT.match(text):
        value = number(percent[1].strip("$ "))
        return None if value is None else (str(value / 100), "", "")
    if money := _MONEY.match(text):
        amount = re.sub(r"\s*(?:dollars?|euros?|pounds?|USD|EUR|GBP)$", "", money[3])
        amount, _, rate = re.sub(r"\s+per\s+", "/", amount).partition("/")
        words = f"{money[2]}/{rate}" if rate and not rate[0].isdigit() else money[2]
        amount = amount if words != money[2] else money[3] if rate else amount
        value = number((money[1] + amount).strip())
        if value is not None:
            return _measured(value, words)
    if ordinal := _ORDINAL.match(text):
        return str(int(ordinal[1])), "ordinal", ""
    if counted := COUNTED.match(text):
        value = number(counted[1].strip())
        words = counted[2].replace("^\\circ", "°").strip()
        if value is not None and _counts(words):
            return _measured(value, words)
    if (ratio := _RATIO.match(text)) and int(ratio[2]):
        value = Fraction(int(ratio[1]), int(ratio[2]))
        return f"{value.numerator}:{value.denominator}", "", ""
    return None


def _counts(words: str) -> bool:
    """Whether words after a number tell what it is of: 5 m, 5 apples, not 5x, 5 xy, 5 or."""
    if len(words) == 1 and words.isalpha() and words.isascii():
        return words in "mglsLh"
    if is_unit(words):  # min and sec among them
        return True
    if re.fullmatch(r"[a-z]{2}", words) and not is_unit(words):
        return False
    operators = {"and", "or", "to", "plus", "minus", "times"} | FUNCTIONS
    return len(words.split()) <= 5 and not operators & set(words.casefold().split())


def _measured(value: Fraction, words: str) -> tuple[str, str, str]:
    name, worth, base = unit(words)
    return str(value), name, f"{value * worth} {base}" if is_unit(words) else ""
