"""When a search may end before its policy does: rules over one standing, composed with | and &."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spex_agents.answers.votes import Ballot, Vote, tally
from spex_agents.errors import at_least_one, at_least_zero


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a search stands between two decisions: committed leaves only, whatever runs ahead.

    Attributes:
        ballots: The votes of the leaves so far, in the order of their commitment.
        vote: How they are counted.
        remaining: At most how many more leaves will vote, or None where the policy cannot say.
        tokens: Tokens of the committed thoughts.
    """

    ballots: Sequence[Ballot]
    vote: Vote
    remaining: int | None
    tokens: int

    def leaders(self) -> tuple[tuple[str, float], tuple[str, float]] | None:
        """The two leading answers and their scores (the second may be nobody, with 0)."""
        scores = sorted(tally(self.ballots, self.vote).items(), key=lambda item: -item[1])
        return (scores[0], scores[1] if len(scores) > 1 else ("", 0.0)) if scores else None


class Stop:
    """A rule that may end a search; subclass it and write `__call__`.

    Attributes:
        lossy: Whether the answer may differ from that of the whole search.

    Example:
        >>> rule = MarginStop(alpha=0.5, min_answers=4) | MaxTokens(2000)
        >>> rule.lossy, str(rule)
        (True, 'MarginStop(alpha=0.5, min_answers=4) | MaxTokens(limit=2000)')
    """

    lossy: bool = True

    def __call__(self, standing: Standing) -> bool:
        raise NotImplementedError

    def __or__(self, other: Stop) -> Stop:
        return _Any(self, other)

    def __and__(self, other: Stop) -> Stop:
        return _All(self, other)


@dataclass(frozen=True)
class _Any(Stop):
    one: Stop
    other: Stop

    @property
    def lossy(self) -> bool:  # type: ignore[override]
        return self.one.lossy or self.other.lossy

    def __call__(self, standing: Standing) -> bool:
        return self.one(standing) or self.other(standing)

    def __str__(self) -> str:
        return f"{self.one} | {self.other}"


@dataclass(frozen=True)
class _All(Stop):
    one: Stop
    other: Stop

    @property
    def lossy(self) -> bool:  # type: ignore[override]
        return self.one.lossy and self.other.lossy

    def __call__(self, standing: Standing) -> bool:
        return self.one(standing) and self.other(standing)

    def __str__(self) -> str:
        return f"({self.one} & {self.other})"


_ROUNDING = 1e-9
"""More than adding rewards can be off by rounding: a lead this small may still become a tie."""


@dataclass(frozen=True)
class ExactStop(Stop):
    """Stop once the winner cannot change, whatever the remaining leaves say: lossless.

    A remaining leaf adds at most 1 to an answer: one vote, or a reward of at most 1. Under
    ``vote="best"`` only a leader with the reward 1 is out of reach.
    """

    lossy = False

    def __call__(self, standing: Standing) -> bool:
        if (leaders := standing.leaders()) is None or standing.remaining is None:
            return False
        (_, first), (_, second) = leaders
        if standing.vote == "best":
            return first >= 1
        return first - second > standing.remaining + _ROUNDING


@dataclass(frozen=True)
class MarginStop(Stop):
    """The rule of SPEX: stop once the runner-up is unlikely to catch up. Lossy.

    Stops when at least `min_answers` leaves have voted and
    first - second > alpha * remaining * (mean reward of the runner-up's leaves).

    Attributes:
        alpha: Which share of the remaining leaves the runner-up is thought to win.
        min_answers: Votes needed before the rule applies.

    Raises:
        SettingsError: `alpha` is negative or `min_answers` is below 1.
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
class MaxTokens(Stop):
    """Stop once the committed thoughts hold `limit` tokens or more. Lossy.

    Raises:
        SettingsError: `limit` is below 1.
    """

    limit: int

    def __post_init__(self) -> None:
        at_least_one(limit=self.limit)

    def __call__(self, standing: Standing) -> bool:
        return standing.tokens >= self.limit
