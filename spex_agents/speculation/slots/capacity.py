"""How many requests an engine takes at a time, and how many a minute."""

from __future__ import annotations

import math

QUEUED, FREED = 0.05, 0.5
"""Share of its decoding time that a request may wait for a slot, beyond twice the usual wait for a
first token of one that is alone (its prompt is read meanwhile); after that the engine is full.
Where few run, it is long until one ends: then the second figure, divided by how many run."""

GROWTH = 0.1
"""What a full engine is taken to hold more for each request at its limit that had not to queue."""

RESERVE = 0.25
"""Share of a minute's allowance that guesses leave to what will be demanded."""

DRAIN = 0.1
"""Share of it, one request besides, by which demanded work may be ahead where guesses begin."""


class Headroom:
    """How many requests an engine takes: one more for each that had not to queue.

    Attributes:
        requests: Beyond the demanded ones.
        full: In all: as many as ran when one had to queue. Slowly forgotten.
    """

    def __init__(self) -> None:
        self.requests = 16.0
        self.full = math.inf
        self._wait = math.inf
        self._alone: float | None = None

    def limit(self, demanded: int) -> float:
        return max(demanded + 1.0, min(demanded + self.requests, self.full))

    def learn(self, wait: float, seconds: float, load: int) -> None:
        """A request was the `load`-th in flight, waited for its slot, and was then decoded."""
        usual = self._wait if self._alone is None else self._alone
        queued = wait > 2 * usual + max(QUEUED, FREED / load) * seconds
        self._wait = min(wait, self._wait * 1.05)  # the shortest, slowly forgotten
        if load == 1 and queued:
            self._alone = 1.05 * usual
        elif load == 1:
            self._alone = wait if self._alone is None else 0.9 * self._alone + 0.1 * wait
        if queued:
            self.full = max(1.0, min(self.full, load - 1.0))
            return
        self.requests += 1
        if load >= self.full - 1:
            self.full = max(self.full + GROWTH, float(load))


class Allowance:
    """Requests and tokens that a provider still allows, as far as they are counted here.

    Both fill evenly, up to a minute's worth.

    Args:
        requests: A minute; None for no limit.
        tokens: A minute, of prompts and what is decoded; None for no limit.
    """

    def __init__(self, requests: float | None, tokens: float | None) -> None:
        self._limits = (requests or math.inf, tokens or math.inf)
        self._left = list(self._limits)
        self._owed = [0.0, 0.0]
        """What demanded work alone has taken, as far as it has not filled again."""
        self._filled = 0.0
        self._tokens = 0.0
        self._seen = 0.0

    @property
    def limited(self) -> bool:
        return min(self._limits) < math.inf

    def begin(self, now: float, *, demanded: bool) -> None:
        """A request is sent, which will take about as many tokens as others."""
        self._fill(now)
        self._take(1.0, self._mean)
        if demanded:
            self._owed[0] += 1
            self._owed[1] += self._mean

    def end(self, tokens: int) -> None:
        """It has taken so many."""
        self._take(0.0, tokens - self._mean)
        self._seen = self._seen * 0.98 + 1
        self._tokens = self._tokens * 0.98 + tokens

    def spare(self, now: float) -> bool:
        """Whether there is more left than should be kept for what will be demanded.

        There is not where demanded work alone uses it up faster than it fills: then whatever is
        begun early is waited for later.
        """
        if not self.limited:
            return True
        self._fill(now)
        costs = (1.0, self._mean)
        return all(
            left - cost >= RESERVE * limit and owed <= DRAIN * limit + cost
            for left, cost, owed, limit in zip(
                self._left, costs, self._owed, self._limits, strict=True
            )
            if limit < math.inf
        )

    def cost(self) -> float:
        """Seconds until what one more request takes has filled again."""
        requests, tokens = self._limits
        return max(60 / requests, 60 * self._mean / tokens)

    @property
    def _mean(self) -> float:
        return self._tokens / self._seen if self._seen else 0.0

    def _fill(self, now: float) -> None:
        for at, limit in enumerate(self._limits):
            if limit < math.inf:
                grown = max(0.0, now - self._filled) * limit / 60
                self._left[at] = min(limit, self._left[at] + grown)
                self._owed[at] = max(0.0, self._owed[at] - grown)
        self._filled = now

    def _take(self, requests: float, tokens: float) -> None:
        for at, taken in enumerate((requests, tokens)):
            if self._limits[at] < math.inf:
                self._left[at] -= taken
