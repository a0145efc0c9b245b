"""When a search may end before its policy does: rules over one standing, composed with | and &."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from spex_agents.answers.standing import Standing
from spex_agents.answers.votes import elect, sure_lead
from spex_agents.errors import SettingsError, above_zero, at_least_one, at_least_zero


class TerminationRule:
    """A rule that may end a search; subclass it and write `__call__`.

    Attributes:
        lossy: Whether the answer may differ from that of the whole search.
        eager: Whether it is asked within a decision too, whenever a thought or a reward arrives.
            What that decision still waits for is then cancelled: the tree depends on timing.
        timed: Whether what it goes by depends on timing, even between two decisions.

    Example:
        >>> rule = MarginStop(alpha=0.5, min_answers=4) | MaxTokens(2000)
        >>> rule.lossy, str(rule)
        (True, 'MarginStop(alpha=0.5, min_answers=4) | MaxTokens(limit=2000)')
    """

    lossy: bool = True
    eager: bool = False
    timed: bool = False

    def __call__(self, standing: Standing) -> bool:
        raise NotImplementedError

    def due(self, standing: Standing) -> float | None:
        """In how many seconds it is to be asked again, though nothing arrives; None for never."""
        return None

    def fired(self, standing: Standing) -> TerminationRule | None:
        """The part of this rule that ends the search now, if one does."""
        return self if (self.eager or not standing.within) and self(standing) else None

    def __or__(self, other: TerminationRule) -> TerminationRule:
        return _Any(self, other)

    def __and__(self, other: TerminationRule) -> TerminationRule:
        return _All(self, other)


@dataclass(frozen=True)
class _Both(TerminationRule):
    one: TerminationRule
    other: TerminationRule

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

    def __str__(self) -> str:
        return f"{self.one} | {self.other}"


@dataclass(frozen=True)
class _All(_Both):
    @property
    def lossy(self) -> bool:  # type: ignore[override]
        return self.one.lossy and self.other.lossy

    def fired(self, standing: Standing) -> TerminationRule | None:
        return self if self.one.fired(standing) and self.other.fired(standing) else None

    def __str__(self) -> str:
        return f"({self.one} & {self.other})"


_ROUNDING = 1e-9
"""More than adding rewards can be off by rounding: a lead this small may still become a tie."""


@dataclass(frozen=True, repr=False)
class ExactStop(TerminationRule):
    """End once the winner cannot change, whatever the remaining leaves say: lossless.

    A remaining leaf adds at most 1 to an answer: one vote, or a reward of at most 1. Under
    ``vote="best"`` only a leader with the reward 1 is out of reach, for an equal one that comes
    later does not displace it. An answer that leaves its unit unsaid may yet be parted from one
    that says it, and is counted so (`sure_lead`).

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


@dataclass(frozen=True)
class MaxTokens(TerminationRule):
    """End once `limit` tokens or more have been decoded. Lossy.

    Everything counts that was decoded for the search: thoughts, rewards, and what ran ahead and was
    not used. That is what is paid for, but how much is wasted depends on timing, and so do the
    decision after which the search ends and its tree; the result says so. With ``waste=False`` the
    tokens of the committed thoughts count, and nothing else: the tree then depends on the seed
    alone, as ever. Asked between two decisions, so a decision may exceed it.

    Attributes:
        limit: Tokens.
        waste: Whether all counts, or the committed thoughts alone.

    Raises:
        SettingsError: `limit` is below 1.

    Example:
        >>> standing = Standing(ballots=[], vote="best", remaining=None, tokens=90, decoded=120)
        >>> MaxTokens(100)(standing), MaxTokens(100, waste=False)(standing)
        (True, False)
    """

    limit: int
    waste: bool = True

    def __post_init__(self) -> None:
        at_least_one(limit=self.limit)

    @property
    def timed(self) -> bool:  # type: ignore[override]
        return bool(self.waste)

    def __call__(self, standing: Standing) -> bool:
        spent = max(standing.tokens, standing.decoded) if self.waste else standing.tokens
        return spent >= self.limit

    def __repr__(self) -> str:
        return f"MaxTokens(limit={self.limit}{'' if self.waste else ', waste=False'})"


@dataclass(frozen=True)
class MaxSeconds(TerminationRule):
    """End `limit` seconds after the search began, whatever is under way then. Lossy.

    The tree depends on timing, and the result says so. A search that goes on from a checkpoint
    begins to count anew.

    Raises:
        SettingsError: `limit` is not above 0.

    Example:
        >>> MaxSeconds(60)(Standing(ballots=[], vote="best", remaining=None, tokens=0, seconds=61))
        True
    """

    limit: float
    eager = True
    timed = True

    def __post_init__(self) -> None:
        above_zero(limit=self.limit)

    def __call__(self, standing: Standing) -> bool:
        return standing.seconds >= self.limit

    def due(self, standing: Standing) -> float:
        return max(0.0, self.limit - standing.seconds)


@dataclass(frozen=True)
class Deadline(TerminationRule):
    """End at a moment, whatever is under way then. Lossy.

    The tree depends on timing, and the result says so.

    Attributes:
        at: With its time zone.

    Raises:
        SettingsError: `at` has no time zone.

    Example:
        >>> from datetime import UTC
        >>> rule = Deadline(datetime(2030, 1, 1, tzinfo=UTC))
        >>> rule(Standing(ballots=[], vote="best", remaining=None, tokens=0, time=2e9))
        True
    """

    at: datetime
    eager = True
    timed = True

    def __post_init__(self) -> None:
        if self.at.tzinfo is None:
            raise SettingsError(f"at={self.at!r}: must have a time zone, as datetime.now(UTC) has")

    def __call__(self, standing: Standing) -> bool:
        return standing.time >= self.at.timestamp()

    def due(self, standing: Standing) -> float:
        return max(0.0, self.at.timestamp() - standing.time)
