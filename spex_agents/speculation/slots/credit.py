"""What the guesses of one search may cost it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from spex_agents.search.tree import Path

CREDIT = 0.002
"""Share of its time so far that a search may lose by guesses in vain."""

GRANT = 0.15
"""Share of the seconds of a thought that is written alone which it may lose to begin with."""

LENT = 0.25
"""Share of the seconds that guesses have saved it which they may cost it again."""

LENT_CALLS = 0.05
"""Likewise where a provider's allowance is taken: it may use up all that was saved."""

_KEEP = 0.98


@dataclass(slots=True, eq=False)
class Credit:
    """Bounds what guesses in vain cost: a little of a search's time, and part of what they save it.

    Attributes:
        opened: When the search began.
        lead: Seconds by which running ahead has made it sooner so far, about.
        stakes: Its guesses that may still be in vain.
        doubt: How many of them will be, in the mean.
        wasted: Tokens of guesses in vain that were decoded while somebody waited.
        calls: Guesses in vain.
        tokens: Seen and decoded by its pieces of work, with forgetting.
    """

    opened: float
    lead: float = 0.0
    stakes: set[Path] = field(default_factory=set)
    doubt: float = 0.0
    wasted: float = 0.0
    calls: int = 0
    tokens: tuple[float, float] = (0.0, 0.0)

    def begun(self, path: Path, probability: float) -> None:
        """A guess that will be demanded with this probability."""
        self.stakes.add(path)
        self.doubt += 1 - probability

    def settled(self, path: Path) -> None:
        """The guess at `path` is demanded, or given up."""
        self.stakes.discard(path)

    def weigh(self, probabilities: Mapping[Path, float]) -> None:
        """Its guesses are as probable as that now."""
        self.doubt = sum(1 - probabilities.get(path, 0.0) for path in self.stakes)

    def spent(self, tokens: float) -> None:
        """A guess has been given up, after so many tokens that somebody waited beside."""
        self.wasted += tokens
        self.calls += 1

    def done(self, tokens: int) -> None:
        """A piece of work has come to so many tokens."""
        seen, total = self.tokens
        self.tokens = seen * _KEEP + 1, total * _KEEP + tokens

    def affords(
        self, doubt: float, now: float, line: tuple[float, float], call: float, *, awaited: bool
    ) -> bool:
        """Whether one more guess may be in vain with probability `doubt`.

        Args:
            doubt: That.
            now: The time.
            line: Seconds of a step: those of no request, and what each adds.
            call: Seconds that a call in vain costs, of a provider's allowance.
            awaited: Whether somebody waits for the engine now.
        """
        if doubt <= 0:
            return True
        base, slope = line
        seen, total = self.tokens
        tokens = total / seen if seen else 1.0
        lead, doubts = max(0.0, self.lead), self.doubt + doubt
        earned = CREDIT * (now - self.opened) + GRANT * tokens * (base + slope)
        cost = slope * (self.wasted + (doubts * tokens if awaited else 0.0))
        return cost <= earned + LENT * lead and (
            call * (doubts + self.calls) <= earned + LENT_CALLS * lead
        )
