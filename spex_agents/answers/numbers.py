"""Numbers as people write them, in digits or words: exact values in microseconds, without sympy."""

from __future__ import annotations

import re
from fractions import Fraction

_MOST_DIGITS = 2000

_DIGITS = (
    r"(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d{1,3}(?:'\d{3})+|\d{1,3}(?:_\d{3})+"
    r"|\d{1,2}(?:,\d{2})+,\d{3}|\d+)(?!\d)"
)
_DECIMAL = rf"(?:{_DIGITS}(?:\.\d+|\.(?!\w))?|\.\d+)"
_WRITTEN = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?P<number>{_DECIMAL})(?:[eE](?P<exponent>[-+]?\d{{1,5}}))?",
        rf"(?:(?P<number>{_DECIMAL})\s*(?:\\times|\\cdot|\*|x)\s*)?10\s*(?:\^|\*\*)\s*"
        r"(?:\{\s*(?P<a>[-+]?\d{1,5})\s*\}|\(\s*(?P<b>[-+]?\d{1,5})\s*\)|(?P<c>[-+]?\d{1,5}))",
        rf"(?P<top>{_DECIMAL})\s*/\s*(?P<bottom>-?{_DECIMAL})",
        rf"(?:(?P<whole>\d+)\s*)?\\frac\s*(?:\{{\s*(?P<f>[-+]?{_DECIMAL})\s*\}}|(?P<g>\d))"
        rf"\s*(?:\{{\s*(?P<h>[-+]?{_DECIMAL})\s*\}}|(?P<i>\d))",
        r"(?P<whole>\d+)\s+(?:and\s+)?(?P<over>\d+)\s*/\s*(?P<under>\d+)",
        r"(?P<european>\d{1,3}(?:\.\d{3})+),(?P<part>\d+)",
        r"(?P<european>\d{1,3}(?: \d{3})+),(?P<part>\d+(?<!\d{3}))(?!\d)",
        r"(?P<european>\d{1,3}(?:\.\d{3}){2,})(?![.,]?\d)",
        r"(?P<european>\d+),(?P<part>0\d+)(?![.,]?\d)",  # 3,05: no list has such a number
        r"(?P<units>\d*)\.(?P<part>\d*)(?:\\(?:overline|bar|dot)\s*\{?|\()(?P<again>\d+)[})]?",
        r"(?P<units>\d+),(?P<part>\d*)\\(?:overline|bar)\s*\{(?P<again>\d+)\}",
        r"(?P<units>\d*)\.(?P<part>\d{0,9}?)(?P<again>(?P<once>\d)(?P=once){2,}|(?P<few>\d{2,8})"
        r"(?P=few)+)(?P<rest>\d{0,8})\s*(?:\.\.\.|\\ldots)",
    )
)
_ONES = {
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
_SCALES = {
    word: value
    for value, words in {
        100: "hundred hundreds 百",
        12: "dozen dozens",
        10**3: "thousand thousands mille tausend mila тысяча тысячи тысяч 千 hazaar",
        10**4: "万 萬 만",
        10**5: "lakh lakhs",
        10**6: "million millions millón millones milhão milhões millionen miljoen milioni milione "
        "миллион миллиона миллионов",
        10**7: "crore crores",
        10**8: "亿 億 억",
        10**9: "billion billions milliard milliards milliarde milliarden миллиард миллиарда "
        "миллиардов",
        10**12: "trillion trillions billionen 兆",
        10**15: "quadrillion quadrillions",
        10**18: "quintillion quintillions",
    }.items()
    for word in words.split()
}
_SHORT = {"mil": 10**3, "lac": 10**5, "lacs": 10**5, "mn": 10**6, "bn": 10**9}  # after digits
_PARTS = {
    word: value
    for value, words in {
        2: "half halves",
        3: "third thirds",
        4: "quarter quarters fourth fourths",
        5: "fifth fifths",
        6: "sixth sixths",
        7: "seventh sevenths",
        8: "eighth eighths",
        9: "ninth ninths",
        10: "tenth tenths",
        12: "twelfth twelfths",
        16: "sixteenth sixteenths",
        20: "twentieth twentieths",
        100: "hundredth hundredths",
        1000: "thousandth thousandths",
    }.items()
    for word in words.split()
}
_FIRSTS = {
    word: value
    for value, word in enumerate(
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth "
        "thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth".split(),
        start=1,
    )
}
ORDINALS = {
    **_FIRSTS,
    **{ten[:-1] + "ieth": value for ten, value in _TENS.items()},
    **{
        f"{ten}{sign}{word}": value + one
        for ten, value in _TENS.items()
        for word, one in _FIRSTS.items()
        for sign in "- "
        if one < 10
    },
    "hundredth": 100,
}
"""What place a word is of: 21 of twenty-first."""
WORDS = frozenset({*_ONES, *_TENS, *_SCALES, *_PARTS})
"""Words that are numbers or make others of them."""

_AND = re.compile(r"\s+and(?=\s)", re.IGNORECASE)
_TOKEN = re.compile(r"(?:\s*\b(?:a|an)(?=\s))?(?:-|\s*)([一-龥억만]|[^\W\d_]+)", re.IGNORECASE)
_NAMED = rf"(?P<part>{'|'.join(sorted(_PARTS, key=len, reverse=True))})(?![^\W\d_])"
_PART = re.compile(rf"[\s-]+{_NAMED}", re.IGNORECASE)
_ONE_PART = re.compile(rf"(?:(?:a|an)\s+{_NAMED}|half(?![^\W\d_]))", re.IGNORECASE)
_AND_PART = re.compile(rf"\s+and\s+(a|{'|'.join(_ONES)}|\d)[\s-]+{_NAMED}", re.IGNORECASE)
_POINT = re.compile(rf"\s+point((?:\s+(?:{'|'.join([*_ONES][:10])})\b)+)", re.IGNORECASE)
_ORDINARY = re.compile(r"[-+]?\d+(?:\.\d+)?$")


def number(text: str) -> Fraction | None:
    r"""The exact value of a number, or None where the text is none, or longer than is useful.

    Example:
        >>> number("1,234.5"), number(r"-3\frac12"), number("1 1/2"), number("1,2")
        (Fraction(2469, 2), Fraction(-7, 2), Fraction(3, 2), None)
        >>> number("2.5 million"), number("two and a half"), number("one hundred and five")
        (Fraction(2500000, 1), Fraction(5, 2), Fraction(105, 1))
    """
    found = leading(text)
    return found[0] if found and found[1] == len(text) else None


def leading(text: str) -> tuple[Fraction, int] | None:
    """The number with which a text begins, as long as it can be read, and where it ends.

    Example:
        >>> leading("5 dozen eggs"), leading("half a mile"), leading("eggs")
        ((Fraction(60, 1), 7), (Fraction(1, 2), 4), None)
    """
    if len(text) > _MOST_DIGITS:
        return None
    if _ORDINARY.match(text):
        return Fraction(text), len(text)
    sign = re.match(r"\s*(?:[-+]\s*|(?:minus|negative)\s+)?", text, re.IGNORECASE)
    start = sign.end() if sign else 0
    found = _in_digits(text, start)
    said = _in_words(text, start)
    if said and (found is None or said[1] > found[1]):
        found = said
    if found is None:
        return None
    value, end = found
    negative = sign is not None and sign[0].strip()[:1].casefold() in ("-", "m", "n")
    return (-value if negative else value), end


def _in_digits(text: str, start: int) -> tuple[Fraction, int] | None:
    longest = None
    for pattern in _WRITTEN:
        found = pattern.match(text, start)
        if found and (longest is None or found.end() > longest.end()):
            longest = found
    if longest is None:
        return None
    try:
        value = _value(longest.groupdict())
    except (ZeroDivisionError, ValueError):
        return None
    return None if value is None else (value, longest.end())


def _value(found: dict[str, str | None]) -> Fraction | None:
    if again := found.get("again"):
        period = found.get("once") or found.get("few") or again
        rest = found.get("rest") or ""
        if not period.startswith(rest):
            return None  # 0.3334...
        part = found["part"] or ""
        value = Fraction(int((found["units"] or "0") + part), 10 ** len(part))
        return value + Fraction(int(period), 10 ** len(part) * (10 ** len(period) - 1))
    if european := found.get("european"):
        return _decimal(f"{european.replace('.', '')}.{found.get('part') or '0'}")
    if top := found.get("top"):
        return _decimal(top) / _decimal(found["bottom"] or "")
    whole = int(found.get("whole") or 0)
    if over := found.get("over"):
        return whole + Fraction(int(over), int(found["under"] or ""))
    if top := found.get("f") or found.get("g"):
        bottom = found.get("h") or found.get("i") or ""
        if found.get("whole") and not (top.isdigit() and bottom.isdigit()):
            return None  # a product
        return whole + _decimal(top) / _decimal(bottom)
    power = found.get("exponent") or found.get("a") or found.get("b") or found.get("c")
    return _decimal(found.get("number") or "1") * _ten(power)


def _ten(exponent: str | None) -> Fraction:
    if abs(power := int(exponent or 0)) > _MOST_DIGITS:
        raise ValueError("too long to be written down")
    return Fraction(10) ** power


def _decimal(text: str) -> Fraction:
    return Fraction(re.sub("[, '_]", "", text).rstrip("."))


def _in_words(text: str, start: int) -> tuple[Fraction, int] | None:
    """Words, or digits with words that scale or part them: two hundred and five, 2.5 million."""
    whole = _whole(text, start)
    if whole is None:
        part = _ONE_PART.match(text, start)
        return None if part is None else _scaled(text, Fraction(1, _part(part)), part.end())
    value, end = whole
    if point := _POINT.match(text, end):
        digits = "".join(str(_ONES[word]) for word in point[1].casefold().split())
        return value + Fraction(f"0.{digits}"), point.end()
    if more := _AND_PART.match(text, end):
        word = more[1].casefold()
        many = 1 if word[0] == "a" else _ONES.get(word, 0) or int(word)
        return _scaled(text, value + Fraction(many, _part(more)), more.end())
    if (part := _PART.match(text, end)) and (value == 1 or part["part"][-1].casefold() == "s"):
        return _scaled(text, value / _part(part), part.end())
    return value, end


def _part(found: re.Match[str]) -> int:
    return _PARTS[(found["part"] or "half").casefold()]


def _scaled(text: str, value: Fraction, end: int) -> tuple[Fraction, int]:
    """With a scale after it: one and a half million."""
    found = _TOKEN.match(text, end)
    scale = _SCALES.get(found[1].casefold()) if found else None
    return (value * scale, found.end()) if found and scale else (value, end)


def _whole(text: str, start: int) -> tuple[Fraction, int] | None:
    """What words and digits add up to before any fraction of it."""
    total, group = Fraction(0), None  # what has its scale, and what the next scale is of
    least: float = float("inf")  # the last scale: what comes after it is smaller
    before, end = "", -1
    while True:
        at = end if before else start
        joined = _AND.match(text, at) if before in ("hundred", "scale") else None
        kind, value, position = _read(text, joined.end() if joined else at)
        if joined and kind not in _FIRST:
            break
        if kind in _AFTER:
            if before not in _AFTER[kind] or (kind == "digits" and value >= least):
                break
            if before == "ten" and not 0 < value < 10:
                break
            group = (group or 0) + value
        elif kind == "hundred" and before != "scale":
            group = (1 if group is None else group) * value
        elif kind in ("hundred", "scale") or (kind == "short" and before == "digits"):
            kind = "scale"
            if value < least and not (before == "scale" and group is None):
                total, least = total + (1 if group is None else group) * value, float(value)
            else:  # five hundred thousand million
                total, least = (total + (group or 0)) * value, float(value)
            group = None
        else:
            break
        before, end = kind, position
    return (total + (group or 0), end) if before else None


def _read(text: str, at: int) -> tuple[str, Fraction, int]:
    """The kind of the next token, what it is worth, and where it ends; "" for none of a number."""
    blanks = re.compile(r"\s*").match(text, at)
    if digits := _in_digits(text, blanks.end() if blanks else at):
        return "digits", *digits
    if token := _TOKEN.match(text, at):
        word = token[1].casefold()
        for kind, values in _KINDS:
            if word in values:
                hundred = kind == "scale" and values[word] == 100
                return "hundred" if hundred else kind, Fraction(values[word]), token.end()
    return "", Fraction(0), at


_FIRST = ("digits", "one", "ten")
_AFTER = {
    "digits": ("", "scale"),
    "one": ("", "ten", "hundred", "scale"),
    "ten": ("", "hundred", "scale"),
}
_KINDS = (("one", _ONES), ("ten", _TENS), ("scale", _SCALES), ("short", _SHORT))
