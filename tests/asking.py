"""What tests ask of a real server, and how they watch it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import anyio
from processes import PATIENCE

from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.engines.sglang.client import SGLangClient
from spex_agents.engines.sglang.engine import SGLangEngine
from spex_agents.errors import EngineError
from spex_agents.rewards import Confidence, Reward
from spex_agents.search import Limits, Policy, Thought, Tree
from spex_agents.speculation.config import SearchConfig, Speculation

FREE = Sampling(stop=())
TAG = uuid4().hex[:8]
"""Begins all ids: none is ever sent twice."""
QUESTION = "Ann has 3 apples and buys 4 more. How many has she?"


def ask_for(path: str, *, seed: int = 1, demanded: bool = True) -> Request:
    return Request(id=f"{TAG}{path}", seed=seed, demanded=demanded)


async def write(
    engine: SGLangEngine,
    request: Request,
    *,
    about: str = "apples",
    tokens: int = 16,
    into: dict[str, Any] | None = None,
) -> Thought | EngineError:
    """A thought, or the error that it ended with."""
    prompt = Prompt((Message("user", f"Tell me about {about}."),))
    outcome: Thought | EngineError
    try:
        outcome = await engine.generate(prompt, request, sampling=FREE, max_tokens=tokens)
    except EngineError as error:
        outcome = error
    if into is not None:
        into[request.id.removeprefix(TAG)] = (outcome, anyio.current_time())
    return outcome


async def spex(server: SGLangEngine | SGLangClient) -> dict[str, Any]:
    """What the plugin says of itself."""
    asked = server.server if isinstance(server, SGLangEngine) else server
    (found,) = await asked.ask("/server_info")
    state: dict[str, Any] = found["internal_states"][0]["spex"]
    return state


async def becomes_idle(engine: SGLangEngine) -> bool:
    """Whether there comes a time when nothing runs or waits at the server."""
    with anyio.move_on_after(PATIENCE):
        while True:
            load = await engine.load()
            if load.running == load.waiting == 0:
                return True
    return False


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not holds():  # noqa: ASYNC110 (nobody tells)
            await anyio.sleep(0.02)


async def until_load(engine: SGLangEngine, *, running: int = 0, waiting: int = 0) -> None:
    """Return once at least so many run and wait at the server."""
    with anyio.fail_after(PATIENCE):
        while True:
            load = await engine.load()
            if load.running >= running and load.waiting >= waiting:
                return
            await anyio.sleep(0.02)


def config(
    engine: SGLangEngine,
    policy: Policy,
    *,
    ahead: bool,
    step_tokens: int = 12,
    reward: Reward | None = None,
) -> SearchConfig:
    return SearchConfig(
        engine=engine,
        policy=policy,
        reward=reward or Confidence(),
        limits=Limits(depth=3, step_tokens=step_tokens, path_tokens=4 * step_tokens),
        speculation=Speculation() if ahead else None,
        termination=None,
    )


def digest(tree: Tree) -> list[tuple[Any, str, float | None]]:
    """What two equal trees have in common: rewards up to rounding."""
    return [
        (path, thought.text, None if (r := tree.rewards.get(path)) is None else round(r, 4))
        for path, thought in tree.thoughts.items()
    ]
