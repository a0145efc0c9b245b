"""How many requests an engine takes at a time, found while it works."""

from __future__ import annotations

import math

QUEUED = 0.05
"""Share of its decoding time that a request may wait for a slot, beyond twice the usual wait for a
first token (its prompt is read meanwhile); after that the engine is full."""


class StepTime:
    """Seconds a token takes with n requests in flight: a line, fitted online with forgetting."""

    def __init__(self) -> None:
        self._n = self._x = self._y = self._xx = self._xy = 0.0

    def learn(self, load: float, seconds: float) -> None:
        keep = 0.995
        self._n = self._n * keep + 1
        self._x = self._x * keep + load
        self._y = self._y * keep + seconds
        self._xx = self._xx * keep + load * load
        self._xy = self._xy * keep + load * seconds

    def line(self) -> tuple[float, float] | None:
        """Intercept and slope (both in seconds, at least 0), or None while too little is known."""
        spread = self._n * self._xx - self._x * self._x
        if self._n < 8 or spread < self._n * self._n * 0.25:
            return None
        slope = max(0.0, (self._n * self._xy - self._x * self._y) / spread)
        return max(1e-9, (self._y - slope * self._x) / self._n), slope


class Headroom:
    """Requests that an engine takes beyond the demanded ones: more until one has to queue."""

    def __init__(self) -> None:
        self.requests = 16.0
        self._wait = math.inf

    def learn(self, wait: float, seconds: float) -> None:
        """A request has waited for its slot, and was then decoded for so many seconds."""
        # Whoever had to wait for a slot has met a full engine: more would queue before others.
        queued = wait > 2 * self._wait + QUEUED * seconds
        self.requests = max(1.0, self.requests / 2) if queued else self.requests + 1
        self._wait = min(wait, self._wait * 1.05)  # the shortest, slowly forgotten
