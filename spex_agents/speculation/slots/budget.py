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

from spex_agents.engines.base import Request
from spex_agents.errors import SettingsError, above_zero, at_least_zero
from spex_agents.loops import PerLoop
from spex_agents.search.tree import Path
from spex_agents.speculation.slots.capacity import Allowance, Headroom
from spex_agents.speculation.slots.flights import KEPT_BY_BUDGET, Flights
from spex_agents.speculation.slots.pace import STEEP, Pace
from spex_agents.speculation.slots.turns import (
    Offers,
    Search,
    Searcher,
    Turns,
    softmax_quotas,
)

Allocation: TypeAlias = Literal["benefit", "paper"]


class Budget:
    """Shares what demanded work leaves free: of an engine's slots, or of those who judge rewards.

    Slots go to the most probable offers, for how much their search or share has running already.

    A step takes a + b n seconds, n the requests in flight; b is taken to be large until it is
    known. An offer must not slow others by more than it is expected to bring, nor its search by
    more than it saves (`Pace`), nor cost that too large a share of its time (`Credit`).

    Attributes:
        capacity: Requests in flight at which the engine is full (the roofline ridge); None to find
            it online.
        slowdown: With `capacity` None: the demanded work of one search may be slowed by this share
            for the speculation of others. What slows only its own search is a matter of benefit.
        allocation: "benefit" as above, or "paper" for SPEX's softmax over the searches.
        temperature: tau of that softmax.
        pace: How much is in flight, and how fast it goes.

    Args:
        requests_per_minute: What a provider allows; None for no limit.
        tokens_per_minute: Likewise, of prompts and what is decoded.
        steep: What one more request adds to a step, in parts of its fixed time, until it is known.

    Raises:
        SettingsError: A value is outside its range.

    Example:
        >>> budget = Budget(96)
        >>> budget.capacity, budget.in_flight
        (96, 0)
    """

    def __init__(
        self,
        capacity: int | None = None,
        *,
        slowdown: float = 0.05,
        allocation: Allocation = "benefit",
        temperature: float = 1.0,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        steep: float = STEEP,
    ) -> None:
        if capacity is not None and capacity < 1:
            raise SettingsError(f"capacity={capacity!r}: must be at least 1, or None to find it")
        at_least_zero(slowdown=slowdown, steep=steep)
        if allocation not in ("benefit", "paper"):
            raise SettingsError(f"allocation={allocation!r}: must be 'benefit' or 'paper'")
        above_zero(temperature=temperature)
        self.capacity = capacity
        self.slowdown = slowdown
        self.allocation = allocation
        self.temperature = temperature
        self.pace = Pace(capacity or math.inf, steep)
        self.allowance = Allowance(requests_per_minute, tokens_per_minute)
        self._headroom = Headroom()
        self._turns = Turns()
        self._flights = Flights(self.pace)
        same = partial(
            Budget,
            capacity,
            slowdown=slowdown,
            allocation=allocation,
            temperature=temperature,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            steep=steep,
        )
        self.here = PerLoop(same, self)
        """Itself in one event loop, one of the same settings in each other: it calls back into
        searches, which must happen in their loop."""

    @property
    def in_flight(self) -> int:
        return self.pace.load

    @property
    def demanded(self) -> int:
        """Requests in flight that a search waits for, or certainly will."""
        return self.pace.demanded

    def begin(
        self,
        searcher: Searcher,
        path: Path,
        request: Request,
        probability: float = 1.0,
        *,
        calls: int = 1,
    ) -> None:
        """Work begins; if it is demanded, it may push speculative work out.

        Args:
            searcher: Whose it is.
            path: The thought that is made, or judged.
            request: Whether it is demanded, and what it comes to.
            probability: That it will be demanded.
            calls: Requests that it makes of the engine at a time, as long as it tells no other.
        """
        now = asyncio.get_running_loop().time()
        request.on_split = self._split
        search = self._flights.search(searcher, now)
        self._flights.begin(search, path, request, now, probability=probability, calls=calls)
        self.allowance.begin(now, demanded=request.demanded)
        if request.demanded:
            search.demands()
            self._flights.make_room(self.limit)
            self._reconsider(search, now)
        else:
            self._turns.count(search, 1)
            search.credit.begun(path, probability)

    def _split(self, request: Request, more: int, ended: Request | None) -> None:
        self._flights.split(request, more, asyncio.get_running_loop().time(), ended)
        self._allocate()

    def restart(self, request: Request) -> None:
        """Work has waited for other work of its search until now, which was no sign of a queue."""
        self._flights.restart(request, asyncio.get_running_loop().time())

    def promote(self, request: Request) -> None:
        """Speculative work is demanded from now on."""
        flight = self._flights.promote(request, asyncio.get_running_loop().time())
        self._turns.count(flight.search, -1)

    def retracting(self, request: Request) -> None:
        """Speculative work is being cancelled: it counts no longer."""
        flight = self._flights.retracting(request, asyncio.get_running_loop().time())
        flight.search.credit.settled(flight.path)

    def taken(self, searcher: Searcher, path: Path) -> None:
        """The guess at `path` is demanded: it was not in vain."""
        if (search := self._flights.find(searcher)) is not None:
            search.credit.settled(path)

    def end(self, request: Request, *, paced: bool = True, tokens: int = 0) -> float:
        """Work has ended, whichever way; its slot is free.

        Args:
            request: Of the work.
            paced: Whether its time tells how fast the engine is.
            tokens: What it has come to; those that were decoded, if not given.

        Returns:
            The mean load beside it, its own included.
        """
        now = asyncio.get_running_loop().time()
        flight, load = self._flights.end(request, now)
        search = flight.search
        self._turns.count(search, -flight.guess)
        tokens = tokens or request.tokens
        self.allowance.end(request.prompt_tokens + request.tokens)
        if tokens and not flight.leaving and paced and flight.paced:
            started = flight.mark.time if request.started is None else request.started
            self.pace.times.learn(load, (now - started) / tokens)
            self._headroom.learn(started - flight.mark.time, now - started, flight.load)
        if flight.leaving:
            search.credit.spent(tokens * self.pace.awaited_since(flight.mark, now))
        elif tokens:
            search.credit.done(tokens)
        self._flights.forget(search)
        self._allocate()
        return load

    def offer(
        self,
        searcher: Searcher,
        probabilities: Mapping[Path, float],
        *,
        share: str | None = None,
        foreseen: Mapping[Path, float] | None = None,
    ) -> None:
        """What `searcher` would like to have under way, with the probability of each path.

        Args:
            searcher: Who offers.
            probabilities: Of those paths, begun or not.
            share: Whose slots they take.
            foreseen: Of all that it has begun early; `probabilities` if not given.
        """
        now = asyncio.get_running_loop().time()
        search = self._flights.search(searcher, now)
        search.credit.weigh(probabilities if foreseen is None else foreseen)
        if share is not None:
            self._turns.join(search, share)
        self._flights.weigh(search, probabilities, now)
        flying = {flight.path for flight in search.flights.values() if not flight.leaving}
        offers: Offers = [
            (value, path) for path, value in probabilities.items() if path not in flying
        ]
        offers.sort(key=lambda offer: (offer[0], [-index for index in offer[1]]))
        self._turns.offer(search, offers)
        self._reconsider(search, now)
        self._allocate()

    def tell(self, searcher: Searcher, lead: float, wide: int) -> None:
        """A decision's `wide` paths are there, `lead` seconds sooner with all guesses so far."""
        if (search := self._flights.find(searcher)) is not None:
            search.told(lead, wide)

    def leave(self, searcher: Searcher) -> None:
        """The search begins nothing more."""
        if (search := self._flights.find(searcher)) is not None:
            self._turns.leave(search)
            self._flights.forget(search)

    def limit(self, searcher: Searcher) -> float:
        """Requests that may be in flight now, a guess of `searcher` and demanded ones included."""
        if self.capacity is not None:
            return self.capacity
        limit = self._headroom.limit(self.demanded)
        if self._flights.alone(searcher):
            return limit
        return min(limit, self.pace.slower(self.slowdown))

    def _reconsider(self, search: Search, now: float) -> None:
        """Give up what would not be begun now, what was begun while nobody waited included."""
        self._flights.reconsider()
        if not self.pace.demanded:
            return
        least = KEPT_BY_BUDGET * self.pace.pays(search.shortens, 1)
        for guess in self._flights.below(search, least):
            search.searcher.retract(guess.path)
        for guess in self._flights.free_no_more(search):
            probability = 1 - self._flights.left(guess, now) * (1 - guess.probability)
            if self._affords(search, probability, now):
                search.credit.begun(guess.path, probability)
            else:
                search.searcher.retract(guess.path)

    def _affords(self, search: Search, probability: float, now: float) -> bool:
        """Whether `search` can bear that a guess of this probability is in vain."""
        urgent = self._flights.urgent(search, now)
        if not self.allowance.spare(now) or probability <= self.pace.pays(search.shortens, urgent):
            return False
        return probability == 1 or search.credit.affords(
            1 - probability,
            now,
            self.pace.line(),
            self.allowance.cost(),
            known=self.pace.known,
            urgent=urgent,
            shortens=search.shortens,
        )

    def _allocate(self) -> None:
        """Begin the offers of the largest benefit, as long as there is room."""
        now = asyncio.get_running_loop().time()
        quotas = self._quotas() if self.allocation == "paper" else None
        spent: list[tuple[Search, Offers]] = []
        while (search := self._turns.next(self._flights.least())) is not None:
            if self.limit(search.searcher) - self._flights.coming < search.searcher.calls:
                break  # all searches have the same limit here: one that is alone has no rival
            full = quotas is not None and search.guesses >= quotas[search]
            if full or not self._affords(search, search.offers[-1][0], now):
                spent.append((search, search.offers))
                self._turns.offer(search, [])
                continue
            probability, path = self._turns.take(search)
            search.searcher.launch(path, probability)
        for search, offers in spent:
            self._turns.offer(search, offers)

    def _quotas(self) -> dict[Search, float]:
        searches = [search for search in self._flights.searches() if search.offers]
        searches.sort(key=lambda search: search.number or 0)
        slots = self.limit(searches[0].searcher) - self.demanded if searches else 0
        return softmax_quotas(searches, slots, self.temperature)
