"""Where the answer stands in a text."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

from spex_agents.answers.code import in_markdown, without_code
from spex_agents.answers.markers import Found, boxes, keys, tags, whole_object
from spex_agents.answers.reasoning import without_reasoning
from spex_agents.answers.sentences import ends
from spex_agents.answers.statements import statements
from spex_agents.answers.tables import cells

Extract: TypeAlias = Callable[[str], str | None]
"""Finds the answer in a path's text, or None. A thought in which it finds one ends its path.

It may ask for more by taking these keywords: ``cut``, whether the text was cut off by its token
cap, so that it may end in the middle of a number; and ``ended``, whether the path has ended anyway.
"""


def extract_answer(text: str, *, cut: bool = False) -> str | None:
    r"""Return what the last marker that is closed says the answer is.

    Markers are ``\boxed{}``, ``<answer></answer>``, the key "answer" of a JSON object, ``#### 42``,
    "Final answer: 42", and a sentence that states it: "so the answer is 42." (in about forty
    languages, see `spex_agents.answers.languages`). Empty boxes, questions, negations, and whatever
    stands in a reasoning block such as ``<think>`` are none.

    Args:
        text: A reply, or the text of a path.
        cut: The text was cut off by its token cap. What is announced in words counts then only if
            its sentence or line has ended: "The answer is 12" may be the beginning of 1234.

    Example:
        >>> extract_answer(r"2 + 2 = 4, so \boxed{4}")
        '4'
        >>> extract_answer("To check whether the answer is correct, substitute.") is None
        True
        >>> extract_answer("The answer is 12", cut=True) is None
        True
    """
    text = in_markdown(without_code(without_reasoning(text.translate(_UNSEEN))))
    found = _last([*boxes(text, cut=cut), *tags(text), *keys(text), *cells(text)])
    if not whole_object(text):
        for stated in statements(text):
            if found is not None and stated.start <= found.start + len(found.answer):
                break
            if not (cut and not _ended(text, stated)):
                found = stated
                break
    if found is None:
        return None
    # <answer>The answer is \boxed{4}</answer>: the innermost marker has it, and is the last one.
    inner = None if found.answer == text else _inside(found.answer)
    return _UNCLOSED.sub(r"\1", inner or found.answer).strip() or None


_UNCLOSED = re.compile(r"^([^*]*[^*\s])\*\*(?=\s+[^\W\d][^*]*$)")  # the bold of **42** km
_UNSEEN = dict.fromkeys(
    [0xFEFF, 0x200B, 0x200E, 0x200F, 0x2060, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)
"""Marks that show nothing and change no word: of byte order, of direction, of no width."""


def _last(found: list[Found]) -> Found | None:
    return max(found, key=lambda one: one.start, default=None)


def _inside(answer: str) -> str | None:
    inner = _last([*boxes(answer), *keys(answer)])
    if inner is None and len(answer) <= _SENTENCE:
        inner = next(statements(answer), None)
    return None if inner is None else inner.answer


_SENTENCE = 400  # characters within a marker that may be a sentence


def _ended(text: str, stated: Found) -> bool:
    """Whether the sentence or the line of a statement is seen to have ended."""
    position = stated.start + len(stated.answer)
    line = text.find("\n", position)
    if line >= 0:
        return True
    return any(end.end() < len(text) or end[0] in "。।" for end in ends(text, position))


def found_in(extract: Extract, text: str, *, cut: bool = False, ended: bool = True) -> str | None:
    """What `extract` finds in a text, told as much about it as it asks for.

    Args:
        extract: Any function of a text, see `Extract`.
        text: Of a path, or of its last thought.
        cut: Whether it was cut off by its token cap.
        ended: Whether the path has ended, whatever is found.

    Example:
        >>> found_in(extract_answer, "The answer is 12", cut=True) is None
        True
        >>> found_in(lambda text: text[-2:], "The answer is 12", cut=True)
        '12'
    """
    told: Callable[..., str | None] = extract
    known = {"cut": cut, "ended": ended}
    return told(text, **{name: known[name] for name in _asked(extract)})


@lru_cache(maxsize=256)
def _asked(extract: Extract) -> tuple[str, ...]:
    try:
        parameters = inspect.signature(extract).parameters
    except (TypeError, ValueError):
        return ()
    return tuple(name for name in ("cut", "ended") if name in parameters)
