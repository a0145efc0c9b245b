"""What foreseeing costs on a large tree, in milliseconds of computing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from time import thread_time

from spex_agents.bench.figures import rounded
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.rewards.simulated import SimulatedReward
from spex_agents.search import Limits, Path, Policy, Rebase, Rstar, Tree
from spex_agents.speculation.config import Forecast, Known, SearchConfig
from spex_agents.speculation.session import Session
from spex_agents.speculation.solving import run_to_end

LARGE = 900
"""Thoughts from which on a tree counts as large."""

SEARCHES: tuple[tuple[str, Policy, int], ...] = (
    ("rebase-180", Rebase(width=180), 12),
    ("rstar-400", Rstar(rollouts=400), 10),
)
"""Searches that grow to about a thousand thoughts, and their depth caps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Milliseconds of a forecast.

    Attributes:
        search: Its name.
        thoughts: In the tree at the end.
        events: Forecasts made, one for each event.
        median_ms: Over all of them.
        large_events: Forecasts made when `LARGE` thoughts or more had been written.
        large_median_ms: Over those.
        large_p95_ms: The 95th percentile of those.
        slowest_ms: The slowest of all.
    """

    search: str
    thoughts: int
    events: int
    median_ms: float
    large_events: int
    large_median_ms: float
    large_p95_ms: float
    slowest_ms: float

    def report(self) -> dict[str, object]:
        return rounded(asdict(self))


def measure(search: str, policy: Policy, depth: int, *, seed: int = 0) -> Cost:
    """Run one search on the virtual clock and take the computing time of each forecast.

    Example:
        >>> measure("rstar-4", Rstar(rollouts=4), 5).events > 0
        True
    """
    times: list[tuple[int, float]] = []

    def timed(forecast: Forecast) -> Forecast:
        def run(known: Known) -> Mapping[Path, float]:
            begun = thread_time()
            found = forecast(known)
            times.append((len(known.thoughts), 1000 * (thread_time() - begun)))
            return found

        return run

    async def searched() -> int:
        async with SimulatedEngine() as engine:
            config = SearchConfig(
                engine=engine,
                policy=policy,
                reward=SimulatedReward(),
                limits=Limits(depth=depth, step_tokens=1024, path_tokens=1024 * depth),
                termination=None,
                failures=None,
            )
            async with Session(config, Tree("question", seed), run=search) as session:
                planner = session.planner
                assert planner is not None  # noqa: S101 (speculation is on)
                assert planner.forecast is not None  # noqa: S101 (and has not failed)
                planner.forecast = timed(planner.forecast)
                return len((await run_to_end(session)).tree)

    thoughts = run_virtual(searched())
    taken = [took for _, took in times]
    large = [took for written, took in times if written >= LARGE]
    return Cost(
        search=search,
        thoughts=thoughts,
        events=len(taken),
        median_ms=median(taken),
        large_events=len(large),
        large_median_ms=median(large) if large else 0.0,
        large_p95_ms=quantiles(large, n=20)[-1] if len(large) > 1 else 0.0,
        slowest_ms=max(taken),
    )
