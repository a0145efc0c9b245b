"""Where the answer stands in a text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

Extract: TypeAlias = Callable[[str], str | None]
"""Finds the answer in a path's text, or None. A thought in which it finds one ends its path."""

_PLAIN = re.compile(
    r"^[ \t*]*(?:####|(?:the\s+)?(?:final\s+)?answer(?:\s+is\b|\s*[:=]))[:=]?\s*([^\n]+)",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE = re.compile(r"\banswer\s+is\s*:?\s*([^\n]+)", re.IGNORECASE)


def extract_answer(text: str) -> str | None:
    r"""Return the last ``\boxed{}``, else what follows ``####``, ``Answer:`` or ``answer is``.

    Example:
        >>> extract_answer(r"2 + 2 = 4, so \boxed{4}")
        '4'
    """
    if (start := text.rfind("\\boxed{")) >= 0:
        return _braced(text, start + len("\\boxed{"))
    found = _PLAIN.findall(text) or _SENTENCE.findall(text)
    answer = found[-1].strip().rstrip(".").strip("*$ ") if found else ""
    return answer or None


def _braced(text: str, start: int) -> str | None:
    depth = 1
    for end in range(start, len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[start:end].strip() or None
    return None
