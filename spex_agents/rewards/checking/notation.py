r"""Sums as people and models write them, in one notation: that of Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import factorial, isqrt

from spex_agents.answers.code import in_markdown
from spex_agents.answers.numbers import number

_SIGNS = str.maketrans(
    {chr(wide): chr(wide - 0xFEE0) for wide in range(0xFF01, 0xFF5F)}
    | dict(zip("−–×·⋅∙÷∕", "--****//", strict=True))  # noqa: RUF001
    | {"$": None, "²": "^2", "³": "^3"}
)
_WORDS = (
    ("\\times", "*"), ("\\cdot", "*"), ("\\div", "/"), ("\\approx", "≈"), ("\\left", ""),
    ("\\right", ""), ("\\,", " "), ("\\!", ""), ("\\ ", " "), ("{,}", ","),
    ("\\(", " "), ("\\)", " "), ("\\[", " "), ("\\]", " "), ("\\$", ""),
    ("&=", "="), (":=", "="), ("\\%", "%"),
)  # fmt: skip
_EMPHASIS = re.compile(  # not 2**3, nor 3 *4* 5
    r"(?<![\w)*])(?:(?P<mark>\*{2,3}|_{1,3})|(?<![\d)] )(?P<star>\*))(?=[^\s*_])([^\n]{0,300}?)"
    r"(?<=[^\s*_])(?(star)\*|(?P=mark))(?![\w(*])"
)
_OPENING = re.compile(r"(?P<before>(?:^|[:;,=≈|>])[ \t]*)\*+(?!\*)", re.MULTILINE)
_BULLET = re.compile(
    r"^[ \t]*(?:[-*•]|\(?\d+[.)]|\([a-z]\))[ \t]+|(?<=[,;.] )\(\d{1,2}\)[ \t]+(?=[-\d])",
    re.MULTILINE,
)
_WRAPPED = re.compile(
    r"\\(?:boxed|fbox|mathbf|textbf|mathit|textit|boldsymbol|bm|emph|underline)\s*"
    r"\{((?:[^{}]|\{[^{}]*\})*)\}"
)
_GROUPED = re.compile(
    r"(?<![\w.,'\u2019])\d{1,3}(?:[ '\u2019\u00a0\u2009\u202f]\d{3})+(?![\d'\u2019])"
)
_SLASH = re.compile(r"(=[ \t]*-?\d+(?:\.\d+)?)[ \t]+/[ \t]+(?=[^=\n]*=)")
_PERCENT = re.compile(
    r"(?<![\w.])(\d+(?:\.\d+)?)[ \t]?%(?=[ \t]*\*[ \t]*[\d(]|[ \t]+of[ \t]+(?:the[ \t]+)?[€£]?\d"
    r"|[ \t]*=[ \t]*(?:\d+/\d+|0?\.\d+)[ \t]*(?:[,;=]|\.?$))",
    re.MULTILINE,
)
_SHARE = re.compile(
    r"((?<![\w./^])\d+/\d+|\(\(\d+\)/\(\d+\)\))[ \t]+of[ \t]+(?:the[ \t]+)?(?=[€£]?\d|\()"
)
_SAID = re.compile(
    r"(?<==)([ \t]*)([A-Za-z][A-Za-z -]{2,40}?)(?=[ \t]*(?:[.,;!=]|$))", re.MULTILINE
)
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]{1,80})\}\{([^{}]{1,80})\}")
_SHORT_FRACTION = re.compile(r"\\[dt]?frac\s*(\d)\s*(\d)")
_LABEL = re.compile(r"(?:[A-Z]\w{2,}|\bNo\.?)\s+$")  # Step 1: 3 + 4 = 7
_TIME = re.compile(r"(?:[01]?\d|2[0-4]):[0-5]\d")
_NO_LABEL = ("Ratio", "Then", "Thus", "Now", "Hence", "Next", "And")


def readings(text: str) -> Iterator[str]:
    """What a text may be meant as, the likeliest first: without bullets and marks of Markdown.

    ``1 000`` is one number, or a label and a number; a slash divides, or stands between two sums.

    Example:
        >>> list(readings("- **Step 1 100 + 20 = 120**"))
        ['Step 1100 + 20 = 120', 'Step 1 100 + 20 = 120']
    """
    text = in_markdown(text).replace("`", "")
    for _ in range(3):  # bold in italics
        text = _EMPHASIS.sub(r"\3", text)
    text = _BULLET.sub("", _OPENING.sub(r"\g<before>", text))
    joined, apart = (_GROUPED.sub(group, text) for group in (_without_groups, _with_groups))
    yield from dict.fromkeys((joined, _SLASH.sub(r"\1 ; ", joined), apart))


def as_arithmetic(text: str) -> str:
    r"""A text whose sums are in one notation: that of Python, with @ for the remainder.

    Example:
        >>> as_arithmetic(r"$\frac{8}{2} \times 1{,}000 ÷ 5 == 800$"), as_arithmetic("7 mod 3")
        ('((8)/(2)) * 1000 / 5 = 800', '7 @ 3')
        >>> as_arithmetic("2,50 + 1 1/2 = √16 = 8 : 2 = 2^2")
        '2.50 + (1 + 1/2) = 4 = 8 / 2 = 4'
    """
    for word, sign in _WORDS:
        text = text.replace(word, sign)
    text = text.translate(_SIGNS)
    text = _SHORT_FRACTION.sub(r"((\1)/(\2))", text)
    for _ in range(8):  # as deep as anybody nests them
        if (plainer := _FRACTION.sub(r"((\1)/(\2))", text)) == text:
            break
        text = plainer
    for _ in range(3):
        text = _WRAPPED.sub(r" \1 ", text)
    text = re.sub(r"[ \t]{0,9}(?:\\\\)?[ \t]{0,9}\n[ \t]{0,20}(?==)", " ", text)
    text = re.sub(r"(?<![\d.,])(\d{1,3}(?:\.\d{3})+)(?=,\d{1,2}(?![\d,]))", _without_dots, text)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))(?<!(?<![\d.])0,)", "", text)
    text = re.sub(r"(?<![\d.,])(\d+),(\d+)(?![\d]|[.,]\d)", r"\1.\2", text)
    text = re.sub(r"(?<=\d)[ \t]*(?:\\b?mod|mod)[ \t]*(?=\d)", " @ ", text)
    text = re.sub(r"(?<![\d.])0+(?=\d)", "", text)
    text = re.sub(r"(?<=[\d)])[ \t]*[xX][ \t]*(?=[\d(])", "*", text)
    text = re.sub(r"(?<=\d)[ \t]*\*\*[ \t]*(?=\d{1,2}(?!\d))", "^", text)
    text = re.sub(
        r"(?:√|(?<![A-Za-z])\\?sqrt)[ \t]*(?:(\d{1,30})|[({](\d{1,30})[)}])(?![\d.,/^])",
        _root,
        text,
    )
    text = re.sub(r"(?<![\w^.\\])(\d{1,7})\^(?:\{(\d{1,2})\}|(\d{1,2}))(?![\w^.])", _power, text)
    text = re.sub(r"(?<![\w./*])(\d+)[ \t](\d+)/(\d+)(?![\w./])", _mixed, text)
    text = re.sub(r"(\d+)([ \t]*):\2(?=\d)", _ratio, text)
    text = re.sub(r"(?<![\w.^])(\d{1,2})!(?=[-+*/)]|[ \t]+[-+*/=])", _factorial, text)
    text = _PERCENT.sub(r"(\1/100)", text)
    text = re.sub(r"(?<=/100\))[ \t]+of[ \t]+(?:the[ \t]+)?", " * ", text)
    text = _SHARE.sub(r"(\1) * ", text)
    text = _SAID.sub(_in_digits, text)
    text = re.sub(r"(?<=[\d)])\((?=[-\d(.])", "*(", text)  # 3(4)
    return re.sub("={2,}", "=", text)


def _without_groups(found: re.Match[str]) -> str:
    return re.sub(r"\D", "", found[0])


def _with_groups(found: re.Match[str]) -> str:
    """Apart what blanks only part, unless a part begins with 0, as no number does."""
    apart = re.fullmatch(r"\d+(?: [1-9]\d\d)+", found[0])
    return found[0] if apart else _without_groups(found)


def _without_dots(found: re.Match[str]) -> str:
    return found[0].replace(".", "")


def _root(found: re.Match[str]) -> str:
    """A whole root as a number."""
    root = isqrt(number := int(found[1] or found[2]))
    return str(root) if root * root == number else found[0]


def _power(found: re.Match[str]) -> str:
    base, power = int(found[1]), int(found[2] or found[3])
    return str(base**power) if base <= 10**6 and power <= 30 else found[0]


def _factorial(found: re.Match[str]) -> str:
    return str(factorial(int(found[1])))


def _in_digits(found: re.Match[str]) -> str:
    """A number word for which a sum is said to be."""
    value = number(found[2])
    return found[0] if value is None or value.denominator > 1 else f"{found[1]}{value}"


def _mixed(found: re.Match[str]) -> str:
    whole, top, bottom = found.groups()
    return f"({whole} + {top}/{bottom})" if int(top) < int(bottom) else found[0]


def _ratio(found: re.Match[str]) -> str:
    """A division with a colon, which is no label and no time of day."""
    label = _LABEL.search(found.string[max(found.start() - 40, 0) : found.start()])
    if label and not label[0].startswith(_NO_LABEL):
        return f"{found[1]}: "
    if not found[2] and _TIME.match(found.string, found.start()):
        return found[0]
    return f"{found[1]}{found[2]}/{found[2]}"
