"""Whole searches on a virtual clock: the world they run in, and what came of them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spex_agents.answers.votes import Ballot
from spex_agents.engines.base import Features, Load, Request, Sampling
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.engines.simulated.hardware import Hardware
from spex_agents.errors import EngineError
from spex_agents.rewards.base import Reward
from spex_agents.rewards.simulated import SimulatedReward
from spex_agents.search import Expand, Limits, Policy, Rebase, Thought, Tree
from spex_agents.search.policy import Decision
from spex_agents.search.tree import Path
from spex_agents.speculation.config import SearchConfig, Speculation
from spex_agents.speculation.reporting.ledger import Ledger
from spex_agents.speculation.session import Session

QUESTION = "What is 5 + 7?"
LIMITS = Limits(depth=4, path_tokens=400)
FLAT = Hardware(name="flat", slots=96, weights=0.02)
"""20 ms a step, however many run."""

Fails = Callable[[Request, int], bool]
"""Whether the call of this request, the n-th of all (from 0), fails."""


@dataclass
class Call:
    """What an engine saw of one request."""

    request: Request
    demanded: bool
    begun: float
    ended: float | None = None
    outcome: str = "running"


class WatchedEngine:
    """An engine that records its calls, and fails or lingers over an abort when told to.

    `fails` is asked when the tokens are decoded; a guess (`fails_at_once`) fails before any is.
    """

    def __init__(
        self,
        inner: SimulatedEngine,
        *,
        fails: Fails | None = None,
        fails_at_once: bool = False,
        abort_seconds: float = 0.0,
    ) -> None:
        self.inner = inner
        self.fails = fails
        self.fails_at_once = fails_at_once
        self.abort_seconds = abort_seconds
        self.fails_with: type[EngineError] = EngineError
        self.calls: dict[str, Call] = {}
        self.promoted: list[str] = []

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def features(self) -> Features:
        return self.inner.features

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        loop = asyncio.get_running_loop()
        assert request.id not in self.calls, f"{request.id} was used twice"
        call = Call(request, request.demanded, loop.time())
        fails = self.fails is not None and self.fails(request, len(self.calls))
        self.calls[request.id] = call
        try:
            if fails and self.fails_at_once:
                raise self.fails_with(f"{request.id} fails at once")
            thought = await self.inner.generate(
                prompt, request, sampling=sampling, max_tokens=max_tokens
            )
            if fails:
                raise self.fails_with(f"{request.id} fails in the end")
        except asyncio.CancelledError:
            call.outcome = "cancelled"
            until = loop.time() + self.abort_seconds
            while loop.time() < until:
                try:
                    await asyncio.sleep(until - loop.time())
                except asyncio.CancelledError:
                    continue  # the abort is on its way: no second cancellation undoes it
            raise
        except EngineError:
            call.outcome = "failed"
            raise
        else:
            call.outcome = "done"
            return thought
        finally:
            call.ended = loop.time()

    async def score(
        self, prompt: Prompt, request: Request, *, labels: Sequence[str]
    ) -> Mapping[str, float]:
        return await self.inner.score(prompt, request, labels=labels)

    async def promote(self, request: Request) -> None:
        self.promoted.append(request.id)
        await self.inner.promote(request)

    async def load(self) -> Load:
        return await self.inner.load()

    async def aclose(self) -> None:
        await self.inner.aclose()

    def began(self, path: str) -> list[Call]:
        """The calls for the thought of one path, in order."""
        return [call for name, call in self.calls.items() if name.split("/")[-2] == path]

    def check_none_redone(self) -> None:
        """A thought is written once, unless its request was cancelled or failed before."""
        done = Counter(
            name.rpartition("-")[0] for name, call in self.calls.items() if call.outcome == "done"
        )
        again = [name for name, count in done.items() if count > 1]
        assert not again, f"written more than once: {again}"


@dataclass(frozen=True)
class Outcome:
    """A search and its cost."""

    tree: Tree
    answer: str | None
    ballots: list[Ballot]
    ledger: Ledger
    decoded: int
    seconds: float
    decisions: list[Decision] = field(repr=False)


async def search(session: Session, *, retries: int = 0) -> tuple[str | None, list[Decision]]:
    """The loop of a search; an `expand` that fails is asked again up to `retries` times."""
    decisions: list[Decision] = []
    while isinstance(decision := await session.decide(), Expand):
        decisions.append(decision)
        while True:
            try:
                await session.expand(decision.paths)
                break
            except EngineError:
                retries -= 1
                if retries < 0:
                    raise
        await session.evaluate(decision.paths)
    return await session.answer(), [*decisions, decision]


def config(engine: WatchedEngine, policy: Policy | None = None, **settings: Any) -> SearchConfig:
    """A search of small size with a reward that takes half a second."""
    return SearchConfig(
        engine=engine,
        **{
            "policy": Rebase(width=4) if policy is None else policy,
            "reward": SimulatedReward(latency=0.5),
            "limits": LIMITS,
            "failures": None,  # the first one ends the search
            **settings,
        },
    )


def make_engine(hardware: Hardware = FLAT, **settings: Any) -> WatchedEngine:
    return WatchedEngine(SimulatedEngine(hardware=hardware), **settings)


def check_idle(engine: WatchedEngine) -> None:
    """Nothing runs, nothing waits, and no task is left but this one."""
    assert (engine.inner.running, engine.inner.waiting) == (0, 0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def run_search(
    policy: Policy,
    *,
    seed: int = 0,
    speculation: Speculation | None = None,
    reward: Reward | None = None,
    engine: WatchedEngine | None = None,
    retries: int = 0,
    **settings: Any,
) -> Outcome:
    """Run a search to its end on a clock of its own, and check that nothing outlives it."""
    engine = make_engine() if engine is None else engine
    if reward is not None:
        settings["reward"] = reward

    async def main() -> Outcome:
        made = config(engine, policy, speculation=speculation, **settings)
        before = engine.inner.decoded_tokens
        loop = asyncio.get_running_loop()
        async with Session(made, Tree(QUESTION, seed), run=f"run{seed}") as session:
            answer, decisions = await search(session, retries=retries)
            ballots = await session.ballots()
            seconds = loop.time()
        check_idle(engine)
        return Outcome(
            session.tree,
            answer,
            ballots,
            session.ledger,
            engine.inner.decoded_tokens - before,
            seconds,
            decisions,
        )

    return run_virtual(main())


def paths_of(decisions: Sequence[Decision]) -> list[Path]:
    return [
        path for decision in decisions if isinstance(decision, Expand) for path in decision.paths
    ]


def through_json(value: Any) -> Any:
    """A policy's state as a checkpoint gives it back: named tuples have become plain ones."""

    def tuples(value: Any) -> Any:
        return tuple(map(tuples, value)) if isinstance(value, list) else value

    return tuples(json.loads(json.dumps(value)))
