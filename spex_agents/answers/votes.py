"""How the answers of the leaves are counted, and which one wins."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from spex_agents.answers.classes import neighbours
from spex_agents.answers.forms import Form
from spex_agents.errors import SettingsError

Vote: TypeAlias = Literal["majority", "weighted", "best"]
"""majority: most leaves; weighted: largest sum of rewards; best: the leaf of the highest reward."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """One leaf's vote.

    Attributes:
        answer: The text under which it is counted.
        reward: Its weight, in [0, 1].
        path: Of the leaf.
        place: Among the votes: of equal answers the one that was given first wins.
        form: What the leaf's own answer comes to, where that is what decides with which others it
            is counted; else None.

    Example:
        >>> ballots = [Ballot("4", 0.9), Ballot("5", 0.4), Ballot("5", 0.3)]
        >>> elect(ballots, "weighted"), elect(ballots, "majority")
        ('4', '5')
    """

    answer: str
    reward: float
    path: tuple[int, ...] = ()
    place: int = 0
    form: Form | None = field(default=None, repr=False, compare=False)


SUMS: Mapping[str, Callable[[Ballot], float]] = MappingProxyType(
    {"majority": lambda ballot: 1.0, "weighted": lambda ballot: ballot.reward}
)
"""The votes that are sums, with what a leaf adds to its answer: from 0 to 1."""


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
    """Return the score of each answer, the winner first, whatever the order of the ballots.

    Of equal scores the answer of the smallest place goes first: under "best" the place of the leaf
    that gave the answer its score. Where places do not tell, the larger sum of rewards does, then
    the number of leaves, then the alphabet.

    Example:
        >>> tally([Ballot("4", 0.2), Ballot("5", 0.9), Ballot("4", 0.3)], "majority")
        {'4': 2.0, '5': 1.0}
    """
    given: dict[str, list[Ballot]] = {}
    for ballot in ballots:
        given.setdefault(ballot.answer, []).append(ballot)
    ranked = []
    for answer, votes in given.items():
        total = math.fsum(ballot.reward for ballot in votes)  # the same in any order
        score, counted = total, votes
        if (adds := SUMS.get(method)) is not None:
            score = math.fsum(adds(ballot) for ballot in votes)
        elif method == "best":
            score = max(ballot.reward for ballot in votes)
            counted = [ballot for ballot in votes if ballot.reward == score]
        else:
            raise NotImplementedError(f"vote={method!r}: say in tally how it is counted")
        place = min(ballot.place for ballot in counted)
        ranked.append((-score, place, -total, -len(votes), answer))
    return {answer: -score for score, *_, answer in sorted(ranked)}


def elect(ballots: Iterable[Ballot], method: Vote) -> str | None:
    """Return the winning answer, as told in `tally`, or None without a ballot.

    Example:
        >>> elect([Ballot("4", 0.2), Ballot("5", 0.9), Ballot("4", 0.3)], "weighted")
        '5'
    """
    return next(iter(tally(ballots, method)), None)


def sure_lead(ballots: Iterable[Ballot], method: Vote) -> float:
    """Return by how much the winner leads, however other votes group those there are; 0 if by none.

    An answer without a unit is counted with those that have one only while all of these have the
    same (see `written`): one more vote may part them. So the winner has for certain the larger part
    alone, and of another answer all count that may come to be counted with it. Of a vote that is no
    sum (`SUMS`), no lead is sure: 0.

    Example:
        >>> def ballot(answer: str, value: str, unit: str = "") -> Ballot:
        ...     return Ballot(answer, 1.0, form=Form(value, unit))
        >>> ballots = [ballot("10", "10", "hours")] * 3 + [ballot("10", "10")] * 2
        >>> sure_lead([*ballots, ballot("7", "7")], "majority")  # 5 to 1, or 3 to 1 and 2
        2.0
    """
    if (adds := SUMS.get(method)) is None:
        return 0.0
    ballots = tuple(ballots)
    leader = elect(ballots, method)
    parts: dict[Hashable, list[Ballot]] = {}
    for ballot in ballots:
        part = ballot.answer if ballot.form is None else ballot.form.name
        parts.setdefault(part, []).append(ballot)
    weighs = {name: math.fsum(adds(ballot) for ballot in votes) for name, votes in parts.items()}
    first = {name for name, votes in parts.items() if votes[0].answer == leader}
    near = neighbours(ballot.form for ballot in ballots if ballot.form is not None)
    bare = {ballot.form.name for ballot in ballots if ballot.form is not None and ballot.form.bare}
    others = [0.0]
    for name in parts.keys() - first:
        # What leaves all unsaid is counted with those that it may join.
        joining = {name} if name in bare else near.get(name, {name}) - first
        others.append(math.fsum(weighs[one] for one in joining))
    return max((weighs[name] for name in first), default=0.0) - max(others)


def winner(ballots: Iterable[Ballot], method: Vote) -> Ballot | None:
    """Return the ballot that the answer is taken from, or None without one.

    Of those for the winning answer it is the one of the highest reward, the first on a tie.

    Example:
        >>> ballots = [Ballot("5", 0.4, (0,)), Ballot("5", 0.7, (1,)), Ballot("4", 0.9, (2,))]
        >>> winner(ballots, "majority").path
        (1,)
    """
    ballots = tuple(ballots)
    answer = elect(ballots, method)
    given = (ballot for ballot in ballots if ballot.answer == answer)
    return min(given, key=lambda ballot: (-ballot.reward, ballot.place, ballot.path), default=None)


def agreement(ballots: Iterable[Ballot], method: Vote) -> float | None:
    """Return the winner's share of the vote, or None without a ballot.

    Under a vote that is a sum (`SUMS`), of that if it is above 0; else of the leaves.

    Example:
        >>> agreement([Ballot("4", 0.2), Ballot("5", 0.9), Ballot("4", 0.3)], "majority")
        0.6666666666666666
    """
    ballots = tuple(ballots)
    answer = elect(ballots, method)
    weights = tally(ballots, method if method in SUMS else "majority")
    if not any(weights.values()):
        weights = tally(ballots, "majority")
    return None if answer is None else weights[answer] / math.fsum(weights.values())
