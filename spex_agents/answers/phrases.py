"""Words that stand for mathematics: five squared, at least 5, no solution, all real numbers."""

from __future__ import annotations

import re

from spex_agents.answers.numbers import leading

_OPERATORS = {
    "plus": "+", "minus": "-", "times": r"\times", "multiplied by": r"\times", "divided by": "/",
    "over": "/", "equals": "=", "is equal to": "=", "equal to": "=", "squared": "^{2}",
    "cubed": "^{3}", "factorial": "!", "to the power of": "^", "raised to the power of": "^",
    "to the power": "^", "raised to": "^", "square root of": r"\sqrt", "cube root of": r"\sqrt[3]",
    "the square root of": r"\sqrt", "the cube root of": r"\sqrt[3]", "root": r"\sqrt",
}  # fmt: skip
_OPERATOR = re.compile(
    rf"\s*(?<!\\)\b({'|'.join(sorted(_OPERATORS, key=len, reverse=True))})\b\s*", re.IGNORECASE
)
_OPERAND = re.compile(r"\s*(?:[A-Za-z](?![A-Za-z])|[-+*/^=!(){}]|\\[a-zA-Z]+)\s*")

_BOUNDS = {
    ">=": "at least|no less than|not less than|no fewer than|a minimum of|minimum of|greater than "
    r"or equal to|more than or equal to|\\ge",
    "<=": "at most|no more than|not more than|no greater than|up to|a maximum of|maximum of|less "
    r"than or equal to|fewer than or equal to|\\le",
    ">": "more than|greater than|larger than|bigger than|higher than|over|above|exceeds|>",
    "<": "less than|fewer than|smaller than|lower than|under|below|<",
}
_AFTER = {
    ">=": r"or more|or greater|or larger|or above|or higher|or over|or older|or longer|and above|"
    "and up|and over|or better|minimum|at least",
    "<=": "or less|or fewer|or smaller|or below|or lower|or under|or younger|or shorter|and below|"
    "and under|maximum|at most",
}
_BEFORE = [
    (sign, re.compile(rf"(?:{words})(?![A-Za-z])\s*(\S.*)$", re.IGNORECASE))
    for sign, words in _BOUNDS.items()
]
_BEHIND = [
    (sign, re.compile(rf"(.*?\S)\s+(?:{words})(?:\s+([^\W\d_]{{2,}}))?$", re.IGNORECASE))
    for sign, words in _AFTER.items()
] + [(">=", re.compile(r"(.*\d)\+(?:\s*([^\W\d_]{2,}))?$"))]
_HEDGE = re.compile(
    r"(?:about|approximately|approx\.?|around|roughly|exactly|precisely|circa|c\.|ca\.|only|just|"
    r"a\s+total\s+of|equal\s+to|\\approx|=)\s*(?=\S)",
    re.IGNORECASE,
)
_HEDGED = re.compile(r"\s*(?:approximately|approx\.?|exactly|roughly|or\s+so|only)$", re.IGNORECASE)
_ASIDE = re.compile(r"(.*\S)\s*\(([^()]{1,60})\)$")
_ROUNDED = frozenset(
    """approximately approx about roughly exact exactly estimate estimated est rounded correct
    accurate nearest decimal decimals dp sf significant sig total""".split()
)
_ROUNDED_TO = frozenset("to the up down off in place places figure figures fig figs digits".split())
"""Words of which a remark may be, how a number is rounded, and those that go with them."""


_SETS = (
    (
        r"(?:there\s+(?:is|are|exists?)\s+)?no\s+(?:(?:possible|valid|such|values?\s+of)\s+)*"
        r"((?:(?:real|integer|rational|positive|negative|complex)\s+)*)(?:solutions?|roots?|[a-z]|"
        r"values?(?:\s+of\s+[a-z])?|solution\s+set)(?:\s+exists?)?|(?:the\s+)?(?:empty|null)\s+set"
        r"|\\emptyset|\{\s*\}|\\\{\s*\\\}",
        "{}",
    ),
    (
        r"(?:the\s+set\s+of\s+)?(?:all|any|every)\s+(?:real\s+numbers?|reals?)(?:\s+[a-z])?"
        r"|(?:the\s+)?(?:real\s+numbers|reals)|\\R|(?:all\s+)?[a-z]\s*\\in\s*\\R",
        "(-oo, oo)",
    ),
    (
        r"(?:there\s+are\s+)?infinite(?:ly)?(?:\s+many)?(?:\s+number\s+of)?\s+solutions?",
        "infinitely many",
    ),
    (r"(?:the\s+limit\s+|it\s+)?(?:dne|d\.n\.e|does\s+not\s+exist|doesn't\s+exist)", "dne"),
    (r"n\.?/a|not\s+applicable", "not applicable"),
    (r"(?:it\s+)?(?:is\s+)?(?:undefined|not\s+defined)", "undefined"),
    (r"(?:\+\s*)?(?:\\infty|infinity|oo|inf)", "oo"),
    (r"(?:-\s*|negative\s+|minus\s+)(?:\\infty|infinity|oo|inf)", "-oo"),
    (r"(?:an?\s+)?infinitely\s+many|infinite", "infinitely many"),
)
_REALS = _SETS[1][0]
_WITHOUT = re.compile(
    rf"(?:{_REALS})\s*(?:\\setminus|\\backslash|except(?:\s+for)?|but|other\s+than|-)\s*(\S.*)$",
    re.IGNORECASE,
)
_MEANT = tuple((re.compile(rf"(?:{words})$", re.IGNORECASE), value) for words, value in _SETS)


def meant(text: str) -> tuple[str, str] | None:
    """What a phrase comes to, and what others of its kind may leave unsaid.

    Example:
        >>> meant("no real solutions"), meant("no solution"), meant("no idea")
        (('{}', 'real'), ('{}', ''), None)
    """
    for pattern, value in _MEANT:
        if found := pattern.match(text):
            kind = (found[1] or "") if pattern.groups else ""
            return value, " ".join(kind.casefold().split())
    return None


def excepted(text: str) -> str | None:
    """What is said to be left out of all real numbers.

    Example:
        >>> excepted("all real numbers except 3"), excepted("all real numbers")
        ('3', None)
    """
    found = _WITHOUT.match(text)
    return found[1] if found else None


def bounded(text: str) -> tuple[str, str] | None:
    """The sign of order that words stand for, and what they are about.

    Example:
        >>> bounded("at least 5 cm"), bounded("5 or more"), bounded("over the top")
        (('>=', '5 cm'), ('>=', '5'), None)
    """
    for sign, pattern in _BEFORE:
        if (found := pattern.match(text)) and leading(found[1]):
            return sign, found[1]
    for sign, pattern in _BEHIND:
        if (found := pattern.match(text)) and leading(found[1]):
            return sign, f"{found[1]} {found[2] or ''}".strip()
    return None


def unhedged(text: str) -> str | None:
    """What is said to be about or exactly so much; None where nothing is.

    Example:
        >>> unhedged("approximately 5 cm"), unhedged("5 cm"), unhedged("about a boy")
        ('5 cm', None, None)
    """
    bare = _HEDGED.sub("", _HEDGE.sub("", text, count=1) if _HEDGE.match(text) else text)
    if (aside := _ASIDE.match(bare)) and _rounds(aside[2]):
        bare = aside[1]
    return bare if bare != text and leading(bare.lstrip("$€£ ")) else None


def _rounds(remark: str) -> bool:
    """Whether a remark only tells how a number is rounded: approx., to 2 decimal places."""
    words = remark.casefold().replace(".", "").split("nearest ")[0].split()
    known = [word in _ROUNDED for word in words]
    told = any(known) or "nearest" in remark.casefold()
    return told and all(
        one or word in _ROUNDED_TO or leading(word) is not None
        for word, one in zip(words, known, strict=True)
    )


def spelled(text: str) -> str | None:
    r"""A formula out of one that is told in words; None where there are other words in it.

    Example:
        >>> spelled("5 squared"), spelled("square root of 2"), spelled("plus size")
        ('{5} ^{2}', '\\sqrt {2}', None)
    """
    if _OPERATOR.search(text) is None:
        return None
    parts: list[str] = []
    position = 0
    while position < len(text):
        if found := _OPERATOR.match(text, position):
            parts.append(_OPERATORS[" ".join(found[1].casefold().split())])
            position = found.end()
        elif found := _OPERAND.match(text, position):
            parts.append(found[0].strip())
            position = found.end()
        elif (one := leading(text[position:].lstrip())) is not None:
            blanks = len(text[position:]) - len(text[position:].lstrip())
            parts.append(f"{{{one[0]}}}")
            position += blanks + one[1]
        else:
            return None
    return " ".join(parts)
