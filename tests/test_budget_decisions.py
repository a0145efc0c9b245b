"""A budget decides as the plain rule does that looks at everything in flight each time."""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from spex_agents.engines.base import Request
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.search import Path
from spex_agents.speculation.slots.budget import Budget
from spex_agents.speculation.slots.credit import GRANT_CALLS, LENT, MARGIN
from spex_agents.speculation.slots.flights import KEPT_BY_BUDGET
from spex_agents.speculation.slots.pace import STEEP, StepTime
from spex_agents.speculation.slots.turns import FAIR, Offers, Searcher

HEADROOM = 16.0


@dataclass
class Flight:
    searcher: Searcher
    path: Path
    request: Request
    worth: float
    free: bool = False
    leaving: bool = False


class PlainBudget:
    """The rule, word for word: every decision from all flights and offers."""

    def __init__(
        self, capacity: int | None, slowdown: float, line: tuple[float, float] | None, paper: bool
    ) -> None:
        self.capacity = capacity
        self.slowdown = slowdown
        self.line = line or (1.0, STEEP)
        self.known = line
        self.paper = paper
        self.stakes: dict[Searcher, dict[Path, float]] = defaultdict(dict)
        self.flights: dict[str, Flight] = {}
        self.offers: dict[Searcher, Offers] = {}
        self.shares: dict[Searcher, str] = {}
        self.wide: dict[Searcher, float] = defaultdict(lambda: 1.0)

    def begin(self, searcher: Searcher, path: Path, request: Request, worth: float = 1.0) -> None:
        flight = self.flights[request.id] = Flight(searcher, path, request, worth)
        if not request.demanded:
            flight.free = not self.demanded()
            self.stakes[searcher][path] = 1 - worth
            return
        own = [one.request for one in self.flights.values() if one.searcher is searcher]
        self.wide[searcher] = max(self.wide[searcher], sum(one.demanded for one in own))
        self.make_room()
        self.reconsider()
        self.give_up(searcher)
        self.judge_anew(searcher)

    def give_up(self, searcher: Searcher) -> None:
        """What would cost `searcher` more than it saves, by some distance."""
        least = KEPT_BY_BUDGET * self.pays(searcher, self.urgent())
        for flight in [one for one in self.flights.values() if one.searcher is searcher]:
            guess = not flight.request.demanded and not flight.leaving
            if guess and flight.worth < least:
                searcher.retract(flight.path)

    def pays(self, searcher: Searcher, urgent: float) -> float:
        base, slope = self.line
        cost = urgent * slope
        return cost / (cost + base / self.wide[searcher]) if cost else 0.0

    def urgent(self) -> float:
        """Of a line that has never been seen guesses are free while nobody waits."""
        return 1.0 if self.demanded() else 0.0

    def judge_anew(self, searcher: Searcher) -> None:
        """What was begun while nobody waited, as if it were to be begun now."""
        if not self.demanded():
            return
        free = [
            flight
            for flight in self.flights.values()
            if flight.searcher is searcher and flight.free and not flight.leaving
            if not flight.request.demanded
        ]
        for flight in free:
            flight.free = False
            del self.stakes[searcher][flight.path]
        for flight in sorted(free, key=lambda flight: flight.worth, reverse=True):
            if self.affords(searcher, flight.worth):
                self.stakes[searcher][flight.path] = 1 - flight.worth
            else:
                searcher.retract(flight.path)

    def make_room(self) -> None:
        staying = sum(not flight.leaving for flight in self.flights.values())
        guesses = [
            flight
            for flight in reversed(self.flights.values())
            if not flight.request.demanded and not flight.leaving
        ]
        for flight in sorted(guesses, key=lambda flight: flight.worth):
            if staying <= self.limit(flight.searcher):
                return
            flight.searcher.retract(flight.path)
            staying -= 1

    def reconsider(self) -> None:
        while True:
            guesses = [
                flight
                for flight in self.flights.values()
                if not flight.request.demanded and not flight.leaving
            ]
            guess = min(guesses[::-1], key=lambda flight: flight.worth, default=None)
            if guess is None:
                return
            staying = sum(not flight.leaving for flight in self.flights.values())
            if guess.worth >= KEPT_BY_BUDGET * self.least(self.useful() - guess.worth, staying - 1):
                return
            guess.searcher.retract(guess.path)

    def demanded(self) -> int:
        """What is waited for, or certainly will be."""
        return sum(
            flight.request.demanded or (flight.worth == 1 and not flight.leaving)
            for flight in self.flights.values()
        )

    def useful(self) -> float:
        return sum(
            1.0 if flight.request.demanded else flight.worth
            for flight in self.flights.values()
            if not flight.leaving
        )

    def least(self, useful: float, load: float) -> float:
        base, slope = self.line
        if not self.demanded():
            return 0.0
        return useful * slope / (base + slope * load)

    def affords(self, searcher: Searcher, worth: float) -> bool:
        base, slope = self.line
        urgent = self.urgent()
        if worth <= self.pays(searcher, urgent) or worth == 1:
            return worth > self.pays(searcher, urgent)
        stakes = [*self.stakes[searcher].values(), 1 - worth]
        doubts = sum(min(1.0, stake + MARGIN) for stake in stakes if stake)
        hoped = (len(stakes) - doubts) * base / self.wide[searcher]
        return urgent * doubts * slope <= GRANT_CALLS * (base + slope) + LENT * hoped

    def promote(self, request: Request) -> None:
        request.demanded = True

    def taken(self, searcher: Searcher, path: Path) -> None:
        self.stakes[searcher].pop(path, None)

    def retracting(self, request: Request) -> None:
        flight = self.flights[request.id]
        flight.leaving = True
        self.stakes[flight.searcher].pop(flight.path, None)

    def end(self, request: Request) -> None:
        flight = self.flights.pop(request.id)
        self.forget(flight.searcher)
        self.allocate()

    def leave(self, searcher: Searcher) -> None:
        self.offers.pop(searcher, None)
        self.shares.pop(searcher, None)
        self.forget(searcher)

    def forget(self, searcher: Searcher) -> None:
        """A search that neither runs nor offers anything begins anew."""
        flying = {flight.searcher for flight in self.flights.values()}
        if searcher not in flying and searcher not in self.offers:
            self.stakes.pop(searcher, None)
            self.wide.pop(searcher, None)

    def offer(
        self, searcher: Searcher, worth: Mapping[Path, float], *, share: str | None = None
    ) -> None:
        for path in self.stakes[searcher]:
            self.stakes[searcher][path] = 1 - worth.get(path, 0.0)
        if share is not None:
            self.shares[searcher] = share
        flying = set()
        for flight in self.flights.values():
            if flight.searcher is searcher and not flight.leaving:
                flight.worth = worth.get(flight.path, 1.0)
                flying.add(flight.path)
        self.offers[searcher] = sorted(
            ((value, path) for path, value in worth.items() if path not in flying),
            key=lambda offer: (offer[0], [-index for index in offer[1]]),
        )
        self.reconsider()
        self.give_up(searcher)
        self.judge_anew(searcher)
        self.allocate()

    def limit(self, searcher: Searcher) -> float:
        if self.capacity is not None:
            return self.capacity
        demanded = self.demanded()
        searches = {flight.searcher for flight in self.flights.values()} | self.offers.keys()
        if self.known is None or self.known[1] == 0 or searches <= {searcher}:
            return demanded + HEADROOM
        base, slope = self.known
        return demanded + min(HEADROOM, self.slowdown * (base / slope + demanded))

    def allocate(self) -> None:
        useful = self.useful()
        running: Counter[Searcher] = Counter()
        shared: Counter[Searcher | str] = Counter()
        for flight in self.flights.values():
            if not flight.request.demanded:
                running[flight.searcher] += 1
                shared[self.share(flight.searcher)] += 1
        quotas = self.quotas() if self.paper and any(self.offers.values()) else None
        order = [
            (self.rank(offers, shared[self.share(searcher)]), index, searcher)
            for index, (searcher, offers) in enumerate(self.offers.items())
            if offers
        ]
        heapq.heapify(order)
        while order:
            rank, index, searcher = heapq.heappop(order)
            own = self.share(searcher)
            if (now := self.rank(self.offers[searcher], shared[own])) > rank:
                heapq.heappush(order, (now, index, searcher))  # another of its share came first
                continue
            if self.limit(searcher) - len(self.flights) < 1:
                return
            offers = self.offers[searcher]
            worth, path = offers[-1]
            if quotas is not None and running[searcher] >= quotas[searcher]:
                continue
            if worth <= self.least(useful, len(self.flights)):
                continue
            if not self.affords(searcher, worth):
                continue
            offers.pop()
            searcher.launch(path, worth)
            useful += worth
            running[searcher] += 1
            shared[own] += 1
            if offers:
                heapq.heappush(order, (self.rank(offers, shared[own]), index, searcher))

    def share(self, searcher: Searcher) -> Searcher | str:
        return self.shares.get(searcher, searcher)

    def rank(self, offers: Offers, running: int) -> float:
        return -offers[-1][0] / (1 + running / FAIR)

    def quotas(self) -> dict[Searcher, float]:
        demanded = self.demanded()
        slots = self.limit(next(iter(self.offers))) - demanded
        utility = {}
        for searcher, offers in self.offers.items():
            if offers:
                mean = sum(worth for worth, _ in offers) / len(offers)
                prefix = sum(1 - 1 / len(path) for _, path in offers) / len(offers)
                utility[searcher] = mean * math.log1p(len(offers)) + prefix
        highest = max(utility.values())
        weights = {searcher: math.exp(value - highest) for searcher, value in utility.items()}
        total = sum(weights.values())
        return {searcher: slots * weight / total for searcher, weight in weights.items()}


class World:
    """Some searches on one budget, and what becomes of them."""

    def __init__(self, budget: Any) -> None:
        self.budget = budget
        self.told: list[tuple[str, int, Path]] = []
        self.flying: list[Request] = []
        self.searches = [FakeSearch(self, number) for number in range(5)]
        self.begun = 0

    def begin(self, search: FakeSearch, path: Path, worth: float, *, demanded: bool) -> None:
        self.begun += 1
        request = Request(id=str(self.begun), seed=0, demanded=demanded)
        self.flying.append(request)
        if not demanded:
            search.guesses[path] = request
        self.budget.begin(search, path, request, worth)

    def do(self, kind: str, number: int, offered: dict[Path, float], share: str | None) -> None:
        search = self.searches[number % len(self.searches)]
        if kind == "offer":
            self.budget.offer(search, offered, share=share)
        elif kind == "demand":
            self.begin(search, (9, number), 1.0, demanded=True)
        elif kind == "leave":
            self.budget.leave(search)
        elif kind == "end" and self.flying:
            request = self.flying.pop(number % len(self.flying))
            for one in self.searches:
                one.guesses = {path: r for path, r in one.guesses.items() if r is not request}
            self.budget.end(request)
        elif kind == "promote" and search.guesses:
            path = sorted(search.guesses)[0]
            request = search.guesses.pop(path)
            request.demanded = True
            self.budget.taken(search, path)
            self.budget.promote(request)


class FakeSearch:
    """Begins and cancels what it is told to; what is cancelled lingers until it is ended."""

    calls = 1
    follows = 0

    def __init__(self, world: World, number: int) -> None:
        self.jobs = object()
        self.world = world
        self.number = number
        self.guesses: dict[Path, Request] = {}

    def __lt__(self, other: FakeSearch) -> bool:
        raise AssertionError("searches have no order of their own")

    def launch(self, path: Path, worth: float) -> None:
        self.world.told.append(("launch", self.number, path))
        self.world.begin(self, path, worth, demanded=False)

    def retract(self, path: Path) -> None:
        self.world.told.append(("retract", self.number, path))
        self.world.budget.retracting(self.guesses.pop(path))


def step(random: Random) -> tuple[str, int, dict[Path, float], str | None]:
    """What happens next; probabilities are eighths, whose sums are exact in any order."""
    weights = {"offer": 6, "demand": 5, "end": 6, "promote": 2, "leave": 1}
    (kind,) = random.choices(list(weights), list(weights.values()))
    paths: list[Path] = [(one,) for one in range(6)]
    paths += [(one, two) for one in range(6) for two in range(3)]
    offered = {
        path: random.randint(1, 8) / 8 for path in random.sample(paths, random.randint(0, 24))
    }
    return kind, random.randrange(1000), offered, random.choice([None, None, "one", "other"])


@settings(max_examples=100)
@given(
    capacity=st.none() | st.integers(1, 60),
    slowdown=st.sampled_from([0.0, 0.5, 2.0]),
    line=st.none() | st.sampled_from([(0.04, 0.0), (0.04, 0.002), (0.02, 0.01)]),
    paper=st.booleans(),
    seed=st.integers(0, 10**6),
    steps=st.integers(1, 150),
)
def test_a_budget_decides_as_the_plain_rule_does(
    *,
    capacity: int | None,
    slowdown: float,
    line: tuple[float, float] | None,
    paper: bool,
    seed: int,
    steps: int,
) -> None:
    class Fixed(StepTime):
        def line(self) -> tuple[float, float] | None:
            return line

    async def main() -> None:
        random = Random(seed)
        budget = Budget(capacity, slowdown=slowdown, allocation="paper" if paper else "benefit")
        budget.pace.times = Fixed()
        world, plain = World(budget), World(PlainBudget(capacity, slowdown, line, paper))
        for _ in range(steps):
            happens = step(random)
            world.do(*happens)
            plain.do(*happens)
            assert world.told == plain.told
        for search in world.searches:
            budget.leave(search)
        while world.flying:
            world.do("end", 0, {}, None)
        assert budget.in_flight == budget.demanded == 0

    run_virtual(main())
