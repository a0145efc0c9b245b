r"""Answers: found in a path's text, brought to a canonical form, and voted on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias, get_args

from spex_agents.errors import SettingsError
from spex_agents.search import symbolic

Extract: TypeAlias = Callable[[str], str | None]
"""Finds the answer in a path's text, or None. A thought in which it finds one ends its path."""

Canonical: TypeAlias = Callable[[str], str]
"""Brings an answer to a form in which equal answers are equal strings."""

Vote: TypeAlias = Literal["majority", "weighted", "best"]
"""majority: most leaves; weighted: largest sum of rewards; best: the leaf of the highest reward."""

_PLAIN = re.compile(
    r"^[ \t*]*(?:####|(?:the\s+)?(?:final\s+)?answer(?:\s+is\b|\s*[:=]))[:=]?\s*([^\n]+)",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE = re.compile(r"\banswer\s+is\s*:?\s*([^\n]+)", re.IGNORECASE)
_WORDS = re.compile(r"[^\d\\^=+*/_]+$")
_LONGEST = 200  # characters of mathematics; what is longer is compared as text
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:/\d+)?$")


def extract_answer(text: str) -> str | None:
    r"""Return the last ``\boxed{}``, else what follows ``####``, ``Answer:`` or ``answer is``.

    Example:
        >>> extract_answer(r"2 + 2 = 4, so \boxed{4}")
        '4'
    """
    if (start := text.rfind("\\boxed{")) >= 0:
        return _braced(text, start + len("\\boxed{"))
    found = _PLAIN.findall(text) or _SENTENCE.findall(text)
    answer = found[-1].strip().rstrip(".").strip("*$ ") if found else ""
    return answer or None


def _braced(text: str, start: int) -> str | None:
    depth = 1
    for end in range(start, len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[start:end].strip() or None
    return None


def canonical(answer: str) -> str:
    r"""Bring an answer to a form in which equal answers are equal strings.

    Plain numbers become reduced fractions; other mathematics goes through math-verify, which may
    take milliseconds, a second at first use and seconds at most (`symbolic.form`): call it off the
    event loop. What is not mathematics, or takes longer, is compared case-folded.

    Example:
        >>> canonical("0.50") == canonical(r"\frac{1}{2}") == "1/2"
        True
    """
    if (easy := plain_form(answer)) is not None:
        return easy
    if parsed := symbolic.form(answer):
        return _number(parsed) if _NUMBER.match(parsed) else parsed
    return _folded(answer)


def plain_form(answer: str) -> str | None:
    """Return the canonical form of a plain number, a word or a text; None if it needs `canonical`.

    It takes microseconds, so it may run on the event loop.
    """
    if len(answer) > _LONGEST:
        return _folded(answer)
    plain = answer.strip().strip("$").replace(",", "").replace(" ", "").removesuffix(".")
    if _NUMBER.match(plain):
        return _number(plain)
    return _folded(answer) if _WORDS.match(answer) else None


def _folded(answer: str) -> str:
    return " ".join(answer.casefold().split())


def _number(text: str) -> str:
    numerator, _, denominator = text.partition("/")
    try:
        return str(Fraction(numerator) / Fraction(denominator or 1))
    except ZeroDivisionError:
        return text


@dataclass(frozen=True, slots=True)
class Ballot:
    """One leaf's vote: its answer in canonical form, and its reward."""

    answer: str
    reward: float


def check_vote(method: str) -> Vote:
    """Return a voting method that exists.

    Raises:
        SettingsError: There is none of that name.
    """
    for name in get_args(Vote):
        if name == method:
            return method  # type: ignore[return-value]
    raise SettingsError(f"vote={method!r}: must be one of {', '.join(get_args(Vote))}")


def tally(ballots: Iterable[Ballot], method: Vote) -> dict[str, float]:
    """Return the score of each answer, in the order in which the answers were first given.

    Under "best" the leaf that gave an answer its score counts as the first.
    """
    scores: dict[str, float] = {}
    for ballot in ballots:
        before = scores.get(ballot.answer)
        if method != "best":
            scores[ballot.answer] = (before or 0.0) + (
                1.0 if method == "majority" else ballot.reward
            )
        elif before is None or ballot.reward > before:
            scores.pop(ballot.answer, None)
            scores[ballot.answer] = ballot.reward
    return scores


def elect(ballots: Iterable[Ballot], method: Vote) -> str | None:
    """Return the winning answer, the first given one on a tie, or None without a ballot.

    Example:
        >>> elect([Ballot("4", 0.2), Ballot("5", 0.9), Ballot("4", 0.3)], "weighted")
        '5'
    """
    scores = tally(ballots, method)
    return max(scores, key=lambda answer: scores[answer], default=None)
