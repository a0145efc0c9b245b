"""A value at the beginning of a line or a sentence, told from words that only go on."""

from __future__ import annotations

import re
from typing import NamedTuple

from spex_agents.answers.sentences import FAR, ends
from spex_agents.answers.words import (
    ARTICLE,
    BREAK,
    CHOICE,
    CLAUSE,
    COUNTED,
    EMOJI,
    EQUATION,
    FORMULA,
    FUNCTIONS,
    ITEM,
    JOINED,
    KEPT,
    KNOWN,
    LEAD,
    LONGEST,
    MATH,
    NOT_UNITS,
    NUMBER,
    PROSE_START,
    REFUSED,
    ROMAN,
    STOPS,
    SUFFIX,
    TAIL,
    TITLE,
    TITLES,
    TOLD,
    WORD,
)

_RULE = re.compile(r"[ \t>]*(?:```\w*|[-=*_~#]{3,})[ \t]*$")


class Value(NamedTuple):
    """A value and where it begins in the whole text."""

    start: int
    text: str


def statement_value(text: str, start: int, *, known_words: bool = False) -> Value | None:
    """The value with which the rest of a sentence begins; None where it only goes on in words.

    Args:
        text: From after the verb on, at most one line.
        start: Where it begins in the whole text.
        known_words: Words have been checked against their language's refused ones.
    """
    lead = LEAD.match(text)
    offset = lead.end() if lead else 0
    if (
        lead
        and re.search(r"(?:number|value|letter)\W*$", lead[0])
        and text[offset : offset + 3] == "of "
    ):
        return None
    quoted = max(offset - 1, 0)
    if (title := TITLE.match(text, quoted)) and title[0][0] in '"“':
        return Value(start + quoted, _bare(title[0]))
    sentence, asked = _sentence(text[offset:])
    if asked or not sentence:
        return None
    value = _short(sentence, known_words=known_words)
    return None if value is None else Value(start + offset, value)


def line_value(
    text: str, start: int, *, alone: bool = False, foreign: bool = False
) -> Value | None:
    """The value on a line that follows a label, or stands below a heading.

    Args:
        text: The line.
        start: Where it begins in the whole text.
        alone: It stands below: a sentence is read for what it states, not taken as it is.
        foreign: Its language is not English.
    """
    bullet = r"[-•]\s+" if alone else r"•\s+|-\s+(?![$€£]?\d)"  # on the label's line: minus 3
    lead = re.match(
        rf"[\s*_`>:：]*(?:{bullet})?(?:(?:there\s+(?:is|are|were|will\s+be)|it\s+is|it's|that\s+is)\s+)?",
        text,
        re.IGNORECASE,
    )
    offset = lead.end() if lead else 0
    if foreign:
        text = CLAUSE.split(text, maxsplit=1)[0]
    elif alone and ITEM.match(text, offset):
        return None
    if told := TOLD.match(text, offset):
        counted = statement_value(text[told.end() :], start + told.end())
        if counted is not None:
            return counted
    rest = text[offset:]
    if title := TITLE.match(rest):
        return Value(start + offset, _bare(title[0]))
    if (known := statement_value(rest, start + offset)) is not None:
        return known
    sentence, asked = _sentence(rest)
    if asked or not sentence or PROSE_START.match(sentence):
        return None
    words = sentence.split()
    if len(words) > (6 if alone else 12) or len(sentence) > LONGEST:
        return None
    if alone and words[0].casefold().strip(",") in REFUSED and len(words) > 1:
        return None
    if not alone and words[0].casefold() in ("not", "unknown", "must", "should", "will", "is"):
        return None
    bare = _bare(sentence)
    return Value(start + offset, bare) if bare and bare.count("{") <= bare.count("}") else None


def _sentence(text: str) -> tuple[str, bool]:
    """The first sentence, and whether it is a question."""
    for end in sorted((*ends(text), *STOPS.finditer(text)), key=lambda end: end.start()):
        head = text[: end.start()]
        if head.count("$") % 2 and re.match(r"\s*\$", text) and "$" in text[end.start() :]:
            continue  # inside a formula
        if end[0] == "|" and head.count("|") % 2:
            continue
        if re.match(r"\d!\s*[-+*/=]", text[max(end.start() - 1, 0) :]):
            continue
        if re.search(r"\.\d+\.\.$", head):  # 0.333...
            head += "."
        return head.strip(), end[0] in ("?", "？", "؟")
    return text.strip(), False


def _short(sentence: str, *, known_words: bool) -> str | None:
    """What is a value at the beginning of a sentence."""
    if (joined := JOINED.match(sentence)) and len(joined[0]) <= LONGEST:
        return joined[0]
    if formula := FORMULA.match(sentence):
        inside = next(group for group in formula.groups() if group is not None).strip()
        return inside + _unit(sentence[formula.end() :])
    if known_words:
        sentence = CLAUSE.split(sentence, maxsplit=1)[0]
    sentence = _cut(sentence)
    bare = _bare(sentence)
    if not bare or bare.count("{") > bare.count("}"):
        return None
    if ROMAN.fullmatch(bare) or EQUATION.fullmatch(bare):
        return bare
    if (choice := CHOICE.match(bare)) and not ARTICLE.match(bare):
        return _chosen(bare, choice)
    if NUMBER.match(bare):
        return _quantity(bare)
    if decided := re.match(r"(?:yes|no|true|false)(?=[*_]*\s*[,;:—])", bare, re.I):
        return decided[0]
    if KNOWN.match(bare):
        return bare if len(bare.split()) <= 6 else None
    if counted := COUNTED.match(bare):
        return None if (counted["unit"] or "").casefold() in REFUSED | NOT_UNITS else bare
    words = [word for word in WORD.findall(bare) if word.casefold() not in FUNCTIONS]
    if MATH.match(bare) and not [
        word for word in words if not re.search(rf"\\\w*\{{?{re.escape(word)}", bare)
    ]:
        return bare
    return _words(bare, known_words=known_words)


def _chosen(bare: str, choice: re.Match[str]) -> str | None:
    """A choice letter with its text, or several; None where the letter begins something else."""
    rest = bare[choice.end() :]
    if not rest or re.match(r"(?:\s*(?:,|and|or|&)+\s*\(?[A-J]\)?)+$", rest):
        return bare
    if re.match(r"\s*[-+*/^=<>]", rest):
        return bare if not WORD.search(rest) else None
    if (
        bare[choice.end() : choice.end() + 1] == " "
        and bare[0].isalpha()
        and not re.match(r"\s+[(:：]|\s+-|\s+[A-Z]", rest)
    ):
        return None  # "A dog"
    return bare if len(bare.split()) <= 12 else choice[0]


def _quantity(bare: str) -> str | None:
    """A number and what is counted; None where it is only part of a sum told in words."""
    bare = re.split(r"\s+for\s+(?:the|both|all|each|every)\s", bare)[0]  # $18 for the two
    if re.search(r"[-+*/×]\s*(?:the|that|this|its)\b", bare):
        return None
    words = [word.casefold() for word in WORD.findall(bare)]
    if NOT_UNITS & set(words):
        kept = re.match(r".*?\d[\d,.]*(?=\s+(?:of|or|at|to)\b)", bare)
        head = re.match(r"[^A-Za-z]*", bare)
        if re.fullmatch(r"\d+/\d+\s+of\s+(?:an?|the)\s+\w+|\d+\s+(?:out\s+of|to)\s+\d+", bare):
            return bare
        if "of" in words and kept and "times" not in words and not re.match(r"\S+\s+of\b", bare):
            return bare[: bare.index(" of")]
        if (
            "or" in words
            and head
            and re.fullmatch(r"\S+\s+or\s+\S+(?:\s+\w+)?", bare)
            and bare[-1] != "e"
        ):
            return bare
        return None
    if len(words) > 6:
        number = re.match(r"\S*\d\S*(?:\s+\w+)?", bare)
        return number[0].rstrip(",;:") if number else None
    return bare


def _words(bare: str, *, known_words: bool) -> str | None:
    words = bare.split()
    first = words[0].strip(",'\"“”’")
    if not first or len(words) > 6 or len(bare) > 60 or PROSE_START.match(bare):
        return None
    if known_words:
        return bare if len(words) <= 4 and (len(bare) <= 20 or TITLES.match(first)) else None
    named = [word for word in words[1:] if TITLES.match(word.lstrip("\"'“("))]
    low = first.casefold()
    if low in ("the", "a", "an") and named:
        return bare if len(words) <= 4 else None
    if low in REFUSED or "not" in words:
        return None
    if TITLES.match(first):
        return bare
    if len(words) == 3 and words[1] == "and":  # bread and butter
        words = [words[0], words[2]]
    if len(words) > 2 or SUFFIX.search(low) or any(w.casefold() in REFUSED for w in words):
        return None
    return bare


def _cut(sentence: str) -> str:
    """A sentence up to where another clause begins."""
    for end in BREAK.finditer(sentence):
        if end.start() and sentence[: end.start()].count("(") <= sentence[: end.start()].count(")"):
            sentence = sentence[: end.start()]
            break
    while (shorter := TAIL.sub("", bare := sentence.rstrip(" .,;:"))) != bare:
        sentence = shorter
    return sentence


def _bare(text: str) -> str:
    """A value without emphasis, quotes, and what ends a sentence."""
    before = ""
    while before != text:
        before = text
        kept = KEPT.search(text)
        text = EMOJI.sub("", text).strip('*`"“”„«»「」『』').rstrip(".,;:。，、").strip()
        text += (kept[1] or kept[2]) if kept else ""
        if text.startswith("_") or text.endswith("_"):
            text = text.strip("_")
        if text.endswith(")") and text.count(")") > text.count("(") + text.count("["):
            text = text[:-1]
        if text.endswith("$") and text.count("$") % 2:
            text = text.removesuffix("\\$" if text.endswith("\\$") else "$")
        if len(text) > 1 and text[0] == text[-1] == "$" and "$" not in text[1:-1]:
            text = text[1:-1]
    return text


def _unit(rest: str) -> str:
    """The unit that follows a formula."""
    found = re.match(
        r"\s*((?:\\?[%°]|[a-zA-Zµ²³/]{1,12}(?:\s+(?:per\s+)?[a-z]{1,12})?))[.,;!*\s]*$", rest
    )
    if found is None or PROSE_START.match(found[1] + " x") or found[1].casefold() in REFUSED:
        return ""
    return " " + found[1]


def rest_of_line(text: str, start: int) -> str:
    """What follows on the same line."""
    end = text.find("\n", start, start + FAR)
    return text[start : end if end >= 0 else start + FAR]


def value_below(text: str, start: int) -> Value | None:
    """The value on the next line that is not blank, brackets of a formula being none."""
    position = text.find("\n", start)
    while 0 <= position < min(len(text), start + FAR):
        line = rest_of_line(text, position + 1)
        if line.strip(" \t*_`>") not in ("", "$$", r"\[", "$") and not _RULE.match(line):
            return line_value(line, position + 1, alone=True)
        position = text.find("\n", position + 1)
    return None


def span(text: str, value: Value) -> tuple[int, int]:
    """Where a value stands, without the brackets of its formula and before its unit."""
    said = value.text
    start = text.find(said, value.start, value.start + len(said) + 4)
    if start < 0:
        said = said.rpartition(" ")[0]
        start = text.find(said, value.start, value.start + len(said) + 4)
    start = max(start, value.start)
    return start, start + len(said)
