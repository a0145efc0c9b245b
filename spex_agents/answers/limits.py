"""Limits on what a search takes, in tokens, dollars or time: rules that end it there."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from datetime import datetime

from spex_agents.answers.standing import Standing
from spex_agents.answers.termination import TerminationRule
from spex_agents.errors import SettingsError, above_zero, at_least_one, at_least_zero


@dataclass(frozen=True)
class MaxTokens(TerminationRule):
    """End once `limit` tokens or more have been decoded. Lossy.

    Everything counts that was decoded for the search: thoughts, rewards, and what ran ahead and was
    not used; but no prompt (`Standing.sent`). How much is wasted depends on timing, and so do the
    decision after which the search ends and its tree; the result says so. With ``waste=False`` the
    tokens of the committed thoughts count, and nothing else: the tree then depends on the seed
    alone, as ever. Asked between two decisions, so a decision may exceed it; guesses are begun only
    within it, whichever counts.

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
    cost = True

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
class MaxDollars(TerminationRule):
    """End once `limit` dollars or more have been spent. Lossy.

    As `MaxTokens`, with the prompts of all calls, cached ones at their full price. It is the limit
    of one search, whose earlier runs count where it goes on from a checkpoint.

    Attributes:
        limit: Dollars.
        sent: Dollars for a million tokens of prompts.
        written: Dollars for a million tokens that are decoded, reasoning included.

    Raises:
        SettingsError: `limit` or `written` is not above 0, or `sent` is negative.

    Example:
        >>> rule = MaxDollars(0.01, sent=0.25, written=2.00)
        >>> now = {"ballots": [], "vote": "best", "remaining": None, "tokens": 900}
        >>> [rule(Standing(**now, decoded=4_000, sent=sent)) for sent in (7_000, 8_000)]
        [False, True]
    """

    limit: float
    _: KW_ONLY
    sent: float
    written: float
    timed = True
    cost = True

    def __post_init__(self) -> None:
        above_zero(limit=self.limit, written=self.written)
        at_least_zero(sent=self.sent)

    def __call__(self, standing: Standing) -> bool:
        spent = self.sent * standing.sent + self.written * standing.decoded
        return spent / 1e6 >= self.limit


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
