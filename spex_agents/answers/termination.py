"""When a search may end before its policy does: rules over one standing, composed with | and &.

Limits on what a search takes are in `limits`.
"""

from __future__ import annotations

from dataclasses import dataclass

from spex_agents.answers.standing import Standing
from spex_agents.answers.votes import elect, sure_lead
from spex_agents.errors import at_least_one, at_least_zero, instance_of


class TerminationRule:
    """A rule that may end a search; subclass it and write `__call__`.

    Attributes:
        lossy: Whether the answer may differ from that of the whole search.
        eager: Whether it is asked within a decision too, whenever a thought or a reward arrives.
            What that decision still waits for is then cancelled: the tree depends on timing.
        timed: Whether what it goes by depends on timing, even between two decisions.
        cost: Whether it goes by `tokens`, `decoded` and `sent` alone: no guess is begun then that
            might reach it.

    Example:
        >>> rule = ExactStop() | MarginStop(alpha=0.5, min_answers=4)
        >>> rule.lossy, str(rule)
        (True, 'ExactStop() | MarginStop(alpha=0.5, min_answers=4)')
    """

    lossy: bool = True
    eager: bool = False
    timed: bool = False
    cost: bool = False

    def __call__(self, standing: Standing) -> bool:
        raise NotImplementedError

    def due(self, standing: Standing) -> float | None:
        """In how many seconds it is to be asked again, though nothing arrives; None for never."""
        return None

    def fired(self, standing: Standing) -> TerminationRule | None:
        """The part of this rule that ends the search now, if one does."""
        return self if (self.eager or not standing.within) and self(standing) else None

    def reached(self, standing: Standing) -> bool:
        """Whether what has been spent would end the search by itself."""
        return self.cost and self(standing)

    def __or__(self, other: TerminationRule) -> TerminationRule:
        return _Any(self, other)

    def __and__(self, other: TerminationRule) -> TerminationRule:
        return _All(self, other)


@dataclass(frozen=True)
class _Both(TerminationRule):
    one: TerminationRule
    other: TerminationRule

    def __post_init__(self) -> None:
        instance_of(TerminationRule, termination=self.other)

    @property
    def eager(self) -> bool:  # type: ignore[override]
        return self.one.eager or self.other.eager

    @property
    def timed(self) -> bool:  # type: ignore[override]
        return self.one.timed or self.other.timed

    def __call__(self, standing: Standing) -> bool:
        return self.fired(standing) is not None

    def due(self, standing: Standing) -> float | None:
        waits = (self.one.due(standing), self.other.due(standing))
        return min((wait for wait in waits if wait is not None), default=None)


@dataclass(frozen=True)
class _Any(_Both):
    @property
    def lossy(self) -> bool:  # type: ignore[override]
        return self.one.lossy or self.other.lossy

    def fired(self, standing: Standing) -> TerminationRule | None:
        return self.one.fired(standing) or self.other.fired(standing)

    def reached(self, standing: Standing) -> bool:
        return self.one.reached(standing) or self.other.reached(standing)

    def __str__(self) -> str:
        return f"{self.one} | {self.other}"


@dataclass(frozen=True)
class _All(_Both):
    @property
    def lossy(self) -> bool:  # type: ignore[override]
        return self.one.lossy and self.other.lossy

    def fired(self, standing: Standing) -> TerminationRule | None:
        return self if self.one.fired(standing) and self.other.fired(standing) else None

    def reached(self, standing: Standing) -> bool:
        return self.one.reached(standing) and self.other.reached(standing)

    def __str__(self) -> str:
        return f"({self.one} & {self.other})"


_ROUNDING = 1e-9
"""More than adding rewards can be off by rounding: a lead this small may still become a tie."""


@dataclass(frozen=True, repr=False)
class ExactStop(TerminationRule):
    """End once the winner cannot change, whatever the remaining leaves say: lossless.

    A remaining leaf adds at most 1 to an answer: one vote, or a reward of at most 1. Under
    ``vote="best"`` only a leader with the reward 1 is out of reach, for an equal one that comes
    later does not displace it. Under a vote that is neither that nor a sum (`SUMS`) it never fires.
    An answer that leaves its unit unsaid may yet be parted from one that says it, and is counted so
    (`sure_lead`).

    Attributes:
        eager: End within a decision too: with 9 of 16 equal answers there, the other 7 are
            cancelled. The answer is the same, but the tree then depends on timing, and the result
            says so.

    Example:
        >>> from spex_agents.answers import Ballot
        >>> votes = [Ballot("5", 0.9)] * 3
        >>> rule, standing = ExactStop(), {"ballots": votes, "vote": "majority", "tokens": 120}
        >>> rule(Standing(**standing, remaining=4)), rule(Standing(**standing, remaining=2))
        (False, True)
    """

    eager: bool = False
    lossy = False

    def __call__(self, standing: Standing) -> bool:
        if not standing.ballots or standing.remaining is None:
            return False
        if standing.vote == "best":
            answer = elect(standing.ballots, standing.vote)
            fixed = standing.ballots[: standing.fixed]
            return any(ballot.answer == answer and ballot.reward >= 1 for ballot in fixed)
        return sure_lead(standing.ballots, standing.vote) > standing.remaining + _ROUNDING

    def __repr__(self) -> str:
        return "ExactStop(eager=True)" if self.eager else "ExactStop()"


@dataclass(frozen=True)
class MarginStop(TerminationRule):
    """The rule of SPEX: end once the runner-up is unlikely to catch up. Lossy.

    Ends the search when at least `min_answers` leaves have voted and
    first - second > alpha * remaining * (mean reward of the runner-up's leaves).

    Attributes:
        alpha: Which share of the remaining leaves the runner-up is thought to win.
        min_answers: Votes needed before the rule applies.

    Raises:
        SettingsError: `alpha` is negative or `min_answers` is below 1.

    Example:
        >>> from spex_agents.answers import Ballot
        >>> votes = [Ballot("5", 0.9)] * 4
        >>> MarginStop()(Standing(ballots=votes, vote="majority", remaining=6, tokens=120))
        True
    """

    alpha: float = 0.5
    min_answers: int = 4

    def __post_init__(self) -> None:
        at_least_zero(alpha=self.alpha)
        at_least_one(min_answers=self.min_answers)

    def __call__(self, standing: Standing) -> bool:
        leaders = standing.leaders()
        if (
            leaders is None
            or standing.remaining is None
            or len(standing.ballots) < self.min_answers
        ):
            return False
        (_, first), (runner_up, second) = leaders
        rewards = [ballot.reward for ballot in standing.ballots if ballot.answer == runner_up]
        weight = sum(rewards) / len(rewards) if rewards else 1.0
        return first - second > self.alpha * standing.remaining * weight
