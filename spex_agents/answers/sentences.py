"""Where sentences begin and end: a full stop after "Mr" ends none."""

from __future__ import annotations

import re
from collections.abc import Iterator

FAR = 300
"""Characters around a marker that are looked at."""

_END = re.compile(r"[.!](?=[\s*_\"”’')\]$<`}]|$)|[。！；?？؟।]")
_WORD = re.compile(r"(?:[^\W_]|\.(?=[^\W_]))+$")
_NEXT = re.compile(r"[ \t]*[*_\"“(]*([^\W_][\w'’]*)")
_INITIALS = re.compile(r"(?:[A-Za-z]{1,2}\.)+[A-Za-z]{1,2}")

# What may follow a short form's full stop while the sentence goes on.
_BEFORE_A_NAME = frozenset(
    "mr mrs ms dr prof st mt ft messrs gen col capt lt sgt rev hon gov".split()
)
_BEFORE_A_NUMBER = frozenset(
    """no nos nr vol fig figs eq eqs p pp ch sec approx ca c art op núm num № ft in lb lbs oz hr hrs
    min mins vs""".split()
)
_BEFORE_A_WORD = frozenset(
    """vs approx ca etc cf al ft in lb lbs yd oz sq cu hr hrs min mins jr sr inc ltd co corp esp
    resp incl excl max avg temp dept est bzw ggf usw vgl""".split()
)
_BEGINS = frozenset(
    """it he she they we i you this that these those the a an so thus hence therefore because since
    if when as in on at to from for and but or then there here now note let what which who how why
    is are was were its his her their our my all both each no not yes after before also however
    finally first next option""".split()
)


def ends(text: str, start: int = 0, stop: int | None = None) -> Iterator[re.Match[str]]:
    """The marks at which sentences end.

    Example:
        >>> [end.start() for end in ends("It is Mr. Smith. He left.")]
        [15, 24]
    """
    for end in _END.finditer(text, start, len(text) if stop is None else stop):
        if not (end[0] == "." and _goes_on(text, end.start())):
            yield end


def beginning(text: str, position: int) -> int:
    """Where the sentence or line begins in which a position is, or `FAR` characters before."""
    start = max(0, position - FAR, text.rfind("\n", 0, position) + 1)
    return max((end.end() for end in ends(text, start, position)), default=start)


def ending(text: str, position: int) -> int:
    """Where the sentence or line ends in which a position is, or `FAR` characters on."""
    line = text.find("\n", position, position + FAR)
    stop = line if line >= 0 else min(len(text), position + FAR)
    return next((end.end() for end in ends(text, position, stop)), stop)


def _goes_on(text: str, stop: int) -> bool:
    """Whether a full stop belongs to a short form, and its sentence goes on."""
    before = _WORD.search(text[max(0, stop - 12) : stop])
    following = _NEXT.match(text, stop + 1)
    if before is None or following is None:
        return False
    word, after = before[0], following[1]
    if _INITIALS.fullmatch(word):
        return _not_begins(after) if word[0].isupper() else not after[0].isupper()
    if len(word) == 1 and word.isupper():  # "John F. Kennedy", and not "(B. It is Paris)"
        named = re.search(r"(?:[A-Z][a-z]*\.?)[ \t]$", text[max(0, stop - 20) : stop - 1])
        more = re.match(r"[ \t]*[A-Z]\.", text[stop + 1 : stop + 6])
        if after[0].islower():  # "E. coli", "B. the left one"
            return True
        return bool((named or more) and after[0].isupper() and _not_begins(after))
    low = word.casefold()
    return (
        (low in _BEFORE_A_NAME and after[0].isupper() and _not_begins(after))
        or (low in _BEFORE_A_NUMBER and after[0].isdigit())
        or (low in _BEFORE_A_WORD and after[0].islower())
    )


def _not_begins(word: str) -> bool:
    return not (word[0].isupper() and word.casefold() in _BEGINS)
