"""A reward that reads the hidden quality of a simulated thought, as late as you like."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from spex_agents.engines.base import Request
from spex_agents.engines.calls.gate import Gate
from spex_agents.engines.simulated.world import goodness, quality_in
from spex_agents.errors import RewardError, at_least_zero
from spex_agents.search.tree import Thought


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True, eq=False)
class SimulatedReward:
    """The goodness of the last thought's quality, after a latency on the running loop's clock.

    Attributes:
        latency: Mean seconds.
        spread: Standard deviation of the latency's logarithm, drawn from the request's seed;
            0 for a constant latency.
        max_concurrency: Calls that run at a time, the demanded ones first; None for no limit.

    Raises:
        SettingsError: A value is below 0.

    Example:
        >>> from spex_agents.engines.simulated.clock import run_virtual
        >>> reward = SimulatedReward(latency=3.0)
        >>> thought = Thought(text="Step 1, quality 0.500000.", tokens=9)
        >>> run_virtual(reward.score("What is 2 + 2?", [thought], Request(id="r", seed=7)))
        0.5
    """

    latency: float = 0.05
    spread: float = 0.0
    name: str = "simulated"
    needs_logprobs: bool = False
    pure: bool = True
    seeded: bool = False
    max_concurrency: int | None = None
    _gate: Gate = field(init=False, repr=False)

    def __post_init__(self) -> None:
        at_least_zero(latency=self.latency, spread=self.spread)
        object.__setattr__(self, "_gate", Gate(self.max_concurrency))

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        """Score the last of `thoughts`.

        Raises:
            RewardError: It was not written by a simulated engine.
        """
        text = thoughts[-1].text if thoughts else ""
        if (quality := quality_in(text)) is None:
            raise RewardError(
                f"thought {text!r} names no quality: the simulated reward scores only thoughts of "
                "the simulated engine"
            )
        async with self._gate.place(request):
            request.started = asyncio.get_running_loop().time()
            await delay(self.latency, self.spread, request)
        return goodness(quality)


async def delay(latency: float, spread: float, request: Request) -> None:
    """Wait `latency` seconds in the mean, spread log-normally by the request's seed."""
    if spread:
        latency *= math.exp(Random(request.seed).gauss(-(spread**2) / 2, spread))
    await asyncio.sleep(latency)
