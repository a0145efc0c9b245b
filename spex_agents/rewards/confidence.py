"""How sure the model was of what it wrote: free, and with no other model.

Source: "Deep Think with Confidence" (Fu et al., 2025, https://arxiv.org/abs/2508.15260). Its groups
are kept, its unit is another: there a token's confidence is the negative mean log-probability of
the k most probable candidates, which grows without bound as the distribution gets peaked; here it
is the log-probability of the token that was drawn, which is what engines give and which becomes a
probability. So a score here depends on the draw as well as on the distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, TypeAlias, get_args

from spex_agents.engines.base import Request
from spex_agents.errors import RewardError, SettingsError, at_least_one
from spex_agents.rewards.base import Reward
from spex_agents.search.tree import Thought

Over: TypeAlias = Literal["mean", "lowest-group", "bottom-groups", "tail"]

_BOTTOM = 10  # one group in so many is at the bottom


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """exp(mean log-probability) of tokens: their geometric mean probability.

    Attributes:
        whole_path: Over all tokens of the path instead of the last thought's.
        over: Of which tokens. "mean": of all; "lowest-group": of the least sure group of `window`
            tokens in a row; "bottom-groups": the mean of the least sure tenth of these groups, at
            least one; "tail": of the last `window` tokens. Groups overlap, one begins at each
            token; what is shorter than a window is one group.
        otherwise: Scores paths whose thoughts carry no log-probabilities; None for an error.
        window: Tokens of a group. The paper's is 2048, for traces of ten thousand and more.

    Raises:
        SettingsError: `over` is none of these, or `window` is below 1.

    Example:
        >>> import asyncio
        >>> thought = Thought(text="4 5", tokens=3, logprobs=(-0.1, -1.1, -0.3))
        >>> def score(**settings: object) -> float:
        ...     reward = Confidence(**settings)
        ...     asked = reward.score("What is 2 + 2?", [thought], Request(id="r", seed=7))
        ...     return round(asyncio.run(asked), 3)
        >>> score(), score(over="lowest-group", window=1), score(over="tail", window=2)
        (0.607, 0.333, 0.497)
    """

    whole_path: bool = False
    over: Over = "mean"
    window: int = 32
    otherwise: Reward | None = None
    name: str = "confidence"
    needs_logprobs: bool = True
    pure: bool = True
    seeded: bool = False

    def __post_init__(self) -> None:
        if self.over not in get_args(Over):
            raise SettingsError(f"over={self.over!r}: must be one of {', '.join(get_args(Over))}")
        at_least_one(window=self.window)

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        """Score the last of `thoughts`; one without any token scores 0.

        Raises:
            RewardError: A thought carries no log-probabilities, and `otherwise` is None.
        """
        scored = thoughts if self.whole_path else thoughts[-1:]
        logprobs: list[float] = []
        for thought in scored:
            if thought.logprobs is None and self.otherwise is not None:
                return await self.otherwise.score(question, thoughts, request)
            if thought.logprobs is None:
                raise RewardError(
                    f"thought {thought.text!r} carries no log-probabilities: take an engine whose "
                    "features.logprobs is True, and Sampling(logprobs=True)"
                )
            logprobs += thought.logprobs
        # Rounding may lift a log-probability of 0 a little above it.
        return min(1.0, math.exp(self._level(logprobs))) if logprobs else 0.0

    def _level(self, logprobs: Sequence[float]) -> float:
        """The mean log-probability of the tokens that count."""
        if self.over == "mean":
            return fmean(logprobs)
        if self.over == "tail":
            return fmean(logprobs[-self.window :])
        last = max(0, len(logprobs) - self.window)
        groups = sorted(fmean(logprobs[at : at + self.window]) for at in range(last + 1))
        if self.over == "lowest-group":
            return groups[0]
        return fmean(groups[: max(1, len(groups) // _BOTTOM)])
