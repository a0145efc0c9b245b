"""Several rewards as one: their weighted mean, or the least of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from spex_agents.engines.base import Engine, Request
from spex_agents.errors import SettingsError
from spex_agents.rewards.base import (
    Reward,
    asks,
    calls,
    check_reward,
    check_single,
    is_seeded,
    places,
    speaks,
)
from spex_agents.rewards.parts import in_parts
from spex_agents.search.tree import Critique, Thought, words_of


class Members:
    """What a reward made of several others has in common with them."""

    __slots__ = ()

    rewards: tuple[Reward, ...]

    @property
    def needs_logprobs(self) -> bool:
        return any(reward.needs_logprobs for reward in self.rewards)

    @property
    def pure(self) -> bool:
        return all(reward.pure for reward in self.rewards)

    @property
    def seeded(self) -> bool:
        return any(map(is_seeded, self.rewards))

    @property
    def speaks(self) -> bool:
        return any(map(speaks, self.rewards))

    @property
    def engine(self) -> Engine | None:
        """The one that members ask; with several, the first."""
        return next((engine for engine in map(asks, self.rewards) if engine is not None), None)

    @property
    def calls(self) -> int:
        """Requests that the members make of it together."""
        return sum(calls(one) for one in self.rewards if asks(one) is self.engine) or 1

    @property
    def max_concurrency(self) -> int | None:
        """That of the member that scores the fewest paths at a time."""
        return min(filter(None, map(places, self.rewards)), default=None)

    async def scores(
        self, question: str, thoughts: Sequence[Thought], request: Request
    ) -> list[float]:
        """The members' scores, asked for at once with the request's own seed."""

        async def ask(index: int, part: Request) -> float:
            reward = self.rewards[index]
            return check_reward(await reward.score(question, thoughts, part), reward.name)

        return await in_parts(request, [request.seed] * len(self.rewards), ask)


def check_rewards(rewards: Sequence[Reward]) -> tuple[Reward, ...]:
    """Return the members of a reward.

    Raises:
        SettingsError: There is none, or one is no reward.
    """
    if not rewards:
        raise SettingsError("rewards=(): must be at least one reward")
    return tuple(map(check_single, rewards))


@dataclass(frozen=True)
class Ensemble(Members):
    """The weighted mean of several rewards, or the least of them, asked for at once.

    Attributes:
        rewards: The members.
        by: "mean", or "min": a thought is as good as its worst score.
        weights: For "mean": one for each, at least 0 and not all 0; equal ones by default.

    Raises:
        SettingsError: There is no member, or the weights do not fit.

    Example:
        >>> from spex_agents.engines.simulated.clock import run_virtual
        >>> from spex_agents.rewards import Calculator, SimulatedReward
        >>> both = Ensemble((Calculator(), SimulatedReward()), weights=(1, 3))
        >>> thought = Thought(text="2 + 2 = 4, quality 0.500000.", tokens=9)
        >>> run_virtual(both.score("What is 2 + 2?", [thought], Request(id="r", seed=7)))
        0.625
    """

    rewards: tuple[Reward, ...]
    by: Literal["mean", "min"] = "mean"
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rewards", check_rewards(self.rewards))
        if self.by not in ("mean", "min"):
            raise SettingsError(f"by={self.by!r}: must be 'mean' or 'min'")
        weights = self.weights
        if weights is None:
            return
        if self.by == "min":
            raise SettingsError(f"weights={weights!r}: the least has none; leave them out")
        if len(weights) != len(self.rewards):
            raise SettingsError(f"weights={weights!r}: must be {len(self.rewards)}, one a reward")
        if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
            raise SettingsError(f"weights={weights!r}: must be at least 0, and not all 0")

    @property
    def name(self) -> str:
        return f"{self.by} of {', '.join(reward.name for reward in self.rewards)}"

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        """Score the last of `thoughts`.

        Raises:
            RewardError: A member failed; the others are cancelled.
            EngineError: As a member's own.
        """
        scores = await self.scores(question, thoughts, request)
        value = self._combined(scores)
        words = [said for score in scores for said in words_of(score)]
        return Critique(value, "\n".join(words)) if words else value

    def _combined(self, scores: Sequence[float]) -> float:
        if self.by == "min":
            return float(min(scores))
        weights = self.weights or (1.0,) * len(scores)
        total = math.fsum(weight * score for weight, score in zip(weights, scores, strict=True))
        return min(1.0, total / math.fsum(weights))
