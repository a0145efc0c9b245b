"""What the searches on one engine would like to begin, and whose turn it is."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol, TypeAlias

from spex_agents.engines.base import Request
from spex_agents.search.tree import Path
from spex_agents.speculation.slots.credit import Credit
from spex_agents.speculation.slots.pace import Mark

FAIR = 16
"""Speculative thoughts of one share after which its next one counts half."""

LATELY = 0.3
"""What the paths of the last decision count for in how many a search demands at a time."""

UNIT = 1 << 60
"""Probabilities are summed as whole multiples of its inverse: a sum that is kept does not drift."""


def units(probability: float) -> int:
    return round(probability * UNIT)


class Searcher(Protocol):
    """A search, as its budget sees it.

    Attributes:
        calls: Requests that each piece of its work makes at a time.
        follows: Requests that each piece that was demanded is followed by.
        jobs: What the thoughts and the rewards of one search have in common.
    """

    calls: int
    follows: int

    @property
    def jobs(self) -> object: ...

    def launch(self, path: Path, probability: float) -> None: ...
    def retract(self, path: Path) -> None: ...


Offers: TypeAlias = list[tuple[float, Path]]
"""Paths a search would like to begin, each with its probability; the best one last."""


@dataclass(slots=True, eq=False)
class Flight:
    """Work in flight.

    Attributes:
        mark: Where the work of all stood when it began.
        load: Requests in flight then, its own included.
        calls: Requests that it makes at a time.
        untold: They may be others: it has not told of them so far.
        guess: It is not demanded so far.
        useful: How probably it is of use, in units.
        awaited: Those of its requests that count as demanded.
        free: It is one that was begun while nobody waited, and somebody has not waited since.
        paced: Its time tells how fast the engine is.
        leaving: It is being cancelled.
    """

    search: Search
    path: Path
    request: Request
    mark: Mark
    load: int
    probability: float
    calls: int = 1
    untold: bool = False
    guess: bool = False
    useful: int = 0
    awaited: int = 0
    free: bool = False
    paced: bool = True
    leaving: bool = False


@dataclass(slots=True, eq=False)
class Search:
    """What the budget knows of one search.

    Attributes:
        flights: Its thoughts in flight, by request.
        guesses: How many of them are speculative.
        number: The lower goes first where two are as urgent; None for one that offers nothing.
        credit: What its guesses may cost it.
        wide: How many paths it demands at a time.
    """

    searcher: Searcher
    share: Share
    credit: Credit
    flights: dict[str, Flight] = field(default_factory=dict)
    guesses: int = 0
    offers: Offers = field(default_factory=list)
    number: int | None = None
    wide: float = 1.0

    @property
    def shortens(self) -> float:
        """Steps by which a token of a guess that comes true makes it shorter.

        The longest of the thoughts that are demanded together decides, and of the calls of one:
        with all of them guessed, each token saves its share of a step.
        """
        return 1 / (self.wide * self.searcher.calls)

    def demands(self) -> None:
        """One more of its thoughts is demanded."""
        self.wide = max(self.wide, sum(not flight.guess for flight in self.flights.values()))

    def told(self, lead: float, wide: int) -> None:
        """What a decision demanded, so many paths, is there; so far ahead is it by now."""
        self.credit.told(lead)
        self.wide += LATELY * (wide - self.wide)


@dataclass(slots=True, eq=False)
class Share:
    """Searches that are as urgent as one.

    Attributes:
        name: None for the share of one search.
        searches: How many there are.
        guesses: Their speculative thoughts in flight.
        line: Those with offers, the most urgent first.
    """

    name: str | None = None
    searches: int = 0
    guesses: int = 0
    line: list[tuple[float, int, Search]] = field(default_factory=list)


class Turns:
    """Finds the search whose best offer is the most urgent.

    How urgent one is: its probability, divided by 1 + n / `FAIR` where its share has n guesses in
    flight already, so that none starves. Shares with the same n are ordered by probability alone.
    So they stand in one sorted line, in which a change moves one entry, and the next turn is that
    of the first in some line.
    """

    def __init__(self) -> None:
        self._shares: dict[str, Share] = {}
        self._lines: dict[int, list[tuple[float, int, Share]]] = {}
        self._numbers = count()

    def next(self, least: float) -> Search | None:
        """The search whose turn it is; None if no offer is more probable than `least`."""
        firsts = (
            (place[0] / (1 + guesses / FAIR), place[1], place[2])
            for guesses, line in self._lines.items()
            if -(place := line[0])[0] > least
        )
        if (first := min(firsts, default=None)) is None:
            return None
        return first[2].line[0][2]

    def offer(self, search: Search, offers: Offers) -> None:
        """Put `offers` in the place of those that `search` has made before."""
        if search.number is None:
            search.number = next(self._numbers)
        self._leave_line(search)
        search.offers = offers
        self._join_line(search)

    def take(self, search: Search) -> tuple[float, Path]:
        """The best offer of `search`, which is one no more."""
        self._leave_line(search)
        offer = search.offers.pop()
        self._join_line(search)
        return offer

    def count(self, search: Search, guesses: int) -> None:
        """So many more guesses of `search` are in flight, or fewer."""
        with self._moving(search.share):
            search.guesses += guesses
            search.share.guesses += guesses

    def join(self, search: Search, name: str | None) -> None:
        """From now on `search` has a share with all others that give this name; None: its own."""
        if search.share.name == name:
            return
        share = Share() if name is None else self._shares.setdefault(name, Share(name))
        self._leave_line(search)
        for one, sign in ((search.share, -1), (share, 1)):
            with self._moving(one):
                one.searches += sign
                one.guesses += sign * search.guesses
        if search.share.name is not None and not search.share.searches:
            del self._shares[search.share.name]
        search.share = share
        self._join_line(search)

    def leave(self, search: Search) -> None:
        """`search` offers nothing more."""
        self.offer(search, [])
        self.join(search, None)
        search.number = None

    def _leave_line(self, search: Search) -> None:
        if search.offers:
            with self._moving(share := search.share):
                del share.line[bisect_left(share.line, _place(search))]

    def _join_line(self, search: Search) -> None:
        if search.offers:
            with self._moving(share := search.share):
                insort(share.line, _place(search))

    @contextmanager
    def _moving(self, share: Share) -> Iterator[None]:
        """Change by what `share` stands in its line."""
        if share.line:
            line = self._lines[share.guesses]
            del line[bisect_left(line, (*share.line[0][:2], share))]
            if not line:
                del self._lines[share.guesses]
        yield
        if share.line:
            insort(self._lines.setdefault(share.guesses, []), (*share.line[0][:2], share))


def softmax_quotas(
    searches: Sequence[Search], slots: float, temperature: float
) -> dict[Search, float]:
    """SPEX's split: softmax(U / tau) of the speculative slots over the searches with offers.

    The paper names what U grows with, not its form. Here U = P * ln(1 + C) + S_KV, with C the
    offers of a search, P their mean probability, S_KV the share of a path that is reusable
    prefix; the bytes of weights amortised, S_w, are the same for all searches of an engine and
    cancel.
    """
    utility = {}
    for search in searches:
        offers = search.offers
        mean = sum(probability for probability, _ in offers) / len(offers)
        prefix = sum(1 - 1 / len(path) for _, path in offers) / len(offers)
        utility[search] = mean * math.log1p(len(offers)) + prefix
    highest = max(utility.values(), default=0.0)
    weights = {
        search: math.exp((value - highest) / temperature) for search, value in utility.items()
    }
    total = sum(weights.values())
    return {search: slots * weight / total for search, weight in weights.items()}


def _place(search: Search) -> tuple[float, int, Search]:
    assert search.number is not None  # noqa: S101 (narrowing: it offers something)
    return -search.offers[-1][0], search.number, search
