r"""Markers that are closed: ``\boxed{}``, ``<answer></answer>``, ``[ANSWER][/ANSWER]``, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

ANSWER_KEYS = frozenset(
    """answer final_answer finalanswer final-answer correct_answer ans final_result answer_letter
    answer_choice answer_option correct_option correct_choice numeric_answer numerical_answer
    short_answer""".split()
) | {"final answer", "correct answer"}

_LONGEST = 4000  # characters of one answer
_MOST = 400  # keys that are read, the last ones
_BOX = re.compile(
    r"(?:\\(?:boxed|fbox|framebox)|\x08oxed|(?<![\\A-Za-z])boxed(?=\{))"
    r"\s*(?=\{|\\|[-+.]?\d|[A-Za-z]\b)"
)
_SIGN = re.compile(r"\$?[ \t]?(\\?%|\^\{?\\circ\}?|°)")
_BRACE = re.compile(r"\\[\\{}]|[{}]")
_COMMAND = re.compile(r"\\[A-Za-z]+(?:\s*\{[^{}]*\}|\d){0,2}")
_TOKEN = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?|[A-Za-z]\b")
_TAG = re.compile(
    r"[<\[](?P<close>/?)\s*(?P<name>final[_ -]?answer|answer|ans)\s*[>\]]", re.IGNORECASE
)
_KEY = re.compile(r"""[{,]\s*(?P<quote>["'])(?P<key>[^"'\\\n]{1,40})(?P=quote)\s*:\s*""")
_JSON_TAIL = re.compile(r"\s*[,}\]]")
_SINGLE = re.compile(r"'((?:[^'\\\n]|\\.){0,2000})'")
_PLACEHOLDER = re.compile(
    r"(?:\\text\w*\s*\{|\\boxed\{?)*(?:[\s.…?_]|\\l?dots|\\cdots|\\ldots"
    r"|(?:your |the |final )*(?:answer|result|number|letter)(?: here)?|\\?quad"
    r"|n/a|null|unknown|tbd|todo|pending|(?:to be|not(?: yet)?|un) ?(?:determined|decided|"
    r"available|applicable|known|found)|(?:i|we) (?:do not|don['’]t|can(?:no|['’])t) (?:know|tell"
    r"|say|answer)[\w ]*|i['’]m not sure|unsure|(?:i am )?not sure|no answer|none given"
    r"|(?:insert|enter|put|write)[ \w]*(?:answer|number|value|result)[ \w]*|未知|不知道"
    r"|inconnue?|desconocid[ao]"
    r"|unbekannt)*\}*$",
    re.IGNORECASE,
)


class Found(NamedTuple):
    """An answer and where it begins in the text."""

    start: int
    answer: str


def boxes(text: str, *, cut: bool = False) -> Iterator[Found]:
    r"""What is in boxes that are closed and not empty, with a percent or degree sign after them.

    Where the text was cut off, ``\boxed 1`` at its end is open: 12 may have been meant.
    """
    opened = {match.end(): match.start() for match in _BOX.finditer(text)}
    if not opened:
        return
    ends: dict[int, int] = {}
    stack: list[int] = []
    for brace in _BRACE.finditer(text):
        if brace[0] == "{":
            stack.append(brace.start())
        elif brace[0] == "}" and stack:
            ends[stack.pop()] = brace.start()
    for start in opened:
        if text[start] != "{":
            command = text[start] == "\\"
            token = (_COMMAND if command else _TOKEN).match(text, start)
            if token is None or (command and _BOX.match(text, start)):
                continue
            if not (cut and token.end() == len(text) and not token[0].endswith("}")):
                yield Found(start, token[0])
        elif (end := ends.get(start)) is not None and end - start <= _LONGEST:
            inside = text[start + 1 : end].strip()
            sign = _SIGN.match(text, end + 1)
            if not placeholder(inside):
                yield Found(start, inside + (sign[1] if sign else ""))


def placeholder(answer: str) -> bool:
    """Whether it only stands for an answer: nothing, dots, a question mark, "your answer"."""
    return _PLACEHOLDER.match(answer.strip(" \t\n$*<>[](){}:")) is not None


def tags(text: str) -> Iterator[Found]:
    """What is between an answer tag and the next closing one."""
    opened: re.Match[str] | None = None
    for tag in _TAG.finditer(text):
        if not tag["close"]:
            opened = tag
        elif opened is not None:
            inside = text[opened.end() : tag.start()]
            if inside.strip() and len(inside) <= _LONGEST and not placeholder(inside):
                start = tag.start() - len(inside.lstrip())
                yield Found(start, inside.strip())
            opened = None


def keys(text: str, wanted: Collection[str] = ANSWER_KEYS) -> Iterator[Found]:
    """The values of these keys of JSON objects, also where the text around them is none."""
    decoder = json.JSONDecoder()
    found = [key for key in _KEY.finditer(text) if key["key"].casefold() in wanted]
    for key in found[-_MOST:]:
        rest = text[key.end() : key.end() + _LONGEST]
        if rest.startswith("'"):
            if (single := _SINGLE.match(rest)) is None:
                continue
            value, end = single[1], single.end()
        else:
            try:
                parsed, end = decoder.raw_decode(rest)
            except (ValueError, RecursionError):
                continue
            # A number as it was written: 1.10 is not 1.1 to whoever reads it.
            value = parsed if isinstance(parsed, str) else rest[:end]
            if parsed is None or isinstance(parsed, dict):
                continue
        value = value.strip()
        if _JSON_TAIL.match(rest, end) and value and not placeholder(value):
            yield Found(key.end(), value)


def whole_object(text: str) -> bool:
    """Whether a text is one JSON object, alone or in a fenced block: no prose is to be read."""
    bare = text.strip()
    if bare.startswith("```") and bare.endswith("```"):
        bare = bare[3:-3].partition("\n")[2].strip()
    if not (bare.startswith("{") and bare.endswith("}")):
        return False
    try:
        return isinstance(json.loads(bare), dict)
    except (ValueError, RecursionError):
        return False
