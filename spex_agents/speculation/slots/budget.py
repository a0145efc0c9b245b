"""How many speculative thoughts may run, and whose (technique 2).

One budget is shared by all searches that use the same engine. Demanded work is never held back;
what it leaves of the capacity goes to the speculative thoughts of the largest benefit.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from functools import partial
from typing import Literal, TypeAlias
from weakref import WeakKeyDictionary, ref

from spex_agents.engines.base import Engine, Request
from spex_agents.errors import SettingsError, above_zero, at_least_zero
from spex_agents.loops import PerLoop
from spex_agents.search.tree import Path
from spex_agents.speculation.slots.capacity import Headroom, StepTime
from spex_agents.speculation.slots.turns import (
    Flight,
    Offers,
    Search,
    Searcher,
    Share,
    Turns,
    softmax_quotas,
)

Allocation: TypeAlias = Literal["benefit", "paper"]

UNIT = 1 << 60
"""Probabilities are summed as whole multiples of its inverse: a sum that is kept does not drift."""


class Budget:
    """Shares the slots that demanded work leaves free.

    Slots go to the offers with the largest benefit per cost. Thoughts of one engine cost about the
    same (their prefixes are shared), and save about their own time if they are demanded, so that
    ratio is the probability of being demanded, divided by how much the search has running already,
    or all searches of its share, if it has one.
    An offer that would slow the others by more than it is expected to contribute is refused: with
    a line a + b n for the time of a step, one more request is worth it if
    p > (expected useful requests in flight) * b / (a + b n).

    Sums over all that is in flight are kept, not taken anew, so an offer costs the same with
    hundreds of searches as with one; but "paper" weighs all offers each time.

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
        at_least_zero(slowdown=slowdown)
        if allocation not in ("benefit", "paper"):
            raise SettingsError(f"allocation={allocation!r}: must be 'benefit' or 'paper'")
        above_zero(temperature=temperature)
        self.capacity = capacity
        self.slowdown = slowdown
        self.allocation = allocation
        self.temperature = temperature
        self.step_time = StepTime()
        self._headroom = Headroom()
        self._turns = Turns()
        self._searches: dict[Searcher, Search] = {}
        self._flights: dict[str, Flight] = {}
        self._guesses: dict[str, Flight] = {}
        self._leaving = 0
        self._useful = 0
        same = partial(
            Budget, capacity, slowdown=slowdown, allocation=allocation, temperature=temperature
        )
        self.here = PerLoop(same, self)
        """Itself in one event loop, one of the same settings in each other: it calls back into
        searches, which must happen in their loop."""

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    @property
    def demanded(self) -> int:
        """Requests in flight that a search waits for."""
        return len(self._flights) - len(self._guesses)

    def begin(
        self, searcher: Searcher, path: Path, request: Request, probability: float = 1.0
    ) -> None:
        """A thought begins; a demanded one may push a speculative one out."""
        now = asyncio.get_running_loop().time()
        search = self._search(searcher)
        flight = Flight(search, path, request, now, len(self._flights) + 1, probability)
        self._flights[request.id] = search.flights[request.id] = flight
        if request.demanded:
            self._useful += UNIT
            self._make_room()
        else:
            self._useful += _units(probability)
            self._guesses[request.id] = flight
            self._turns.count(search, 1)

    def restart(self, request: Request) -> None:
        """A thought has waited for others of its search until now, which was no sign of a queue."""
        self._flights[request.id].begun = asyncio.get_running_loop().time()

    def promote(self, request: Request) -> None:
        """A speculative thought is demanded from now on."""
        flight = self._guesses.pop(request.id)
        self._useful += UNIT - _units(flight.probability)
        self._turns.count(flight.search, -1)

    def retracting(self, request: Request) -> None:
        """A speculative thought is being cancelled: it counts no longer."""
        self._flights[request.id].leaving = True
        self._leaving += 1

    def end(self, request: Request) -> None:
        """A thought has ended, whichever way; its slot is free."""
        flight = self._flights.pop(request.id)
        search = flight.search
        del search.flights[request.id]
        self._leaving -= flight.leaving
        if self._guesses.pop(request.id, None) is None:
            self._useful -= UNIT
        else:
            self._useful -= _units(flight.probability)
            self._turns.count(search, -1)
        self._forget(search)
        if request.tokens and not flight.leaving:
            began = flight.begun if request.started is None else request.started
            seconds = asyncio.get_running_loop().time() - began
            load = (flight.load + len(self._flights) + 1) / 2
            self.step_time.learn(load, seconds / request.tokens)
            self._headroom.learn(began - flight.begun, seconds)
        self._allocate()

    def offer(
        self, searcher: Searcher, probabilities: Mapping[Path, float], *, share: str | None = None
    ) -> None:
        """What `searcher` would like to have under way, with the probability of each path."""
        search = self._search(searcher)
        if share is not None:
            self._turns.join(search, share)
        flying = set()
        for name, flight in search.flights.items():
            if not flight.leaving:
                flying.add(flight.path)
                before, flight.probability = flight.probability, probabilities.get(flight.path, 1.0)
                if name in self._guesses:
                    self._useful += _units(flight.probability) - _units(before)
        offers: Offers = [
            (value, path) for path, value in probabilities.items() if path not in flying
        ]
        offers.sort(key=lambda offer: (offer[0], [-index for index in offer[1]]))
        self._turns.offer(search, offers)
        self._allocate()

    def leave(self, searcher: Searcher) -> None:
        """The search begins nothing more."""
        if (search := self._searches.get(searcher)) is not None:
            self._turns.leave(search)
            self._forget(search)

    def limit(self, searcher: Searcher) -> float:
        """Requests that may be in flight now, a guess of `searcher` and demanded ones included."""
        if self.capacity is not None:
            return self.capacity
        headroom, line = self._headroom.requests, self.step_time.line()
        if line is None or line[1] == 0 or self._searches.keys() <= {searcher}:
            return self.demanded + headroom
        base, slope = line
        # The load at which a step takes (1 + slowdown) times as long as with demanded work alone.
        return self.demanded + min(headroom, self.slowdown * (base / slope + self.demanded))

    def _search(self, searcher: Searcher) -> Search:
        if (search := self._searches.get(searcher)) is None:
            search = self._searches[searcher] = Search(searcher, Share())
        return search

    def _forget(self, search: Search) -> None:
        """Count `search` no more, once it neither runs nor offers anything."""
        if not search.flights and search.number is None:
            del self._searches[search.searcher]

    def _make_room(self) -> None:
        staying = len(self._flights) - self._leaving
        guesses = [guess for guess in self._guesses.values() if not guess.leaving]
        for guess in sorted(guesses, key=lambda guess: (guess.probability, guess.path)):
            if staying <= self.limit(guess.search.searcher):
                return
            guess.search.searcher.retract(guess.path)
            staying -= 1

    def _allocate(self) -> None:
        """Begin the offers of the largest benefit, as long as there is room."""
        quotas = self._quotas() if self.allocation == "paper" else None
        spent: list[tuple[Search, Offers]] = []
        while (search := self._turns.next(self._least())) is not None:
            if self.limit(search.searcher) - len(self._flights) < 1:
                break  # all searches have the same limit here: one that is alone has no rival
            if quotas is not None and search.guesses >= quotas[search]:
                spent.append((search, search.offers))
                self._turns.offer(search, [])
                continue
            probability, path = self._turns.take(search)
            search.searcher.launch(path, probability)
        for search, offers in spent:
            self._turns.offer(search, offers)

    def _quotas(self) -> dict[Search, float]:
        searches = [search for search in self._searches.values() if search.offers]
        searches.sort(key=lambda search: search.number or 0)
        slots = self.limit(searches[0].searcher) - self.demanded if searches else 0
        return softmax_quotas(searches, slots, self.temperature)

    def _least(self) -> float:
        """The probability from which on one more request contributes more than it slows others."""
        if (line := self.step_time.line()) is None:
            return -math.inf
        base, slope = line
        return self._useful / UNIT * slope / (base + slope * (len(self._flights) + 1))


def _units(probability: float) -> int:
    return round(probability * UNIT)


_budgets: WeakKeyDictionary[Engine, PerLoop[Budget]] = WeakKeyDictionary()


def budget_of(engine: Engine) -> Budget:
    """The budget that all searches of this loop share on `engine`, as wide as that if it says so.

    Searches in several loops do not count each other.
    """
    try:
        known = ref(engine)
        return _budgets.setdefault(engine, PerLoop(partial(_wide_as, known)))()
    except TypeError:  # an engine that cannot be a key shares nothing
        return Budget(engine.features.slots)


def _wide_as(known: ref[Engine]) -> Budget:
    engine = known()
    return Budget(None if engine is None else engine.features.slots)
