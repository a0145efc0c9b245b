"""How sure the model was of what it wrote: free, and with no other model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from spex_agents.engines.base import Request
from spex_agents.errors import RewardError
from spex_agents.search.tree import Thought


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """exp(mean log-probability of the tokens): their geometric mean probability.

    Attributes:
        whole_path: Over all tokens of the path instead of the last thought's.

    Example:
        >>> import asyncio
        >>> thought = Thought(text="4", tokens=1, logprobs=(-0.5,))
        >>> score = Confidence().score("What is 2 + 2?", [thought], Request(id="r", seed=7))
        >>> round(asyncio.run(score), 3)
        0.607
    """

    whole_path: bool = False
    name: str = "confidence"
    needs_logprobs: bool = True
    pure: bool = True

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        """Score the last of `thoughts`; one without any token scores 0.

        Raises:
            RewardError: A thought carries no log-probabilities.
        """
        scored = thoughts if self.whole_path else thoughts[-1:]
        logprobs: list[float] = []
        for thought in scored:
            if thought.logprobs is None:
                raise RewardError(
                    f"thought {thought.text!r} carries no log-probabilities: take an engine whose "
                    "features.logprobs is True, and Sampling(logprobs=True)"
                )
            logprobs += thought.logprobs
        # Rounding may lift a log-probability of 0 a little above it.
        return min(1.0, math.exp(fmean(logprobs))) if logprobs else 0.0
