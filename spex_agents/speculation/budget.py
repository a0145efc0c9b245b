"""How many speculative thoughts may run, and whose (technique 2).

One budget is shared by all searches that use the same engine. Demanded work is never held back;
what it leaves of the capacity goes to the speculative thoughts that are most worth it.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias
from weakref import WeakKeyDictionary

from spex_agents.engines.base import Engine, Request
from spex_agents.errors import SettingsError
from spex_agents.search.tree import Path
from spex_agents.speculation.prediction import Prediction

FAIR = 16
"""Speculative thoughts of one search after which its next one counts half."""

QUEUED = 0.05
"""Share of its decoding time that a request may wait for a slot, beyond twice the usual wait for a
first token (its prompt is read meanwhile); after that the engine is full."""

Allocation: TypeAlias = Literal["benefit", "paper"]


class Searcher(Protocol):
    """A search, as its budget sees it."""

    def launch(self, path: Path, worth: float) -> None: ...
    def retract(self, path: Path) -> None: ...


Offers: TypeAlias = list[tuple[float, Path]]
"""Paths a search would like to begin, each with its probability; the best one last."""


@dataclass(slots=True)
class _Flight:
    searcher: Searcher
    path: Path
    request: Request
    begun: float
    load: int
    worth: float
    leaving: bool = False


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


class Budget:
    """Shares the slots that demanded work leaves free.

    Slots go to the offers with the largest benefit per cost. Thoughts of one engine cost about the
    same (their prefixes are shared), and save about their own time if they are demanded, so that
    ratio is the probability of being demanded, divided by how much the search has running already,
    or all searches of its share, if it has one.
    An offer that would slow the others by more than it is expected to contribute is refused: with
    a line a + b n for the time of a step, one more request is worth it if
    p > (expected useful requests in flight) * b / (a + b n).

    Attributes:
        capacity: Requests in flight at which the engine is full (the roofline ridge); None to find
            it online.
        slowdown: With `capacity` None: the demanded work of one search may be slowed by this share
            for the speculation of others. What slows only its own search is a matter of benefit.
        allocation: "benefit" as above, or "paper" for SPEX's softmax over the searches.
        temperature: tau of that softmax.

    Raises:
        SettingsError: A value is outside its range.
    """

    def __init__(
        self,
        capacity: int | None = None,
        *,
        slowdown: float = 0.05,
        allocation: Allocation = "benefit",
        temperature: float = 1.0,
    ) -> None:
        if capacity is not None and capacity < 1:
            raise SettingsError(f"capacity={capacity!r}: must be at least 1, or None to find it")
        if not slowdown >= 0:
            raise SettingsError(f"slowdown={slowdown!r}: must be at least 0")
        if allocation not in ("benefit", "paper"):
            raise SettingsError(f"allocation={allocation!r}: must be 'benefit' or 'paper'")
        if not temperature > 0:
            raise SettingsError(f"temperature={temperature!r}: must be above 0")
        self.capacity = capacity
        self.slowdown = slowdown
        self.allocation = allocation
        self.temperature = temperature
        self.prediction = Prediction()
        self.step_time = StepTime()
        self._headroom = 16.0
        self._wait = math.inf
        self._flights: dict[str, _Flight] = {}
        self._offers: dict[Searcher, Offers] = {}
        self._shares: dict[Searcher, str] = {}

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    def begin(self, searcher: Searcher, path: Path, request: Request, worth: float = 1.0) -> None:
        """A thought begins; a demanded one may push a speculative one out."""
        now = asyncio.get_running_loop().time()
        load = len(self._flights) + 1
        self._flights[request.id] = _Flight(searcher, path, request, now, load, worth)
        if request.demanded:
            self._make_room()

    def restart(self, request: Request) -> None:
        """A thought has waited for others of its search until now, which was no sign of a queue."""
        self._flights[request.id].begun = asyncio.get_running_loop().time()

    def end(self, request: Request) -> None:
        """A thought has ended, whichever way; its slot is free."""
        flight = self._flights.pop(request.id)
        if request.tokens and not flight.leaving:
            began = flight.begun if request.started is None else request.started
            seconds = asyncio.get_running_loop().time() - began
            load = (flight.load + len(self._flights) + 1) / 2
            self.step_time.learn(load, seconds / request.tokens)
            # Whoever had to wait for a slot has met a full engine: more would queue before others.
            wait = began - flight.begun
            queued = wait > 2 * self._wait + QUEUED * seconds
            self._headroom = max(1.0, self._headroom / 2) if queued else self._headroom + 1
            self._wait = min(wait, self._wait * 1.05)  # the shortest, slowly forgotten
        self._allocate()

    def offer(
        self, searcher: Searcher, worth: Mapping[Path, float], *, share: str | None = None
    ) -> None:
        """What `searcher` would like to have under way, with the probability of each path."""
        if share is not None:
            self._shares[searcher] = share
        flying = set()
        for flight in self._flights.values():
            if flight.searcher is searcher and not flight.leaving:
                flight.worth = worth.get(flight.path, 1.0)
                flying.add(flight.path)
        self._offers[searcher] = sorted(
            ((value, path) for path, value in worth.items() if path not in flying),
            key=lambda offer: (offer[0], [-index for index in offer[1]]),
        )
        self._allocate()

    def retracting(self, request: Request) -> None:
        """A speculative thought is being cancelled: it counts no longer."""
        self._flights[request.id].leaving = True

    def leave(self, searcher: Searcher) -> None:
        """The search begins nothing more."""
        self._offers.pop(searcher, None)
        self._shares.pop(searcher, None)

    def limit(self, searcher: Searcher) -> float:
        """Requests that may be in flight now, a guess of `searcher` and demanded ones included."""
        if self.capacity is not None:
            return self.capacity
        demanded = sum(flight.request.demanded for flight in self._flights.values())
        line = self.step_time.line()
        if line is None or line[1] == 0 or self._alone(searcher):
            return demanded + self._headroom
        base, slope = line
        # The load at which a step takes (1 + slowdown) times as long as with demanded work alone.
        return demanded + min(self._headroom, self.slowdown * (base / slope + demanded))

    def _alone(self, searcher: Searcher) -> bool:
        others = {flight.searcher for flight in self._flights.values()} | self._offers.keys()
        return others <= {searcher}

    def _make_room(self) -> None:
        staying = sum(not flight.leaving for flight in self._flights.values())
        speculative = sorted(
            (
                flight
                for flight in self._flights.values()
                if not flight.request.demanded and not flight.leaving
            ),
            key=lambda flight: (flight.worth, flight.path),
        )
        for flight in speculative:
            if staying <= self.limit(flight.searcher):
                return
            flight.searcher.retract(flight.path)
            staying -= 1

    def _allocate(self) -> None:
        """Begin the offers most worth it, as long as there is room."""
        if not any(self._offers.values()):
            return
        useful = 0.0
        running: Counter[Searcher] = Counter()
        shared: Counter[Searcher | str] = Counter()
        for flight in self._flights.values():
            useful += 1.0 if flight.request.demanded else flight.worth
            if not flight.request.demanded:
                running[flight.searcher] += 1
                shared[self._share(flight.searcher)] += 1
        quota = self._quotas() if self.allocation == "paper" else None
        line = self.step_time.line()
        order = [
            (self._rank(offers, shared[self._share(searcher)]), index, searcher)
            for index, (searcher, offers) in enumerate(self._offers.items())
            if offers
        ]
        heapq.heapify(order)
        while order:
            rank, index, searcher = heapq.heappop(order)
            own = self._share(searcher)
            if (now := self._rank(self._offers[searcher], shared[own])) > rank:
                heapq.heappush(order, (now, index, searcher))  # another of its share came first
                continue
            if self.limit(searcher) - len(self._flights) < 1:
                return  # all searches have the same limit here: one that is alone has no rival
            offers = self._offers[searcher]
            worth, path = offers[-1]
            if quota is not None and running[searcher] >= quota[searcher]:
                continue
            if line is not None:
                base, slope = line
                if worth <= useful * slope / (base + slope * (len(self._flights) + 1)):
                    continue
            offers.pop()
            searcher.launch(path, worth)
            useful += worth
            running[searcher] += 1
            shared[own] += 1
            if offers:
                heapq.heappush(order, (self._rank(offers, shared[own]), index, searcher))

    def _share(self, searcher: Searcher) -> Searcher | str:
        """Whom its guesses are counted for: itself, unless it has a share with others."""
        return self._shares.get(searcher, searcher)

    def _rank(self, offers: Offers, running: int) -> float:
        """Where the best of `offers` stands in line; lower goes first.

        What a share has running already makes more of it less urgent, so that none starves.
        """
        return -offers[-1][0] / (1 + running / FAIR)

    def _quotas(self) -> dict[Searcher, float]:
        """SPEX's split: softmax(U / tau) of the speculative slots over the searches.

        The paper names what U grows with, not its form. Here U = P * ln(1 + C) + S_KV, with C the
        offers of a search, P their mean probability, S_KV the share of a path that is reusable
        prefix; the bytes of weights amortised, S_w, are the same for all searches of an engine and
        cancel.
        """
        demanded = sum(flight.request.demanded for flight in self._flights.values())
        slots = self.limit(next(iter(self._offers))) - demanded
        utility = {}
        for searcher, offers in self._offers.items():
            if offers:
                mean = sum(worth for worth, _ in offers) / len(offers)
                prefix = sum(1 - 1 / len(path) for _, path in offers) / len(offers)
                utility[searcher] = mean * math.log1p(len(offers)) + prefix
        highest = max(utility.values(), default=0.0)
        weights = {
            searcher: math.exp((value - highest) / self.temperature)
            for searcher, value in utility.items()
        }
        total = sum(weights.values())
        return {searcher: slots * weight / total for searcher, weight in weights.items()}


_budgets: WeakKeyDictionary[Engine, Budget] = WeakKeyDictionary()


def budget_of(engine: Engine) -> Budget:
    """The budget that all searches on `engine` share, as wide as the engine if that says so."""
    try:
        known = _budgets.get(engine)
    except TypeError:  # an engine that cannot be a key shares nothing
        return Budget(engine.features.slots)
    if known is None:
        known = _budgets[engine] = Budget(engine.features.slots)
    return known
