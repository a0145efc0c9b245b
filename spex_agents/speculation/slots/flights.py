"""What is in flight on one engine, whose it is, and how much of it is likely to be of use."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from spex_agents.engines.base import Request
from spex_agents.search.tree import Path
from spex_agents.speculation.slots.credit import Credit
from spex_agents.speculation.slots.pace import Pace
from spex_agents.speculation.slots.turns import UNIT, Flight, Search, Searcher, Share, units

KEPT = 0.8
"""A guess is kept as long as its probability is this share of what it would take to begin it: what
it has cost already is no longer a cost."""

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
        self._groups = 0
        """Work in flight whose requests come and go unseen: loads beside it are not known."""

    @property
    def staying(self) -> int:
        """Requests in flight that are not being cancelled."""
        return self._pace.load - self._leaving

    def searches(self) -> Collection[Search]:
        return self._searches.values()

    def search(self, searcher: Searcher, now: float) -> Search:
        """What is known of `searcher`, from now on if it is new."""
        if (search := self._searches.get(searcher)) is None:
            search = self._searches[searcher] = Search(searcher, Share(), Credit(now))
        return search

    def find(self, searcher: Searcher) -> Search | None:
        """What is known of `searcher`, if anything is."""
        return self._searches.get(searcher)

    def alone(self, searcher: Searcher) -> bool:
        """Whether no other search runs or offers anything."""
        return self._searches.keys() <= {searcher}

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
        """Work begins that makes so many calls at a time."""
        begun = self._pace.mark(now)
        self._pace.change(now, calls, calls if request.demanded else 0)
        self._groups += calls > 1
        flight = Flight(search, path, request, begun, self._pace.load, probability, calls)
        flight.paced = not self._groups
        self._flights[request.id] = search.flights[request.id] = flight
        if request.demanded:
            self._useful += calls * UNIT
        else:
            self._useful += calls * units(probability)
            self._guesses[request.id] = flight
            flight.guess = True
            flight.free = not self._pace.demanded

    def restart(self, request: Request, now: float) -> None:
        """Its time counts from now on."""
        self._flights[request.id].begun = self._pace.mark(now)

    def promote(self, request: Request, now: float) -> Flight:
        """It is a guess no longer."""
        flight = self._guesses.pop(request.id)
        flight.guess = False
        self._useful += flight.calls * (UNIT - units(flight.probability))
        self._pace.change(now, 0, flight.calls)
        return flight

    def retracting(self, request: Request) -> Flight:
        """It is being cancelled: it is of no use."""
        flight = self._flights[request.id]
        flight.leaving = True
        self._leaving += flight.calls
        self._useful -= flight.calls * units(flight.probability)
        return flight

    def end(self, request: Request, now: float) -> tuple[Flight, float]:
        """It has ended; with it comes the mean load beside it, its own included."""
        flight = self._flights.pop(request.id)
        calls = flight.calls
        load = self._pace.load_since(flight.begun, now)
        del flight.search.flights[request.id]
        self._leaving -= calls * flight.leaving
        self._guesses.pop(request.id, None)
        self._pace.change(now, -calls, 0 if flight.guess else -calls)
        if not flight.leaving:
            self._useful -= calls * (units(flight.probability) if flight.guess else UNIT)
        self._groups -= calls > 1
        flight.paced = flight.paced and not self._groups
        return flight, load

    def weigh(self, search: Search, probabilities: Mapping[Path, float]) -> None:
        """The guesses of `search` are as probable as that now; one that is left out is certain."""
        self._useful += search.weigh(probabilities)

    def fading(self) -> list[Flight]:
        """The guesses that stay, the least probable first."""
        guesses = [guess for guess in self._guesses.values() if not guess.leaving]
        return sorted(guesses, key=_least_probable)

    def free(self, search: Search) -> list[Flight]:
        """Those of `search` that were begun while nobody waited, likewise."""
        return sorted((guess for guess in _staying(search) if guess.free), key=_least_probable)

    def below(self, search: Search, probability: float) -> list[Flight]:
        """Guesses of `search` that stay and are less probable."""
        return [guess for guess in _staying(search) if guess.probability < probability]

    def least(self) -> float:
        """The probability from which on one more request contributes more than it slows others."""
        return self._pace.least(self._useful / UNIT, self._pace.load)

    def reconsider(self) -> None:
        """Give up what would not be begun now, by some distance: the least probable first."""
        if self.least() * KEPT < LOW:
            return
        for guess in self.fading():
            rest = self._useful / UNIT - guess.calls * guess.probability
            if guess.probability >= self._pace.least(rest, self.staying - guess.calls) * KEPT:
                return
            guess.search.searcher.retract(guess.path)


def _staying(search: Search) -> Iterator[Flight]:
    """The guesses of a search that are not being cancelled."""
    return (one for one in search.flights.values() if one.guess and not one.leaving)


def _least_probable(guess: Flight) -> tuple[float, Path]:
    return guess.probability, guess.path
