"""What the guesses of one search may cost it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from spex_agents.search.tree import Path

CREDIT, CREDIT_CALLS = 0.001, 0.002
"""Share of its time so far that a search may lose by guesses in vain: by their tokens, and by what
their calls take of a provider's allowance."""

GRANT, GRANT_CALLS = 0.02, 0.15
"""Share of the seconds of a thought that is written alone which it may lose to begin with; the
larger one also by tokens, as long as nothing is known of how one request slows others: try it."""

LENT, LENT_CALLS = 0.15, 0.05
"""Share of the seconds that guesses have saved it, and of those that its guesses will save it in
the mean, which they may cost it again; of calls what has been saved only."""

MARGIN = 0.1
"""By so much a probability that is not certain may be wrong, and those of all guesses at once."""

_LASTING = 0.98
"""What the work seen so far counts for after one more."""


@dataclass(slots=True, eq=False)
class Credit:
    """Bounds what guesses in vain cost: a little of a search's time, and part of what they save it.

    Attributes:
        opened: When the search began.
        at_a_time: Calls that a piece of its work makes at a time.
        lead: Seconds by which running ahead has made it sooner so far, about.
        stakes: How likely each of its guesses is in vain, as far as it may still be.
        wasted: Tokens of guesses in vain that were decoded while somebody waited, since `lead` was
            measured.
        calls: Guesses in vain.
        tokens: Seen and decoded by the calls of its pieces of work, with forgetting.
    """

    opened: float
    at_a_time: int = 1
    lead: float = 0.0
    stakes: dict[Path, float] = field(default_factory=dict)
    wasted: float = 0.0
    calls: int = 0
    tokens: tuple[float, float] = (0.0, 0.0)

    def begun(self, path: Path, probability: float) -> None:
        """A guess that will be demanded with this probability."""
        self.stakes[path] = 1 - probability

    def settled(self, path: Path) -> None:
        """The guess at `path` is demanded, or given up."""
        self.stakes.pop(path, None)

    def weigh(self, probabilities: Mapping[Path, float]) -> None:
        """Its guesses are as probable as that now."""
        self.stakes = {path: 1 - probabilities.get(path, 0.0) for path in self.stakes}

    def told(self, lead: float) -> None:
        """So far ahead is the search: what its guesses have cost it is in that."""
        self.lead, self.wasted = lead, 0.0

    def spent(self, tokens: float) -> None:
        """A guess has been given up, after so many tokens that somebody waited beside."""
        self.wasted += tokens
        self.calls += 1

    def done(self, tokens: int) -> None:
        """A piece of work has come to so many tokens, of all its calls."""
        seen, total = self.tokens
        self.tokens = seen * _LASTING + 1, total * _LASTING + tokens / self.at_a_time

    @property
    def usual(self) -> float:
        """Tokens of one call."""
        seen, total = self.tokens
        return total / seen if seen else 1.0

    def left(self, tokens: float) -> float:
        """The share that is still to come of work whose calls have come to so many tokens each."""
        seen, total = self.tokens
        return max(0.0, 1 - tokens * seen / total) if total else 1.0

    def affords(
        self,
        doubt: float,
        now: float,
        line: tuple[float, float],
        call: float,
        *,
        known: bool,
        urgent: float,
        shortens: float,
    ) -> bool:
        """Whether one more guess may be in vain with probability `doubt`.

        Args:
            doubt: That.
            now: The time.
            line: Seconds of a step: those of no request, and what each adds.
            call: Seconds that a call in vain costs, of a provider's allowance.
            known: Whether that line has been seen.
            urgent: How probable it is that somebody waits for what is delayed now.
            shortens: Steps by which a token of a guess that comes true makes the search shorter.
        """
        base, slope = line
        calls, tokens = self.at_a_time, self.usual
        stakes = (*self.stakes.values(), doubt)
        doubts = sum(min(1.0, stake + MARGIN) for stake in stakes if stake)
        hoped = (len(stakes) - doubts) * calls * tokens * shortens * base
        lead, age, alone = max(0.0, self.lead), now - self.opened, tokens * (base + slope)
        cost = slope * (self.wasted + urgent * doubts * calls * tokens)
        grant = GRANT if known else GRANT_CALLS
        return cost <= CREDIT * age + grant * alone + LENT * (lead + hoped) and (
            call * calls * (sum(stakes) + self.calls)
            <= CREDIT_CALLS * age + GRANT_CALLS * alone + LENT_CALLS * lead
        )
