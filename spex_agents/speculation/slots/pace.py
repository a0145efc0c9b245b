"""How fast work goes with so much of it in flight, learnt while it runs."""

from __future__ import annotations

import math
from typing import NamedTuple

STEEP = 2.5
"""What one more request adds to an engine's step, in parts of its fixed time, until it is known."""

DOUBT = 0.25
"""How much that counts, beside the sum of squares by which the loads seen so far differ."""

KNOWN = 1.0
"""Such a sum, from which on the line is known."""

LASTING = 0.9
"""What the times seen so far in which nobody waited count for after one more."""


class StepTime:
    """Seconds a token takes with n requests in flight: a line, fitted online with forgetting.

    Args:
        steep: How steep it is taken to be as long as nothing is known, in parts of its intercept.
    """

    def __init__(self, steep: float = STEEP) -> None:
        self.steep = steep
        self._n = self._x = self._y = self._xx = self._xy = 0.0

    def learn(self, load: float, seconds: float) -> None:
        """A request has taken so many seconds a token, at a mean load of `load` requests."""
        keep = 0.995
        self._n = self._n * keep + 1
        self._x = self._x * keep + load
        self._y = self._y * keep + seconds
        self._xx = self._xx * keep + load * load
        self._xy = self._xy * keep + load * seconds

    @property
    def spread(self) -> float:
        """The sum of squares by which the loads seen so far differ."""
        return max(0.0, self._xx - self._x * self._x / self._n) if self._n else 0.0

    def line(self) -> tuple[float, float] | None:
        """Intercept and slope (both in seconds, at least 0), or None where nothing is known.

        As long as the loads hardly differ, the line is as steep as told through what was seen.
        """
        if not self._n:
            return None
        load, seconds = self._x / self._n, self._y / self._n
        steep = self.steep * seconds / (1 + self.steep * load)
        slope = (self._xy - self._x * seconds + DOUBT * steep) / (self.spread + DOUBT)
        slope = min(max(0.0, slope), seconds / max(load, 1e-9))
        return max(1e-9, seconds - slope * load), slope


class Mark(NamedTuple):
    """How far the work was at some moment.

    Steps are told in the seconds that they would take a request that is alone: that does not change
    as much as a line of which little is known.
    """

    time: float
    steps: float
    loads: float
    demanded: float
    awaited: float


class Pace:
    """Follows how much is in flight, and how fast it goes.

    A mean load counts each step once, not each second: a step beside many others lasts longer, and
    would tell of itself too loudly.

    Args:
        slots: Requests that run at a time; others wait.
        steep: What one more adds to a step, in parts of its fixed time, as long as nothing is
            known.

    Attributes:
        load: Requests in flight.
        demanded: Those of them that a search waits for.
        times: Learns how long a step takes.
    """

    def __init__(self, slots: float = math.inf, steep: float = STEEP) -> None:
        self.load = 0
        self.slots = slots
        self.demanded = 0
        self.times = StepTime(steep)
        self._time = self._steps = self._loads = self._demanded = self._awaited = 0.0
        self._idle: float | None = None
        self._idled = (0.0, 0.0)

    def change(self, now: float, load: int, demanded: int) -> None:
        """From now on so many more are in flight."""
        self.mark(now)
        before, self.demanded = self.demanded, self.demanded + demanded
        self.load += load
        if before and not self.demanded:
            self._idle = now
        elif self.demanded and self._idle is not None:
            passed, (total, squares) = now - self._idle, self._idled
            self._idled = LASTING * total + passed, LASTING * squares + passed * passed
            self._idle = None

    def idle(self, now: float) -> float:
        """Seconds until somebody will probably wait for the engine, as nobody does now.

        The longer times count for more, each by its length: what begins in one is more likely to
        begin in a long one.
        """
        total, squares = self._idled
        if self._idle is None or not total:
            return 0.0
        return max(0.0, self._idle + squares / total - now)

    def mark(self, now: float) -> Mark:
        passed = now - self._time
        self._time = now
        if passed > 0 and self.load:
            load = min(self.load, self.slots)
            base, slope = self.line()
            step = (base + slope * load) / (base + slope)
            self._steps += passed / step
            self._loads += load * passed / step
            self._demanded += self.demanded * passed
            self._awaited += passed if self.demanded else 0.0
        return Mark(now, self._steps, self._loads, self._demanded, self._awaited)

    def load_since(self, mark: Mark, now: float) -> float:
        """The mean load of the steps since then."""
        new = self.mark(now)
        steps = new.steps - mark.steps
        return (new.loads - mark.loads) / steps if steps else min(self.load, self.slots)

    def demanded_since(self, mark: Mark, now: float) -> float:
        """The mean number of demanded requests in flight since then."""
        passed = now - mark.time
        return (self.mark(now).demanded - mark.demanded) / passed if passed > 0 else 0.0

    def awaited_since(self, mark: Mark, now: float) -> float:
        """The share of the time since then in which somebody waited for the engine."""
        passed = now - mark.time
        return (self.mark(now).awaited - mark.awaited) / passed if passed > 0 else 1.0

    def slower(self, share: float) -> float:
        """The load at which a step takes 1 + `share` times as long as with demanded work alone."""
        line = self.times.line()
        if line is None or line[1] == 0:
            return math.inf
        base, slope = line
        return self.demanded + share * (base / slope + self.demanded)

    def least(self, useful: float, load: float) -> float:
        """The probability from which on one more request contributes more than it slows others.

        With (a + b n) seconds for a step of n requests, of which U are useful, one more that is
        useful with probability p raises the throughput if (U + p) / (a + b (n + 1)) is more than
        U / (a + b n): if p > U b / (a + b n).

        Where nobody waits for the engine, nobody is slowed.

        Args:
            useful: The expected number of useful requests in flight, without it.
            load: Those in flight, without it.
        """
        if not self.demanded:
            return 0.0
        base, slope = self.line()
        return useful * slope / (base + slope * load)

    def pays(self, shortens: float, urgent: float) -> float:
        """The probability from which on a guess saves its own search more than it costs.

        A token in vain costs b seconds, one of use saves a part s of the fixed time a: it has to be
        that p s a > (1 - p) b.

        Args:
            shortens: That part.
            urgent: How probable it is that somebody waits for what is delayed.
        """
        base, slope = self.line()
        cost = urgent * slope
        return cost / (cost + shortens * base) if cost else 0.0

    def line(self) -> tuple[float, float]:
        """Seconds of a step: those of no request, and what each adds.

        Where nothing is known one that needs no unit to be compared with.
        """
        return self.times.line() or (1.0, self.times.steep)

    @property
    def known(self) -> bool:
        """Whether that has been seen at several loads."""
        return self.times.spread >= KNOWN
