"""A whole search without a graph around it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import uuid4

from spex_agents.search.policy import Expand
from spex_agents.search.tree import Tree
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.outcome import recording
from spex_agents.speculation.questions import check_question
from spex_agents.speculation.reporting.events import Listener, ThoughtEvent
from spex_agents.speculation.result import Result
from spex_agents.speculation.session import Session

__all__ = ["Result", "run_to_end", "solve"]


async def solve(
    config: SearchConfig,
    question: str,
    *,
    seed: int = 0,
    run: str | None = None,
    listener: Listener | None = None,
    record: bool = True,
) -> Result:
    """Search for the answer of `question`.

    Args:
        config: What the search is made of.
        question: What to answer.
        seed: Decides the run.
        run: First part of all request ids; None for a new one.
        listener: Called with every event.
        record: Keep what happens when, to look at it: `Result.recorded`.

    Raises:
        SettingsError: The question is empty.
        EngineError: The engine is not available, or too many thoughts could not be written.
        RewardError: Too many rewards failed or are out of range.
        PolicyError: The policy broke its contract.

    Example:
        >>> from spex_agents.engines.simulated.clock import run_virtual
        >>> from spex_agents.engines.simulated.engine import SimulatedEngine
        >>> from spex_agents.rewards import SimulatedReward
        >>> from spex_agents.search import Rebase
        >>> config = SearchConfig(
        ...     engine=SimulatedEngine(), policy=Rebase(width=4), reward=SimulatedReward()
        ... )
        >>> run_virtual(solve(config, "What is 5 + 7?")).answer
        '12'
    """
    tree = Tree(check_question(question), seed)
    if not record:
        async with Session(config, tree, run=run or uuid4().hex, listener=listener) as session:
            return await run_to_end(session)
    events: list[ThoughtEvent] = []

    def hear(event: ThoughtEvent) -> None:
        events.append(event)
        if listener is not None:
            listener(event)

    clock = asyncio.get_running_loop().time
    begun = clock()
    async with Session(config, tree, run=run or uuid4().hex, listener=hear) as session:
        result = await run_to_end(session)
        seconds = clock() - begun
    policy = type(config.policy).__name__.lower()
    return replace(result, recorded=recording(config, policy, result, seconds, events))


async def run_to_end(session: Session) -> Result:
    """The loop of `solve`, on an open session that its caller closes.

    Example:
        >>> from spex_agents.engines import SimulatedEngine, run_virtual
        >>> from spex_agents.rewards import SimulatedReward
        >>> from spex_agents.search import BestOfN
        >>> async def searched():
        ...     parts = {"engine": SimulatedEngine(), "reward": SimulatedReward()}
        ...     config = SearchConfig(policy=BestOfN(width=8), **parts)
        ...     async with Session(config, Tree("What is 5 + 7?", 8), run="mine") as session:
        ...         return (await run_to_end(session)).answer
        >>> run_virtual(searched())
        '12'
    """
    try:
        while isinstance(decision := await session.decide(), Expand):
            await session.expand(decision.paths)
            await session.evaluate(decision.paths)
        return await session.result()
    except Exception as error:
        await session.tell_best(error)
        raise
