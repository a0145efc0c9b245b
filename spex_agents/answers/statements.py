"""Answers announced in words, in any language."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

from spex_agents.answers.doubts import retracted
from spex_agents.answers.english import MARKERS, STEMS
from spex_agents.answers.foreign import announced, confirmed, read_announced, read_chosen
from spex_agents.answers.languages import LANGUAGES
from spex_agents.answers.markers import Found, placeholder
from spex_agents.answers.sentences import FAR
from spex_agents.answers.values import Value, span

Read: TypeAlias = Callable[[str, re.Match[str]], Value | None]

_PIECE = 1500  # characters of a line that are looked at together
_MOST = 400  # markers that are tried: a text with so many that say nothing has no answer


def statements(text: str) -> Iterator[Found]:
    """What a text states its answer to be, the last statement first."""
    tried = 0
    for start, end in _pieces_backwards(text):
        marks = sorted(_marks(text, start, end), key=lambda mark: -mark[0].end())
        for match, read in marks:
            value = read(text, match)
            if value is None or placeholder(value.text):
                continue
            if not retracted(text, span(text, value)[1]):
                yield Found(value.start, value.text)
        if (tried := tried + len(marks)) > _MOST:
            return


def _marks(text: str, start: int, end: int) -> Iterator[tuple[re.Match[str], Read]]:
    """Where an answer seems to be announced, and who reads it."""
    words = text[start:end].casefold()
    if any(stem in words for stem in STEMS):
        for pattern, read in MARKERS:
            for match in pattern.finditer(text, start, end):
                yield match, read
    for language in LANGUAGES:
        if any(stem in words for stem in language.stems):
            for match in announced(language).finditer(text, start, end):
                yield match, partial(read_announced, language=language)
        if language.correct:
            for match in confirmed(language).finditer(text, start, end):
                yield match, partial(read_chosen, language=language)


def _pieces_backwards(text: str) -> Iterator[tuple[int, int]]:
    """Where the lines of a text begin and end, the last one first; long ones in several pieces."""
    end = len(text)
    while end > 0:
        start = text.rfind("\n", max(0, end - _PIECE), end) + 1
        if start == 0 and end > _PIECE:
            yield end - _PIECE, end
            end -= _PIECE - FAR
            continue
        if start < end:
            yield start, end
        end = start - 1
