"""The yardstick on a virtual clock: deterministic, free of noise, the same code as a real search.

Every row compares the same searches (same seeds, same trees) with speculation off, with it on, and
with an oracle that issues every thought of the final tree as soon as its parent's text exists: the
limit of any speculation.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from logging.handlers import BufferingHandler
from statistics import fmean
from typing import Literal

from spex_agents.bench.trace import TraceReward
from spex_agents.engines.base import Engine
from spex_agents.engines.clock import run_virtual
from spex_agents.engines.fleet import Routing, SimulatedFleet
from spex_agents.engines.hardware import HARDWARE, Hardware
from spex_agents.engines.simulated import SimulatedEngine
from spex_agents.engines.trace import TraceWorld
from spex_agents.engines.world import World
from spex_agents.errors import SettingsError, SpexError, at_least_one
from spex_agents.rewards.base import Reward
from spex_agents.rewards.simulated import SimulatedReward
from spex_agents.search import Limits, Policy, Tree
from spex_agents.speculation.budget import Allocation, Budget
from spex_agents.speculation.config import Forecast, Known, SearchConfig, Speculation
from spex_agents.speculation.ledger import Ledger
from spex_agents.speculation.solve import Result, solve
from spex_agents.speculation.termination import Stop

DEPTHS = {"rstar": 5}
"""Depth caps by policy name; 10 for the others, as in the paper's settings."""

DRAFT_TOKENS, DRAFT_COST = 4, 0.1
"""Token-level speculative decoding: tokens drafted for a step, and what drafting adds to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the benchmark.

    Attributes:
        preset: Hardware, one of `HARDWARE`, or one of your own.
        name: The policy's name, for the report.
        policy: What is searched with.
        depth: Thoughts in a path, at most.
        queries: Searches that run at the same time on one engine.
        reward_latency: Seconds a reward takes.
        reward_spread: Sigma of its log-normal spread.
        seeds: Runs, each with seeds of its own.
        speculation: What "on" means; its budget is filled in.
        capacity: Of the budget: requests in flight, "slots" for as many as the hardware runs, or
            "online" to find it.
        allocation: Of the budget.
        stop: When searches end early, on, off and with the oracle alike.
        world: Who writes the thoughts; None for the synthetic process.
        replicas: Devices that share the requests evenly, as one large one.
        routing: How requests get to the devices if each is a server of its own, with its own cache
            (`SimulatedFleet`); None for the one large device.
        acceptance_length: Tokens a step yields for a request; more than 1 is token-level
            speculative decoding of `DRAFT_TOKENS` at `DRAFT_COST`.

    Raises:
        SettingsError: A value is outside its range.
    """

    preset: str | Hardware
    name: str
    policy: Policy
    depth: int
    queries: int = 1
    reward_latency: float = 0.05
    reward_spread: float = 0.0
    seeds: int = 20
    speculation: Speculation = field(default_factory=Speculation)
    capacity: int | Literal["slots", "online"] = "slots"
    allocation: Allocation = "benefit"
    stop: Stop | None = None
    world: World | None = None
    replicas: int = 1
    routing: Routing | None = None
    acceptance_length: float = 1.0

    def __post_init__(self) -> None:
        at_least_one(queries=self.queries, seeds=self.seeds, replicas=self.replicas)
        self.reward()
        self.budget()
        Limits(depth=self.depth)

    def hardware(self) -> Hardware:
        """The preset, its replicas as one, with token-level speculative decoding if asked."""
        if isinstance(self.preset, Hardware):
            hardware = self.preset
        elif self.preset in HARDWARE:
            hardware = HARDWARE[self.preset]
        else:
            raise SettingsError(f"preset={self.preset!r}: must be one of {', '.join(HARDWARE)}")
        if self.replicas > 1 and self.routing is None:
            hardware = replace(
                hardware,
                name=f"{hardware.name} x{self.replicas}",
                slots=hardware.slots * self.replicas,
                per_sequence=hardware.per_sequence / self.replicas,
                compute=hardware.compute / self.replicas,
                slowdown=hardware.slowdown / self.replicas,
            )
        if self.acceptance_length != 1:
            hardware = replace(
                hardware,
                acceptance_length=self.acceptance_length,
                draft_tokens=DRAFT_TOKENS,
                draft_cost=DRAFT_COST,
            )
        return hardware

    def engine(self) -> SimulatedEngine | SimulatedFleet:
        """A new engine, for one run."""
        if self.routing is None:
            return SimulatedEngine(self.world, self.hardware())
        return SimulatedFleet(
            self.world, self.hardware(), servers=self.replicas, routing=self.routing
        )

    def budget(self) -> Budget:
        """A new budget, for one run."""
        match self.capacity:
            case "slots":
                return Budget(self.hardware().slots, allocation=self.allocation)
            case "online":
                return Budget(None, allocation=self.allocation)
            case int(capacity):
                return Budget(capacity, allocation=self.allocation)
        raise SettingsError(f"capacity={self.capacity!r}: must be a number, or 'slots' or 'online'")

    def reward(self) -> Reward:
        latency, spread = self.reward_latency, self.reward_spread
        if isinstance(self.world, TraceWorld):
            return TraceReward(world=self.world, latency=latency, spread=spread)
        return SimulatedReward(latency=latency, spread=spread)

    def search(self, run: int, query: int) -> tuple[str, int]:
        """The question and the seed of one search; those of a trace come first as recorded."""
        if isinstance(self.world, TraceWorld):
            turn, index = divmod(run * self.queries + query, len(self.world.questions))
            return self.world.questions[index], turn
        return f"question {query}", run * 10_000 + query


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a case came to: means over seeds; times in seconds on the virtual clock.

    Attributes:
        stop: The stopping rule, on, off and with the oracle alike.
        lossy: Whether it may change the answer.
        speedup: off_s / on_s, where a run of several queries ends with its last.
        query_speedup: The same of the mean seconds of a query.
        oracle_share: Of the speed-up that perfect foresight reaches.
        hit_rate: Thoughts begun early that were demanded.
        waste_ratio: Wasted per useful token.
        demanded_slowdown: Growth of the time a useful token takes, because others decode beside it.
        predictor_ms_per_event: Mean computing time; the one figure that differs between runs.
        fairness: Jain's index of the queries' speed-ups: 1 where all gain alike.
        same_tree: Seeds where the trees of off, on and oracle have equal hashes.
        full_s: Seconds with neither speculation nor stopping rule.
        same_answer: Share of searches whose answer is that of the full search.
        synthesised: Share of the off trees' thoughts that a recorded trace lacked.
    """

    preset: str
    policy: str
    width: int
    rollouts: int | None
    queries: int
    reward_latency: float
    seeds: int
    stop: str
    lossy: bool
    off_s: float
    on_s: float
    oracle_s: float
    speedup: float
    query_speedup: float
    oracle_share: float
    hit_rate: float
    waste_ratio: float
    demanded_slowdown: float
    predictor_ms_per_event: float
    fairness: float
    same_tree: int
    full_s: float
    same_answer: float
    synthesised: float

    @property
    def label(self) -> str:
        return f"{self.policy}-{self.rollouts or self.width}"

    def report(self) -> dict[str, object]:
        return {
            key: round(value, 4) if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }


@dataclass(frozen=True, slots=True)
class Searches:
    """What a run of searches at the same time came to.

    Attributes:
        finished: When each ended, in seconds.
        synthesised: Share of their thoughts that a recorded trace lacked.
        read_tokens: Of prompts, where servers have caches of their own.
    """

    results: Sequence[Result]
    finished: Sequence[float]
    synthesised: float
    read_tokens: int = 0

    @property
    def seconds(self) -> float:
        return max(self.finished)

    def hashes(self) -> list[str]:
        return [result.tree.sha256() for result in self.results]

    def ledger(self) -> Ledger:
        total = Ledger()
        for result in self.results:
            total.add(result.ledger)
        return total


def run(case: Case) -> Row:
    """Run one case.

    Example:
        >>> from spex_agents.search import Rstar
        >>> policy = Rstar(rollouts=4)
        >>> case = Case(preset="paper-7b", name="rstar", policy=policy, depth=5, seeds=2)
        >>> row = run(case)
        >>> row.same_tree, row.speedup > 1.5
        (2, True)
    """
    off, on, oracle, full, fairness = [], [], [], [], []
    spent, spent_off = Ledger(), Ledger()
    same_tree = same_answers = 0
    each_off: list[float] = []
    each_on: list[float] = []
    synthesised: list[float] = []
    for seed in range(case.seeds):
        plain = searches(case, seed, [None] * case.queries)
        ahead = searches(
            case, seed, [replace(case.speculation, budget=case.budget())] * case.queries
        )
        budget = case.budget()
        perfect = searches(
            case,
            seed,
            [
                Speculation(selector=_foresee(result.tree), budget=budget)
                for result in plain.results
            ],
        )
        whole = plain
        if case.stop is not None:
            whole = searches(replace(case, stop=None), seed, [None] * case.queries)
        same_tree += plain.hashes() == ahead.hashes() == perfect.hashes()
        same_answers += sum(
            one.answer == other.answer
            for one, other in zip(ahead.results, whole.results, strict=True)
        )
        off.append(plain.seconds)
        on.append(ahead.seconds)
        oracle.append(perfect.seconds)
        full.append(whole.seconds)
        each_off += plain.finished
        each_on += ahead.finished
        synthesised.append(plain.synthesised)
        spent.add(ahead.ledger())
        spent_off.add(plain.ledger())
        fairness.append(_jain([a / b for a, b in zip(plain.finished, ahead.finished, strict=True)]))
    return Row(
        preset=case.hardware().name,
        policy=case.name,
        width=getattr(case.policy, "width", 1),
        rollouts=getattr(case.policy, "rollouts", None),
        queries=case.queries,
        reward_latency=case.reward_latency,
        seeds=case.seeds,
        stop="none" if case.stop is None else str(case.stop),
        lossy=case.stop is not None and case.stop.lossy,
        off_s=fmean(off),
        on_s=fmean(on),
        oracle_s=fmean(oracle),
        speedup=fmean(off) / fmean(on),
        query_speedup=fmean(each_off) / fmean(each_on),
        oracle_share=fmean(oracle) / fmean(on),
        hit_rate=spent.hit_rate,
        waste_ratio=spent.waste_ratio,
        demanded_slowdown=_pace(spent) / _pace(spent_off) - 1,
        predictor_ms_per_event=1000 * spent.plan_seconds / max(1, spent.plans),
        fairness=fmean(fairness),
        same_tree=same_tree,
        full_s=fmean(full),
        same_answer=same_answers / (case.seeds * case.queries),
        synthesised=fmean(synthesised),
    )


def searches(case: Case, run: int, speculations: Sequence[Speculation | None]) -> Searches:
    """Run a case's searches on the virtual clock, each with the speculation that it is given."""

    async def search(query: int, engine: Engine) -> tuple[Result, float]:
        config = SearchConfig(
            engine=engine,
            policy=case.policy,
            reward=case.reward(),
            limits=Limits(depth=case.depth, step_tokens=1024, path_tokens=1024 * case.depth),
            stop=case.stop,
            speculation=speculations[query],
        )
        question, seed = case.search(run, query)
        result = await solve(config, question, seed=seed, run=f"query-{query}")
        return result, asyncio.get_running_loop().time()

    async def together() -> Searches:
        async with case.engine() as engine:
            done = await asyncio.gather(*(search(query, engine) for query in range(case.queries)))
        results = [result for result, _ in done]
        invented = 0.0
        if isinstance(case.world, TraceWorld):
            invented = fmean(case.world.synthesised(result.tree) for result in results)
        read = engine.read_tokens if isinstance(engine, SimulatedFleet) else 0
        return Searches(results, [ended for _, ended in done], invented, read)

    with _faults_raised():
        return run_virtual(together())


@contextmanager
def _faults_raised() -> Iterator[None]:
    """A fault in running ahead is logged and stops no search; here it must not pass for a figure.

    Raises:
        SpexError: Something was logged as an error.
    """
    handler = BufferingHandler(1000)
    handler.setLevel(logging.ERROR)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
    if handler.buffer:
        raise SpexError(f"no figures: {handler.buffer[0].getMessage()}; the log tells more")


def _foresee(tree: Tree) -> Forecast:
    """Perfect foresight: what the search will demand is what it has demanded before."""

    def forecast(known: Known) -> dict[tuple[int, ...], float]:
        return {
            path: 1.0
            for path in tree.thoughts
            if path not in known.thoughts and (len(path) == 1 or path[:-1] in known.thoughts)
        }

    return forecast


def _pace(ledger: Ledger) -> float:
    """Seconds from a request to its text, for each useful token."""
    return ledger.useful_seconds / max(1, ledger.useful_tokens)


def _jain(gains: Sequence[float]) -> float:
    """Jain's index of the searches' speed-ups: 1 where all gain alike, 1/n where one has it all."""
    return sum(gains) ** 2 / (len(gains) * sum(gain * gain for gain in gains))


def sweep(cases: Sequence[Case], progress: Callable[[Row], None] = lambda row: None) -> list[Row]:
    """Run some cases, telling `progress` each row as it comes."""
    rows = []
    for case in cases:
        rows.append(run(case))
        progress(rows[-1])
    return rows
