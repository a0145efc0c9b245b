"""What is in flight on one engine, whose it is, and how much of it is likely to be of use."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from spex_agents.engines.base import Request
from spex_agents.search.tree import Path
from spex_agents.speculation.slots.capacity import QUEUED
from spex_agents.speculation.slots.credit import Credit
from spex_agents.speculation.slots.pace import Pace
from spex_agents.speculation.slots.turns import UNIT, Flight, Search, Searcher, Share, units

KEPT_BY_BUDGET = 0.8
"""A guess is kept as long as its probability is this share of what it would take to begin it: what
it has cost already is no longer a cost. Its search has one of its own, `KEPT_BY_SEARCH`."""

SLIGHT = 0.02
"""The share of a step by which one more request delays others that does not count as long as nobody
waits for them."""

LOW = 0.05
"""A probability that is hardly ever offered: below it there is no need to look."""


class Flights:
    """The work in flight of all searches, with the sums over it kept, not taken anew.

    Args:
        pace: Told how much is in flight.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._searches: dict[Searcher, Search] = {}
        self._flights: dict[str, Flight] = {}
        self._guesses: dict[str, Flight] = {}
        self._leaving = 0
        self._useful = 0
        self._following = 0
        """Requests by which more follow than end, in units."""
        self._groups = 0
        """Work that tells of none of its calls so far: loads beside it are not known."""

    @property
    def coming(self) -> float:
        """Requests in flight once all has been followed by what it is followed by.

        Guesses are by their probability: what runs in the place of their rewards would have to go
        when they are demanded, half-written.
        """
        return self._pace.load + self._following / UNIT

    @property
    def staying(self) -> int:
        """Requests in flight that are not being cancelled."""
        return self._pace.load - self._leaving

    def searches(self) -> Collection[Search]:
        return self._searches.values()

    def search(self, searcher: Searcher, now: float) -> Search:
        """What is known of `searcher`, from now on if it is new."""
        if (search := self._searches.get(searcher)) is None:
            credit = Credit(now, searcher.calls)
            search = self._searches[searcher] = Search(searcher, Share(), credit)
        return search

    def find(self, searcher: Searcher) -> Search | None:
        """What is known of `searcher`, if anything is."""
        return self._searches.get(searcher)

    def alone(self, searcher: Searcher) -> bool:
        """Whether no other search runs or offers anything: its thoughts and rewards are of one."""
        return all(other.jobs is searcher.jobs for other in self._searches)

    def forget(self, search: Search) -> None:
        """Count `search` no more, once it neither runs nor offers anything."""
        if not search.flights and search.number is None:
            del self._searches[search.searcher]

    def begin(
        self,
        search: Search,
        path: Path,
        request: Request,
        now: float,
        *,
        probability: float,
        calls: int,
    ) -> None:
        """Work begins that makes so many calls at a time, as far as is known before."""
        mark = self._pace.mark(now)
        self._pace.change(now, calls, 0)
        flight = Flight(search, path, request, mark, self._pace.load, probability, calls)
        flight.guess = not request.demanded
        self._await(flight, now)
        flight.untold = calls > 1
        self._groups += flight.untold
        flight.paced = not self._groups
        self._flights[request.id] = search.flights[request.id] = flight
        self._count(flight)
        if flight.guess:
            self._guesses[request.id] = flight
            flight.free = not self._pace.demanded

    def split(self, request: Request, more: int, now: float, ended: Request | None) -> None:
        """It makes so many more calls at a time, or fewer; the first time, than one.

        Where one of them has `ended` that had not to queue, that tells how fast the engine is.
        """
        if (flight := self._flights.get(request.id)) is None:
            return
        if ended and ended.tokens and ended.started is not None and not flight.leaving:
            seconds = now - ended.started
            if flight.paced and ended.started - flight.mark.time <= QUEUED * seconds:
                load = self._pace.load_since(flight.mark, now)
                self._pace.times.learn(load, seconds / ended.tokens)
        if flight.untold:
            flight.untold = False
            self._groups -= 1
            flight.paced = not self._groups
            more += 1 - flight.calls
        more = max(more, 1 - flight.calls)
        flight.calls += more
        self._pace.change(now, more, 0)
        self._await(flight, now)
        self._leaving += more * flight.leaving
        self._useful += more * flight.useful

    def restart(self, request: Request, now: float) -> None:
        """Its time counts from now on."""
        self._flights[request.id].mark = self._pace.mark(now)

    def promote(self, request: Request, now: float) -> Flight:
        """It is a guess no longer."""
        flight = self._guesses.pop(request.id)
        flight.guess = False
        self._count(flight)
        self._await(flight, now)
        return flight

    def retracting(self, request: Request, now: float) -> Flight:
        """It is being cancelled: it is of no use."""
        flight = self._flights[request.id]
        flight.leaving = True
        self._leaving += flight.calls
        self._count(flight)
        self._await(flight, now)
        return flight

    def end(self, request: Request, now: float) -> tuple[Flight, float]:
        """It has ended; with it comes the mean load beside it, its own included."""
        flight = self._flights.pop(request.id)
        calls = flight.calls
        load = self._pace.load_since(flight.mark, now)
        del flight.search.flights[request.id]
        self._leaving -= calls * flight.leaving
        self._guesses.pop(request.id, None)
        self._pace.change(now, -calls, -flight.awaited)
        self._useful -= calls * flight.useful
        self._following -= _followers(flight) * flight.useful
        self._groups -= flight.untold
        flight.paced = flight.paced and not self._groups
        return flight, load

    def weigh(self, search: Search, probabilities: Mapping[Path, float], now: float) -> None:
        """The guesses of `search` are as probable as that now; one that is left out is certain."""
        for flight in search.flights.values():
            if not flight.leaving:
                flight.probability = probabilities.get(flight.path, 1.0)
            self._count(flight)
            self._await(flight, now)

    def _count(self, flight: Flight) -> None:
        """Let it, and what follows it, count by how probably it is of use."""
        useful = 0 if flight.leaving else units(flight.probability) if flight.guess else UNIT
        change, flight.useful = useful - flight.useful, useful
        self._useful += flight.calls * change
        self._following += _followers(flight) * change

    def _await(self, flight: Flight, now: float) -> None:
        """Count it as demanded if it is, or certainly will be: a graph demands a node later."""
        certain = flight.probability == 1 and not flight.leaving
        awaited = flight.calls if certain or not flight.guess else 0
        if awaited != flight.awaited:
            self._pace.change(now, 0, awaited - flight.awaited)
            flight.awaited = awaited

    def left(self, flight: Flight, now: float) -> float:
        """The share of its work that is still to come, about."""
        steps = self._pace.mark(now).steps - flight.mark.steps
        return flight.search.credit.left(steps / sum(self._pace.line()))

    def fading(self) -> list[Flight]:
        """The guesses that stay, the least probable first."""
        return _fading(guess for guess in self._guesses.values() if not guess.leaving)

    def free_no_more(self, search: Search) -> list[Flight]:
        """Those of `search` that were begun while nobody waited, as somebody does now.

        The most probable first; none of them is at its search's stake so far.
        """
        guesses = _fading(one for one in _staying(search) if one.free)
        for guess in guesses:
            guess.free = False
            search.credit.settled(guess.path)
        return guesses[::-1]

    def below(self, search: Search, probability: float) -> list[Flight]:
        """Guesses of `search` that stay and are less probable."""
        return [guess for guess in _staying(search) if guess.probability < probability]

    def urgent(self, search: Search, now: float) -> float:
        """How probable it is that one more guess of `search` delays what somebody waits for.

        While nobody waits, that is the most probable guess, which somebody will wait for soon;
        unless the new one will be ready by then, or delays it but slightly, as far as is known.
        """
        if self._pace.demanded:
            return 1.0
        base, slope = self._pace.line()
        step = base + slope * (self._pace.load + 1)
        if not self._pace.known or slope < SLIGHT * step:
            return 0.0
        if search.credit.usual * step <= self._pace.idle(now):
            return 0.0
        guesses = self._guesses.values()
        return max((guess.probability for guess in guesses if not guess.leaving), default=0.0)

    def least(self) -> float:
        """The probability from which on one more request contributes more than it slows others."""
        return self._pace.least(self._useful / UNIT, self._pace.load)

    def make_room(self, limit: Callable[[Searcher], float]) -> None:
        """Give up as many guesses, the least probable first, as are too many by that."""
        staying = self.staying
        for guess in self.fading():
            if staying <= limit(guess.search.searcher):
                return
            guess.search.searcher.retract(guess.path)
            staying -= guess.calls

    def reconsider(self) -> None:
        """Give up what would not be begun now, by some distance: the least probable first."""
        if self.least() * KEPT_BY_BUDGET < LOW:
            return
        for guess in self.fading():
            rest = self._useful / UNIT - guess.calls * guess.probability
            least = self._pace.least(rest, self.staying - guess.calls)
            if guess.probability >= least * KEPT_BY_BUDGET:
                return
            guess.search.searcher.retract(guess.path)


def _followers(flight: Flight) -> int:
    """By how many more requests it is followed than it makes."""
    searcher = flight.search.searcher
    return max(0, searcher.follows - searcher.calls)


def _staying(search: Search) -> Iterator[Flight]:
    """The guesses of a search that are not being cancelled."""
    return (one for one in search.flights.values() if one.guess and not one.leaving)


def _fading(guesses: Iterable[Flight]) -> list[Flight]:
    """The least probable first; of equal ones that which was begun last: others have less left.

    Args:
        guesses: In the order in which they were begun.
    """
    last_first = list(guesses)
    last_first.reverse()
    return sorted(last_first, key=lambda guess: guess.probability)
