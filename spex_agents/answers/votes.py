"""How the answers of the leaves are counted, and which one wins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from spex_agents.errors import SettingsError

Vote: TypeAlias = Literal["majority", "weighted", "best"]
"""majority: most leaves; weighted: largest sum of rewards; best: the leaf of the highest reward."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """One leaf's vote: its answer in canonical form, its reward, and its path."""

    answer: str
    reward: float
    path: tuple[int, ...] = ()


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


def winner(ballots: Sequence[Ballot], method: Vote) -> Ballot | None:
    """Return the ballot that the answer is taken from, or None without one.

    Of those for the winning answer it is the one of the highest reward, the first on a tie.
    """
    answer = elect(ballots, method)
    given = (ballot for ballot in ballots if ballot.answer == answer)
    return max(given, key=lambda ballot: ballot.reward, default=None)
