"""Runs the searches of a case at the same time, on the virtual clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from logging.handlers import BufferingHandler
from statistics import fmean
from typing import Any

from spex_agents.bench.case import Case
from spex_agents.engines.base import Engine
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.fleet import SimulatedFleet
from spex_agents.engines.simulated.trace import TraceWorld
from spex_agents.errors import SpexError
from spex_agents.rewards.base import Reward
from spex_agents.speculation.config import Speculation
from spex_agents.speculation.outcome import recording
from spex_agents.speculation.reporting.events import Listener, ThoughtEvent
from spex_agents.speculation.reporting.ledger import Ledger
from spex_agents.speculation.solving import Result, solve


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


def recorded(case: Case, speculation: Speculation | None) -> Mapping[str, Any]:
    """The first search of a case as `spex view` shows it, beside the others of its run."""
    events: list[ThoughtEvent] = []
    done = searches(case, 0, [speculation] * case.queries, events.append)
    config = case.config(case.engine(), speculation)
    return recording(config, case.name, done.results[0], done.finished[0], events)


def searches(
    case: Case,
    run: int,
    speculations: Sequence[Speculation | None],
    listener: Listener | None = None,
) -> Searches:
    """Run a case's searches on the virtual clock, each with the speculation that it is given.

    The listener hears the first of them.
    """

    async def search(
        query: int, engine: Engine, reward: Reward, engines: Mapping[str, Engine]
    ) -> tuple[Result, float]:
        config = case.config(engine, speculations[query], reward, engines)
        question, seed = case.search(run, query)
        heard = listener if query == 0 else None
        result = await solve(
            config, question, seed=seed, run=f"query-{query}", listener=heard, record=False
        )
        return result, asyncio.get_running_loop().time()

    async def together() -> Searches:
        async with AsyncExitStack() as stack:
            engine = case.engine()
            await stack.enter_async_context(engine)
            engines = case.engines()
            for other in engines.values():
                await stack.enter_async_context(other)
            reward = case.reward(engine)
            done = await asyncio.gather(
                *(search(query, engine, reward, engines) for query in range(case.queries))
            )
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
