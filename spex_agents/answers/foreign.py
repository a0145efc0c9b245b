"""Answers announced in other languages, by their data in `spex_agents.answers.languages`."""

from __future__ import annotations

import re
from functools import cache

from spex_agents.answers.doubts import doubted
from spex_agents.answers.languages import OPTION, OWNED, THEN, Language
from spex_agents.answers.sentences import ending
from spex_agents.answers.values import (
    Value,
    line_value,
    rest_of_line,
    span,
    statement_value,
    value_below,
)

_THEN = re.compile(rf"[ \t,]*{THEN}", re.IGNORECASE)
_OPTION = re.compile(rf"[ \t*_]*{OPTION}", re.IGNORECASE)
_OWNED = re.compile(rf"(?:{OWNED})\s*$", re.IGNORECASE)
_CHOSEN = re.compile(r"(\(?[A-H]\)?)[ \t]*(?:[:：]|、(?![ \t]*\(?[A-H]))")
_LETTER = re.compile(rf"(?<!\w){OPTION}[*_]{{0,2}}(\(?[A-H]\)?)[*_]{{0,2}} ?$", re.IGNORECASE)


@cache
def announced(language: Language) -> re.Pattern[str]:
    """What announces an answer in a language."""
    verb = rf"|[ \t]{{0,4}}(?P<verb>{language.verbs or '(?!)'})"
    return re.compile(
        rf"(?:{language.nouns})[ \t]{{0,4}}[*_]{{0,4}}[ \t]{{0,4}}"
        rf"(?:(?P<sign>[:：=】])[ \t]{{0,4}}[*_]{{0,4}}{verb})[ \t]{{0,4}}[*_]{{0,4}}[:：]?"
    )


@cache
def confirmed(language: Language) -> re.Pattern[str]:
    """What confirms the letter of a choice before it."""
    return re.compile(rf"(?<=[A-H)*_ ])(?:{language.correct})", re.IGNORECASE)


def read_chosen(text: str, match: re.Match[str], language: Language) -> Value | None:
    """The letter of a choice that a sentence says is right."""
    far = max(0, match.start() - 40)
    letter = _LETTER.search(text[far : match.start()])
    if letter is None or not letter[1].strip("()").isupper():
        return None
    if re.search(r"[?？]", text[match.end() : ending(text, match.end())]):
        return None
    if doubted(text, far + letter.start(), (match.end(),) * 2, language.name):
        return None
    return Value(far + letter.start(1), letter[1])


def read_announced(text: str, match: re.Match[str], language: Language) -> Value | None:
    """What follows an announcement, if it is a plain statement."""
    start = match.end()
    if match[0].startswith("的") or _OWNED.search(text, max(0, match.start() - 20), match.start()):
        return None
    rest = rest_of_line(text, start)
    if not rest.strip(" \t*_$`:："):
        return value_below(text, start) if match["sign"] else None
    if then := _THEN.match(rest):
        start, rest = start + then.end(), rest[then.end() :]
    if option := _OPTION.match(rest):
        start, rest = start + option.end(), rest[option.end() :]
    elif re.match(rf"[\s*_]{{0,8}}(?:{language.refused})", rest):
        return None
    if re.search(r"[?？؟]", text[start : ending(text, start)]):
        return None
    said = re.split(language.tail, rest, maxsplit=1)[0] if language.tail else rest
    value: Value | None
    if option and (chosen := _CHOSEN.match(rest)):
        value = Value(start, chosen[1])
    elif match["sign"] and not match["verb"] and not then:
        value = line_value(said, start, foreign=True)
    else:
        value = statement_value(said, start, known_words=True)
    if value is None or doubted(text, match.start(), span(text, value), language.name):
        return None
    return value
