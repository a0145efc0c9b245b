"""What is a question, and what no text is: checked before a model is called."""

from __future__ import annotations

import re
import unicodedata

from spex_agents.errors import SettingsError

NO_TEXT = re.compile("[\\x00\\ud800-\\udfff]")
"""What neither UTF-8 nor databases have: NUL, and halves of characters."""


def blank(text: str) -> bool:
    r"""Whether a text shows nothing: white space, marks of no width, letters that fill a place.

    Example:
        >>> blank(" \n"), blank("\u200b\ufeff"), blank(" 4\u200b")
        (True, True, False)
    """
    return all(
        character in _FILLERS or unicodedata.category(character)[0] in "CMZ" for character in text
    )


_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def check_question(question: str) -> str:
    """Return a question that asks something, and that engines and databases can read.

    Raises:
        SettingsError: It is empty, or holds NUL or half of a character (a lone surrogate).
    """
    if blank(question) and not NO_TEXT.search(question):
        raise SettingsError(f"question={question!r}: must not be empty")
    if (fault := NO_TEXT.search(question)) is not None:
        raise SettingsError(
            f"question: has {fault[0]!r} at character {fault.start()}, which is no text: NUL and "
            "halves of characters (lone surrogates) must be taken out"
        )
    return question
