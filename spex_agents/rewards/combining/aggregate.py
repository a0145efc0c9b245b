"""The scores of a path's steps as one: the last, the least, their product or their mean."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from types import MappingProxyType
from typing import Literal, TypeAlias

from spex_agents.engines.base import Request
from spex_agents.errors import SettingsError
from spex_agents.rewards.base import Reward, Wrapper, check_single, is_seeded, speaks
from spex_agents.rewards.combining.cache import Cached
from spex_agents.rewards.parts import in_parts
from spex_agents.search.tree import Thought, derive_seed

By: TypeAlias = Literal["last", "min", "prod", "mean"]

WAYS: Mapping[By, Callable[[Sequence[float]], float]] = MappingProxyType(
    {
        "last": lambda scores: scores[-1],
        "min": min,
        "prod": math.prod,
        "mean": lambda scores: min(1.0, fmean(scores)),
    }
)


@dataclass(frozen=True, slots=True)
class Aggregate(Wrapper):
    """A path's score out of the scores of its steps, each judged in the path up to it.

    The scores of the earlier steps, which the search has asked for before, are remembered
    ([`Cached`][spex_agents.rewards.Cached]): each step is judged once. For that, a reward that
    draws gets the seed of each step from the question and the steps instead of the request: else a
    step would be judged anew below each of its children.

    Sources: search-and-learn ("last", "min" and "prod"; its searches take "last"), Math-Shepherd
    (Wang et al., 2024: "min"), Lightman et al., 2023 ("prod"), REBASE ("last" or "min" as the
    weight of a vote).

    Attributes:
        reward: The score of a step; cached as it is passed, unless it is already.
        by: "last" is the reward itself.

    Raises:
        SettingsError: `reward` is no reward, or `by` none of these.

    Example:
        >>> from spex_agents.engines.simulated.clock import run_virtual
        >>> from spex_agents.rewards.simulated import SimulatedReward
        >>> path = [Thought(text=f"Step, quality {q}.", tokens=9) for q in ("0.5", "0.9")]
        >>> def score(by: By) -> float:
        ...     asked = Aggregate(SimulatedReward(), by).score("Q", path, Request(id="r", seed=7))
        ...     return round(run_virtual(asked), 2)
        >>> [score(by) for by in WAYS]
        [0.83, 0.5, 0.42, 0.67]
    """

    reward: Reward
    by: By = "min"

    def __post_init__(self) -> None:
        if self.by not in WAYS:
            raise SettingsError(f"by={self.by!r}: must be one of {', '.join(WAYS)}")
        check_single(self.reward)
        if self.by != "last" and not isinstance(self.reward, Cached):
            object.__setattr__(self, "reward", Cached(self.reward))

    @property
    def name(self) -> str:
        return self.reward.name if self.by == "last" else f"{self.by} of {self.reward.name}"

    @property
    def seeded(self) -> bool:
        return self.by == "last" and is_seeded(self.reward)

    @property
    def speaks(self) -> bool:
        return self.by == "last" and speaks(self.reward)

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        """Score the path of `thoughts`.

        Raises:
            RewardError: A step's score failed; the others are given up.
            EngineError: As the reward's own.
        """
        if self.by == "last":
            return await self.reward.score(question, thoughts, request)

        async def step(index: int, part: Request) -> float:
            return await self.reward.score(question, thoughts[: index + 1], part)

        seeds = [_seed(question, thoughts[:end]) for end in range(1, len(thoughts) + 1)]
        return WAYS[self.by](await in_parts(request, seeds, step))


def _seed(question: str, thoughts: Sequence[Thought]) -> int:
    texts = json.dumps([question, *(thought.text for thought in thoughts)])
    return derive_seed(0, (), f"step/{texts}")
