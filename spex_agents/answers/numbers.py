"""Numbers as people write them: exact values in microseconds, without sympy."""

from __future__ import annotations

import re
from fractions import Fraction

_MOST_DIGITS = 2000

_SIGN = r"(?P<sign>[-+]?)\s*"
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d{1,2}(?:,\d{2})+,\d{3}|\d+)(?![\d])"
_DECIMAL = rf"(?:{_DIGITS}(?:\.\d*)?|\.\d+)"
_NUMBER = re.compile(rf"{_SIGN}(?P<number>{_DECIMAL})(?:[eE](?P<exponent>[-+]?\d{{1,5}}))?$")
_POWER_OF_TEN = re.compile(
    rf"{_SIGN}(?:(?P<number>{_DECIMAL})\s*(?:\\times|\\cdot|\*|x)\s*)?"
    r"10\s*(?:\^|\*\*)\s*(?:\{\s*(?P<a>[-+]?\d{1,5})\s*\}|\(\s*(?P<b>[-+]?\d{1,5})\s*\)|(?P<c>[-+]?\d{1,5}))$"
)
_FRACTION = re.compile(rf"{_SIGN}(?P<top>{_DECIMAL})\s*/\s*(?P<bottom>-?{_DECIMAL})$")
_FRAC = re.compile(
    rf"{_SIGN}(?:(?P<whole>\d+)\s*)?\\frac\s*(?:\{{\s*(?P<a>[-+]?{_DECIMAL})\s*\}}|(?P<b>\d))"
    rf"\s*(?:\{{\s*(?P<c>[-+]?{_DECIMAL})\s*\}}|(?P<d>\d))$"
)
_MIXED = re.compile(rf"{_SIGN}(?P<whole>\d+)\s+(?:and\s+)?(?P<top>\d+)\s*/\s*(?P<bottom>\d+)$")
_EUROPEAN = re.compile(rf"{_SIGN}(?P<number>\d{{1,3}}(?:\.\d{{3}})+),(?P<part>\d+)$")
_REPEATING = re.compile(
    rf"{_SIGN}(?P<whole>\d*)\.(?P<part>\d*)\\(?:overline|bar|dot)\s*\{{(?P<again>\d+)\}}$"
)
_WORDS = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen".split()
    )
}
_TENS = {
    word: 10 * value
    for value, word in enumerate(
        "twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2
    )
}


def number(text: str) -> Fraction | None:
    r"""The exact value of a number, or None where the text is none, or longer than is useful.

    Example:
        >>> number("1,234.5"), number(r"-3\frac12"), number("1 1/2"), number("1,2")
        (Fraction(2469, 2), Fraction(-7, 2), Fraction(3, 2), None)
    """
    if len(text) > _MOST_DIGITS:
        return None
    try:
        return _read(text)
    except (ZeroDivisionError, ValueError):
        return None


def _read(text: str) -> Fraction | None:
    value: Fraction | None = None
    if found := _NUMBER.match(text):
        value = _decimal(found["number"]) * _ten(found["exponent"])
    elif found := _FRACTION.match(text):
        value = _decimal(found["top"]) / _decimal(found["bottom"])
    elif found := _FRAC.match(text):
        top, bottom = found["a"] or found["b"], found["c"] or found["d"]
        if found["whole"] and not (top.isdigit() and bottom.isdigit()):
            return None  # a product
        value = int(found["whole"] or 0) + _decimal(top) / _decimal(bottom)
    elif found := _MIXED.match(text):
        value = int(found["whole"]) + Fraction(int(found["top"]), int(found["bottom"]))
    elif found := _POWER_OF_TEN.match(text):
        value = _decimal(found["number"] or "1") * _ten(found["a"] or found["b"] or found["c"])
    elif found := _EUROPEAN.match(text):
        value = _decimal(found["number"].replace(".", "") + "." + found["part"])
    elif found := _REPEATING.match(text):
        shift, length = 10 ** len(found["part"]), len(found["again"])
        value = Fraction(int((found["whole"] or "0") + found["part"]), shift)
        value += Fraction(int(found["again"]), shift * (10**length - 1))
    else:
        return _in_words(text)
    return -value if found["sign"] == "-" else value


def _ten(exponent: str | None) -> Fraction:
    if abs(power := int(exponent or 0)) > _MOST_DIGITS:
        raise ValueError("too long to be written down")
    return Fraction(10) ** power


def _decimal(text: str) -> Fraction:
    return Fraction(text.replace(",", "").replace(" ", "").rstrip("."))


def _in_words(text: str) -> Fraction | None:
    words = text.casefold().replace("-", " ").split()
    sign = 1
    if words[:1] in (["minus"], ["negative"]):
        words, sign = words[1:], -1
        if len(words) == 1 and (value := number(words[0])) is not None:
            return -value
    if len(words) == 1:
        found = _WORDS.get(words[0], _TENS.get(words[0]))
        return None if found is None else Fraction(sign * found)
    if len(words) == 2 and words[0] in _TENS and 0 < _WORDS.get(words[1], 0) < 10:
        return Fraction(sign * (_TENS[words[0]] + _WORDS[words[1]]))
    if words in (["one", "hundred"], ["a", "hundred"]):
        return Fraction(sign * 100)
    return None
