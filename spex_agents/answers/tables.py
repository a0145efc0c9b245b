"""Answers in tables of Markdown: ``| Answer | 42 |``, or one row below a head "Answer"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from spex_agents.answers.markers import Found, placeholder

_NAMES = (
    "answer|ans|antwort|réponse|respuesta|resposta|risposta|ответ|答案|答え|正解|정답|답|उत्तर"
    "|الجواب|الإجابة"
)
_LABEL = re.compile(
    rf"[*_`\s]*(?:the\s+)?(?:(?:final|correct)\s+|最终)?(?:{_NAMES})(?:\s+(?:final[ea]?|\([^)]*\)))?[*_`:：\s]*$",
    re.IGNORECASE,
)
_LABELLED = re.compile(_NAMES, re.IGNORECASE)
_ROW = re.compile(r"^[ \t]*\|(?P<cells>[^\n]*)\|[ \t]*$", re.MULTILINE)
_CELL = re.compile(r"(?:\\.|\$[^$\n]{1,200}\$|[^|\\])*")
_RULE = re.compile(r"[\s:|-]*-[\s:|-]*$")
_MOST = 400  # rows that are read, the last ones


def cells(text: str) -> Iterator[Found]:
    """What tables say in closed cells that the answer is."""
    if "|" not in text:
        return
    rows = list(_ROW.finditer(text))[-_MOST:]
    for number, row in enumerate(rows):
        if not _LABELLED.search(row["cells"]):
            continue
        found = _split(row)
        labels = [column for column, cell in enumerate(found) if _LABEL.match(cell.answer)]
        if not labels:
            continue
        column = labels[0]
        if number + 1 < len(rows) and _RULE.match(rows[number + 1]["cells"]):  # the head of a table
            below = _below(text, rows, number + 1)
            if len(below) == 1 and column < len(only := _split(below[0])):
                yield from _value(only[column])
        elif len(found) == column + 2:
            yield from _value(found[column + 1])


def _value(cell: Found) -> Iterator[Found]:
    bare = cell.answer.strip().strip("*_`").strip()
    if bare and not placeholder(bare):
        yield Found(cell.start, bare)


def _split(row: re.Match[str]) -> list[Found]:
    return [
        Found(row.start("cells") + cell.start(), cell[0])
        for cell in _CELL.finditer(row["cells"])
        if cell.start() == 0 or row["cells"][cell.start() - 1] == "|"
    ]


def _below(text: str, rows: list[re.Match[str]], number: int) -> list[re.Match[str]]:
    """The next two rows, as far as they follow a table's rule."""
    found: list[re.Match[str]] = []
    for above, below in pairwise(rows[number : number + 3]):
        if text[above.end() : below.start()] != "\n":
            break
        found.append(below)
    return found
