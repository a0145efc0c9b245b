"""The yardstick on a virtual clock: deterministic, free of noise, the same code as a real search.

Every row compares the same searches (same seeds, same trees) with speculation off, with it on, and
with an oracle that issues every thought of the final tree as soon as its parent's text exists: the
limit of any speculation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean

from spex_agents.engines.clock import run_virtual
from spex_agents.engines.hardware import HARDWARE, Hardware
from spex_agents.engines.simulated import SimulatedEngine
from spex_agents.engines.world import World
from spex_agents.errors import SettingsError
from spex_agents.rewards.simulated import SimulatedReward
from spex_agents.search import Limits, Policy, Tree
from spex_agents.speculation.budget import Allocation, Budget
from spex_agents.speculation.config import Forecast, Known, SearchConfig, Speculation
from spex_agents.speculation.ledger import Ledger
from spex_agents.speculation.solve import Result, solve
from spex_agents.speculation.termination import Stop

DEPTHS = {"rstar": 5}
"""Depth caps by policy name; 10 for the others, as in the paper's settings."""


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
        capacity: Of the budget; None for the hardware's slots.
        allocation: Of the budget.
        stop: When searches end early, on, off and with the oracle alike.
        world: Who writes the thoughts; None for the synthetic process.
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
    capacity: int | None = None
    allocation: Allocation = "benefit"
    stop: Stop | None = None
    world: World | None = None

    def __post_init__(self) -> None:
        for name in ("queries", "seeds"):
            if (value := getattr(self, name)) < 1:
                raise SettingsError(f"{name}={value!r}: must be a whole number of at least 1")
        if self.reward_latency < 0:
            raise SettingsError(f"reward_latency={self.reward_latency!r}: must be at least 0 s")
        self.hardware()

    def hardware(self) -> Hardware:
        if isinstance(self.preset, Hardware):
            return self.preset
        if self.preset not in HARDWARE:
            raise SettingsError(f"preset={self.preset!r}: must be one of {', '.join(HARDWARE)}")
        return HARDWARE[self.preset]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a case came to: means over seeds; times in seconds on the virtual clock."""

    preset: str
    policy: str
    width: int
    rollouts: int | None
    queries: int
    reward_latency: float
    seeds: int
    off_s: float
    on_s: float
    oracle_s: float
    speedup: float
    oracle_share: float
    hit_rate: float
    waste_ratio: float
    demanded_slowdown: float
    predictor_ms_per_event: float
    fairness: float
    same_tree: int

    def report(self) -> dict[str, object]:
        return {
            key: round(value, 4) if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }


@dataclass(frozen=True, slots=True)
class _Run:
    seconds: float
    results: Sequence[Result]
    finished: Sequence[float]

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
    off, on, oracle, spent, spent_off, same = [], [], [], Ledger(), Ledger(), 0
    fairness = []
    for seed in range(case.seeds):
        plain = _searches(case, seed, [None] * case.queries)
        speculation = replace(case.speculation, budget=_budget(case))
        ahead = _searches(case, seed, [speculation] * case.queries)
        budget = _budget(case)
        foreseen = [
            Speculation(selector=_foresee(result.tree), budget=budget) for result in plain.results
        ]
        perfect = _searches(case, seed, foreseen)
        same += _hashes(plain) == _hashes(ahead) == _hashes(perfect)
        off.append(plain.seconds)
        on.append(ahead.seconds)
        oracle.append(perfect.seconds)
        spent.add(ahead.ledger())
        spent_off.add(plain.ledger())
        fairness.append(_jain([a / b for a, b in zip(plain.finished, ahead.finished, strict=True)]))
    pace, pace_off = (
        ledger.useful_seconds / max(1, ledger.useful_tokens) for ledger in (spent, spent_off)
    )
    speedup, limit = fmean(off) / fmean(on), fmean(off) / fmean(oracle)
    return Row(
        preset=case.hardware().name,
        policy=case.name,
        width=getattr(case.policy, "width", 1),
        rollouts=getattr(case.policy, "rollouts", None),
        queries=case.queries,
        reward_latency=case.reward_latency,
        seeds=case.seeds,
        off_s=fmean(off),
        on_s=fmean(on),
        oracle_s=fmean(oracle),
        speedup=speedup,
        oracle_share=speedup / limit,
        hit_rate=spent.hit_rate,
        waste_ratio=spent.waste_ratio,
        demanded_slowdown=pace / pace_off - 1,
        predictor_ms_per_event=1000 * spent.plan_seconds / max(1, spent.plans),
        fairness=fmean(fairness),
        same_tree=same,
    )


def _searches(case: Case, seed: int, speculations: Sequence[Speculation | None]) -> _Run:
    async def search(index: int, engine: SimulatedEngine) -> tuple[Result, float]:
        config = SearchConfig(
            engine=engine,
            policy=case.policy,
            reward=SimulatedReward(latency=case.reward_latency, spread=case.reward_spread),
            limits=Limits(depth=case.depth, step_tokens=1024, path_tokens=1024 * case.depth),
            stop=case.stop,
            speculation=speculations[index],
        )
        result = await solve(
            config, f"question {index}", seed=seed * 10_000 + index, run=f"query-{index}"
        )
        return result, asyncio.get_running_loop().time()

    async def together() -> _Run:
        async with SimulatedEngine(case.world, case.hardware()) as engine:
            began = asyncio.get_running_loop().time()
            done = await asyncio.gather(*(search(index, engine) for index in range(case.queries)))
            finished = [ended - began for _, ended in done]
            return _Run(max(finished), [result for result, _ in done], finished)

    return run_virtual(together())


def _budget(case: Case) -> Budget:
    return Budget(case.capacity or case.hardware().slots, allocation=case.allocation)


def _foresee(tree: Tree) -> Forecast:
    """Perfect foresight: what the search will demand is what it has demanded before."""

    def forecast(known: Known) -> dict[tuple[int, ...], float]:
        return {
            path: 1.0
            for path in tree.thoughts
            if path not in known.thoughts and (len(path) == 1 or path[:-1] in known.thoughts)
        }

    return forecast


def _hashes(run: _Run) -> list[str]:
    return [result.tree.sha256() for result in run.results]


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
