"""What the tests of the nodes share: a small search, and an engine that can break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.runnables import RunnableConfig

from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import EngineUnavailable
from spex_agents.rewards.simulated import SimulatedReward
from spex_agents.search.policies.rebase import Rebase
from spex_agents.search.tree import Thought
from spex_agents.speculation.config import SearchConfig, Speculation
from spex_agents.speculation.solving import solve

QUESTION = "What is 5 + 7?"
ASKED = {"question": QUESTION}
SPECULATION = [Speculation(), None]


def settings(speculation: Speculation | None = Speculation(), **more: Any) -> dict[str, Any]:
    """A search whose rewards take as long as its thoughts."""
    return {
        "policy": Rebase(width=6),
        "reward": SimulatedReward(latency=1.5),
        "speculation": speculation,
        **more,
    }


def fast(**more: Any) -> dict[str, Any]:
    """The same search on a real clock, a thousand times faster."""
    return settings(reward=SimulatedReward(latency=0.0015), **more)


def fast_engine() -> SimulatedEngine:
    return SimulatedEngine(speed=1000)


async def tree_hash(**more: Any) -> str:
    """The hash of the same search without a graph, on the running loop's clock."""
    config = SearchConfig(engine=SimulatedEngine(), **settings(None, **more))
    return (await solve(config, QUESTION)).tree.sha256()


class Breakable(SimulatedEngine):
    """Fails every thought from the one numbered `fails_from` on, until that is set to None."""

    fails_from: int | None = None
    written = 0

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        self.written += 1
        if self.fails_from is not None and self.written >= self.fails_from:
            raise EngineUnavailable("the engine is broken: mend it")
        return await super().generate(prompt, request, sampling=sampling, max_tokens=max_tokens)


def thread(name: str = "1") -> RunnableConfig:
    return {"configurable": {"thread_id": name}}


def idle(engine: SimulatedEngine) -> bool:
    return engine.running == engine.waiting == 0


@asynccontextmanager
async def nothing_left(engine: SimulatedEngine) -> AsyncIterator[None]:
    """No request at the engine and no task that was not there before."""
    before = asyncio.all_tasks()
    yield
    assert idle(engine), engine
    assert not (left := asyncio.all_tasks() - before), left
