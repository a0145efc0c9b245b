"""Answers that are chosen: a letter, with the text it stands for or without, and yes or no."""

from __future__ import annotations

import re

_LETTER = re.compile(
    r"(?:(?:the\s+)?(?:option|choice|answer|letter)\s*:?)?\s*[(\[]?\s*([A-Za-z])\s*[)\].:]?$",
    re.IGNORECASE,
)
_CHOSEN = re.compile(
    r"(?:(?:(?i:option|choice|answer)\s*:?\s*)?(?:\(([A-Ja-j])\)|\[([A-J])\]|([A-J])[).:]|([a-j])(?:\)|[.:](?=\s)))\s*"
    r"|(?i:option|choice)\s+([A-J])\s*(?:[-:,]\s*|\s(?=\())|([A-J])\s+-\s+(?=[A-Za-z]{2}))(\S.*)$"
)
_GOES_ON = re.compile(
    r"[-+*/^=<>,;&']|(?:and|or|nor)\b|\\(?:[cwl]|to|times|subset|neg|setminus|in(?!f))|[A-Z]\.|\([A-J]\)",
    re.IGNORECASE,
)
_SPECIES = frozenset(
    "albicans anthracis coli cerevisiae cerevisae difficile elegans faecalis falciparum gallus "
    "influenzae jejuni melanogaster pombe rerio sapiens subtilis thaliana".split()
)
"""What stands after a letter and a stop without being the text of a choice: C. elegans."""
_SAID = re.compile(
    r"(yes|no|true|false)\s*(?:[,;:!]|\s-|\.(?=\s+[^\W\d]))\s*(.+)$", re.IGNORECASE | re.DOTALL
)
_OPPOSED = re.compile(r"\b(?:yes|no|true|false)\b", re.IGNORECASE)


def letter(text: str) -> str | None:
    """The letter that a text is, bracketed or named as a choice.

    Example:
        >>> letter("(B)"), letter("Option b"), letter("Bob")
        ('b', 'b', None)
    """
    found = _LETTER.match(text)
    return found[1].casefold() if found else None


def chosen(text: str) -> tuple[str, str] | None:
    """A letter and the text of its choice.

    Example:
        >>> chosen("B) Paris"), chosen("(A) and (C)"), chosen("C. elegans")
        (('b', 'Paris'), None, None)
    """
    if (found := _CHOSEN.match(text)) is None:
        return None
    *letters, rest = found.groups()
    if _GOES_ON.match(rest) or rest.rstrip(".").casefold() in _SPECIES:
        return None
    return next(one for one in letters if one).casefold(), rest


def said(text: str) -> tuple[str, str] | None:
    """The word with which a text answers, and what it goes on to say.

    Example:
        >>> said("Yes, it is."), said("No."), said("yes, no")
        (('yes', 'it is.'), None, None)
    """
    found = _SAID.match(text)
    return (found[1].casefold(), found[2]) if found and not _OPPOSED.search(found[2]) else None
