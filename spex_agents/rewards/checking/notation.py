r"""Sums as people and models write them, in one notation: that of Python."""

from __future__ import annotations

import re
from math import isqrt

_SIGNS = str.maketrans(
    dict(zip("−–×·⋅∙÷∕", "--****//", strict=True)) | {"$": None, "²": "^2", "³": "^3"}  # noqa: RUF001
)
_WORDS = (
    ("\\times", "*"), ("\\cdot", "*"), ("\\div", "/"), ("\\approx", "≈"), ("\\left", ""),
    ("\\right", ""), ("\\,", " "), ("\\!", ""), ("\\ ", " "), ("{,}", ","),
    ("\\(", " "), ("\\)", " "), ("\\[", " "), ("\\]", " "), ("\\$", ""),
)  # fmt: skip
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]{1,80})\}\{([^{}]{1,80})\}")
_SHORT_FRACTION = re.compile(r"\\[dt]?frac\s*(\d)\s*(\d)")
_LABEL = re.compile(r"(?:[A-Z]\w{2,}|\bNo\.?)\s+$")  # Step 1: 3 + 4 = 7
_NO_LABEL = ("Then", "Thus", "Now", "Hence", "Next", "And")


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
    text = re.sub(r"(?<![\d.,])(\d{1,3}(?:\.\d{3})+)(?=,\d{1,2}(?![\d,]))", _without_dots, text)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))(?<!(?<![\d.])0,)", "", text)
    text = re.sub(r"(?<![\d.,])(\d+),(\d+)(?![\d]|[.,]\d)", r"\1.\2", text)
    text = re.sub(r"(?<=\d)[ \t]*(?:\\b?mod|mod)[ \t]*(?=\d)", " @ ", text)
    text = re.sub(r"(?<![\d.])0+(?=\d)", "", text)
    text = re.sub(r"(?<=[\d)])[ \t]*[xX][ \t]*(?=[\d(])", "*", text)
    text = re.sub(r"(?:√|\\sqrt)[ \t]*(?:(\d{1,30})|[({](\d{1,30})[)}])(?![\d.,/^])", _root, text)
    text = re.sub(r"(?<![\w^.\\])(\d{1,7})\^(?:\{(\d{1,2})\}|(\d{1,2}))(?![\w^.])", _power, text)
    text = re.sub(r"(?<![\w./*])(\d+)[ \t](\d+)/(\d+)(?![\w./])", _mixed, text)
    text = re.sub(r"(\d+)([ \t]*):\2(?=\d)", _ratio, text)
    text = re.sub(r"(?<=[\d)])\((?=[-\d(.])", "*(", text)  # 3(4)
    return re.sub("={2,}", "=", text)


def _without_dots(found: re.Match[str]) -> str:
    return found[0].replace(".", "")


def _root(found: re.Match[str]) -> str:
    """A whole root as a number."""
    root = isqrt(number := int(found[1] or found[2]))
    return str(root) if root * root == number else found[0]


def _power(found: re.Match[str]) -> str:
    base, power = int(found[1]), int(found[2] or found[3])
    return str(base**power) if base <= 10**6 and power <= 30 else found[0]


def _mixed(found: re.Match[str]) -> str:
    whole, top, bottom = found.groups()
    return f"({whole} + {top}/{bottom})" if int(top) < int(bottom) else found[0]


def _ratio(found: re.Match[str]) -> str:
    """A division with a colon, which is no label and no time."""
    label = _LABEL.search(found.string[: found.start()])
    if label and not label[0].startswith(_NO_LABEL):
        return found[0]
    return f"{found[1]}{found[2]}/{found[2]}"
