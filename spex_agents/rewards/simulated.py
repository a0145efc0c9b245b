"""A reward that reads the hidden quality of a simulated thought, as late as you like."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from spex_agents.engines.base import Request
from spex_agents.engines.simulated.world import goodness, quality_in
from spex_agents.errors import RewardError, at_least_zero
from spex_agents.search.tree import Thought


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedReward:
    """The goodness of the last thought's quality, after a latency on the running loop's clock.

    Attributes:
        latency: Mean seconds.
        spread: Standard deviation of the latency's logarithm, drawn from the request's seed;
            0 for a constant latency.

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

    def __post_init__(self) -> None:
        at_least_zero(latency=self.latency, spread=self.spread)

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
        await delay(self.latency, self.spread, request)
        return goodness(quality)


async def delay(latency: float, spread: float, request: Request) -> None:
    """Wait `latency` seconds in the mean, spread log-normally by the request's seed."""
    if spread:
        latency *= math.exp(Random(request.seed).gauss(-(spread**2) / 2, spread))
    await asyncio.sleep(latency)
