"""Answers announced in words: "Final answer: 42", "#### 42", "so the answer is 42."."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import TypeAlias

from spex_agents.answers.languages import LANGUAGES, Language
from spex_agents.answers.markers import Found, placeholder
from spex_agents.answers.values import Value, line_value, statement_value

Read: TypeAlias = Callable[[str, re.Match[str]], Value | None]

_FAR = 300  # characters around a marker that are looked at
_PIECE = 1500  # characters of a line that are looked at together
_MOST = 400  # markers that are tried: a text with so many that say nothing has no answer
_STEMS = ("answer", "ans", "option", "choice", "correct", "right", "####")

_LABEL = re.compile(
    r"(?:^|(?<=[.!?;,:\n。])|(?<=\*\*)|(?<=\b(?:so|us)\b)|(?<=\bthen\b)|(?=\bfinal\b))"
    r"[ \t>#*_\-|`]{0,12}"
    r"(?:(?:so|thus|hence|therefore|here is|and|my|the|our)[,:]?[ \t]{1,4}){0,3}"
    r"[*_`]{0,4}(?:(?:final|correct|right|short)\s+)?"
    r"(?<![A-Za-z])(?:answers?|ans|(?:(?<=correct )|(?<=right ))(?:option|choice))(?![A-Za-z])\.?"
    r"(?:\s*\((?!\w\))[^()\n]{1,40}\))?"
    r"[ \t]{0,4}[*_`]{0,4}[ \t]{0,4}(?:is[ \t]{0,4})?"
    r"(?P<sign>[:：=＝]+|->|→|—|–|⇒|\\(?:to|Rightarrow)\b|[-](?=[ \t]))"
    r"[ \t]{0,4}[*_`]{0,4}",
    re.IGNORECASE | re.MULTILINE,
)
_HEADING = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]*)?(?:\d+[.)][ \t]*)?[*_]{0,3}"
    r"(?:the[ \t]+)?(?:(?:final|correct)[ \t]+)?(?:answer|ans)"
    r"(?:[ \t]+is)?[*_]{0,3}[ \t]*[:：=]?[ \t]*[*_]{0,3}[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_HASHES = re.compile(r"^[ \t]*####(?!#)[ \t]*(?P<rest>\S[^\n]*)$", re.MULTILINE)
_PLAIN = re.compile(  # what may stand after ####: a word is a heading's
    r"(?:[^A-Za-z]+|[A-Za-z]?[^A-Za-z]*\\.*|(?:[^A-Za-z]*\b[A-Za-z]\b)+[^A-Za-z]*|yes|no|true|false|none"
    r"|[^A-Za-z]*\d[^A-Za-z]*[a-z]+(?:\s[a-z]+)?)$",
    re.IGNORECASE,
)
_PROSE = re.compile(
    r"\b(?P<noun>answers?|(?:answer|correct|right|best)\s+(?:option|choice|answer)"
    r"|(?:correct|right)\s+(?:one|letter|value|number))\b"
    r"(?P<of>(?:\s+(?:to|for|of|in|here|choice|option|now)\b(?:[ \t]{1,4}[\w'()-]{1,40}){0,6}?)?)"
    r"[*_]{0,4}\s{0,4}(?P<verb>\bis(?:\s+equal\s+to)?\b|['’]s\b|=|\bequals\b|\bwould\s+be\b|\bwill\s+be\b"
    r"|\bmust\s+(?:therefore\s+)?be\b|\bhas\s+to\s+be\b|\bcomes\s+(?:out\s+)?to(?:\s+be)?\b"
    r"|\bturns\s+out\s+to\s+be\b|\bworks\s+out\s+(?:to|as)(?:\s+be)?\b|\bbecomes\b|\bremains\b)"
    r"[ \t]{0,4}[*_]{0,4}[:：]?",
    re.IGNORECASE,
)
_MODAL = re.compile(r"must|has to", re.IGNORECASE)
_WHOLE = re.compile(
    r"\s*(?:(?:to|for|of)\s+(?:(?:this|the|your|our|that|my|a)\s+)?(?:(?:given|original|whole|"
    r"above|following|entire|overall|final|actual|original)\s+)?"
    r"(?:question|problem|puzzle|exercise|riddle|task|query|equation|it|this|everything|sum|prompt|"
    r"calculation)\b(?:\s+[\"“”'\w?()-]+){0,6}|here|now|choice|option|in\s+(?:simplest|lowest|decimal)\s+\w+"
    r"|in\s+[a-z]+)?$",
    re.IGNORECASE,
)
_OWNER = re.compile(
    r"(?:\b(?:an|another|wrong|incorrect|previous|earlier|partial|intermediate|first|second|third|"
    r"next|preliminary|possible|tentative|initial|old|his|her|their|your|whose|each|every|no|any|"
    r"which|what|student|other|expected|same|such|\w+['’]s|one|bad|false|approximate|"
    r"one|this|that)\s+)$",
    re.IGNORECASE,
)
_BEFORE = re.compile(
    r"(?:\b(?:whether|if|unless|until|before|once|when|why|how|what|who|where|wonder|than|"
    r"like|as|of|wrong|without|doubt|verify|check|confirm|ensure|show|prove|hope|assume|assuming|suppose|"
    r"supposing|pretend|imagine|think(?=\s+that\s+the\s+answer)|is|does|did|says?|said|claims?|"
    r"claimed|believes?|wrote)"
    r"(?:\s+that)?(?:\s+(?:the|my|our|a|final|correct|right|best|actual))*\s*)$",
    re.IGNORECASE,
)
_DOUBT = re.compile(
    r"\b(?:perhaps|maybe|possibly|suppose|supposing|assume|assuming|imagine|pretend|"
    r"(?:not|never|n['’]t)(?=\s+(?:\w+\s+){0,3}(?:the\s+)?(?:\w+\s+)?$))",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[.!?;:,\n。！？；，—]")
_INVERTED = re.compile(
    r"(?:^|(?<=[\s*(\[$]))(?P<value>\(?[A-H]\)?|\*\*[^*\n]{1,60}\*\*|\\?\$?-?\d[\d,.]*(?:\\?%|\$)?"
    r"|\$[^$\n]{1,80}\$)[.)*:]*\s+(?:is|must\s+be)\s+"
    r"(?:the\s+|our\s+|my\s+|thus\s+|therefore\s+)*(?:only\s+)?"
    r"(?:(?:final|correct|right|best)\s+(?:answer|option|choice)|answer|correct|right(?=[.\s]*$))\b"
    r"(?!\s+(?:to\s+(?:the\s+)?(?:first|second|part|sub)|or|if|only|digits?|number|then|for\s+the))",
    re.MULTILINE,
)


def statements(text: str) -> Iterator[Found]:
    """What a text states its answer to be, the last statement first."""
    tried = 0
    for start, end in _pieces_backwards(text):
        marks = sorted(_marks(text, start, end), key=lambda mark: -mark[0].end())
        for match, read in marks:
            value = read(text, match)
            if value is not None and not placeholder(value.text):
                yield Found(value.start, value.text)
        if (tried := tried + len(marks)) > _MOST:
            return


def _marks(text: str, start: int, end: int) -> Iterator[tuple[re.Match[str], Read]]:
    """Where an answer seems to be announced, and who reads it."""
    words = text[start:end].casefold()
    if any(stem in words for stem in _STEMS):
        for pattern, read in _ENGLISH:
            for match in pattern.finditer(text, start, end):
                yield match, read
    for language in LANGUAGES:
        if any(stem in words for stem in language.stems):
            for match in _announced(language).finditer(text, start, end):
                yield match, partial(_foreign, language=language)


def _pieces_backwards(text: str) -> Iterator[tuple[int, int]]:
    """Where the lines of a text begin and end, the last one first; long ones in several pieces."""
    end = len(text)
    while end > 0:
        start = text.rfind("\n", max(0, end - _PIECE), end) + 1
        if start == 0 and end > _PIECE:
            yield end - _PIECE, end
            end -= _PIECE - _FAR
            continue
        if start < end:
            yield start, end
        end = start - 1


def _rest(text: str, start: int) -> str:
    """What follows on the same line."""
    end = text.find("\n", start, start + _FAR)
    return text[start : end if end >= 0 else start + _FAR]


def _labelled(text: str, match: re.Match[str]) -> Value | None:
    rest = _rest(text, match.end())
    if not rest.strip(" \t*_$`:："):
        return _below(text, match.end())
    return line_value(rest, match.end())


def _headed(text: str, match: re.Match[str]) -> Value | None:
    return _below(text, match.end())


def _below(text: str, start: int) -> Value | None:
    """The value on the next line that is not blank, brackets of a formula being none."""
    position = text.find("\n", start)
    while 0 <= position < min(len(text), start + _FAR):
        line = _rest(text, position + 1)
        if line.strip(" \t*_`>") not in ("", "$$", r"\[", "$", "```", "---", "```text"):
            return line_value(line, position + 1, alone=True)
        position = text.find("\n", position + 1)
    return None


def _hashed(text: str, match: re.Match[str]) -> Value | None:
    """GSM8K's mark; words after it are a heading."""
    rest = match["rest"][:_FAR]
    if re.match(r"\(?\d+[.):]\)?\s|\d+[.)]\s*[*_]*[A-Za-z]", rest):
        return None
    value = statement_value(rest, match.start("rest"))
    if value is None or not _PLAIN.match(value.text):
        return None
    left = rest.rstrip(" .*#")[value.start - match.start("rest") + len(value.text) :]
    return value if len(left.split()) <= 2 else None


def _said(text: str, match: re.Match[str]) -> Value | None:
    """What a sentence says, if it is a plain statement about the whole question."""
    if not _WHOLE.match(match["of"]):
        return None
    before = text[max(0, match.start() - _FAR) : match.start()]
    clause = _CLAUSE.split(before)[-1]
    if _OWNER.search(clause) or _BEFORE.search(clause) or _DOUBT.search(clause):
        return None
    start = match.end()
    rest = _rest(text, start)
    if not rest.strip(" \t*_$`:："):
        colon = match[0].rstrip(" *_")[-1:] in (":", "：")
        return _below(text, start) if colon or match["verb"] == "is" else None
    value = statement_value(rest, start)
    if value is not None and _MODAL.match(match["verb"]) and not re.search(r"\d", value.text):
        return None
    return value


def _inverted(text: str, match: re.Match[str]) -> Value | None:
    rest = _rest(text, match.end())
    before = _CLAUSE.split(text[max(0, match.start() - _FAR) : match.start()])[-1]
    if re.match(r"[^.!\n]{0,80}\?", rest) or re.search(
        r"\b(?:if|whether|that|not|why|how|when|unless|maybe|perhaps|is|step|part)\s*$",
        before,
        re.IGNORECASE,
    ):
        return None
    text = match["value"].strip("*$() ").rstrip(".)")
    return Value(match.start("value"), text) if text else None


_ENGLISH = (
    (_LABEL, _labelled),
    (_HEADING, _headed),
    (_HASHES, _hashed),
    (_PROSE, _said),
    (_INVERTED, _inverted),
)


@cache
def _announced(language: Language) -> re.Pattern[str]:
    verb = rf"|[ \t]{{0,4}}(?P<verb>{language.verbs})" if language.verbs else ""
    return re.compile(
        rf"(?:{language.nouns})[ \t]{{0,4}}[*_]{{0,4}}[ \t]{{0,4}}"
        rf"(?:(?P<sign>[:：=])[ \t]{{0,4}}[*_]{{0,4}}{verb})[ \t]{{0,4}}[*_]{{0,4}}[:：]?"
    )


def _foreign(text: str, match: re.Match[str], language: Language) -> Value | None:
    start = match.end()
    rest = _rest(text, start)
    if not rest.strip(" \t*_$`:："):
        return _below(text, start) if match["sign"] else None
    if re.match(rf"[\s*_]{{0,8}}(?:{language.refused})", rest) or re.search(r"[?？؟]", rest[:80]):
        return None
    if language.tail:
        rest = re.split(language.tail, rest, maxsplit=1)[0]
    if match["sign"]:
        return line_value(rest, start)
    return statement_value(rest, start, known_words=True)
