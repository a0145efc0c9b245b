"""A simulated API: any number of requests at a time, but only so many a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from spex_agents.engines.base import Features, Request, Sampling
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.engines.simulated.hardware import HARDWARE
from spex_agents.engines.simulated.requests import QUESTION_TOKENS, Node, node_of, prefix
from spex_agents.engines.simulated.world import World
from spex_agents.errors import above_zero
from spex_agents.search.tree import Thought

_ALMOST = 1e-9  # seconds: what rounding may take from a wait

API = HARDWARE["api"]
"""50 tokens a second for each request, however many there are."""


class SimulatedApi(SimulatedEngine):
    """An API whose provider limits requests and tokens a minute, and nothing else.

    Both limits are buckets that hold a minute's worth at first and fill evenly. A request starts
    once both cover it, the demanded ones first: a client that is told when to come back does not
    lose its turn. Its prompt and what it will decode are taken out then, and never given back.

    Args:
        world: The source of the thoughts.
        requests: A minute.
        tokens: A minute, of prompts and thoughts together.
        told: Whether its `features` tell the limits.

    Raises:
        SettingsError: A limit is not above 0.

    Example:
        >>> api = SimulatedApi(None, requests=60, tokens=40_000)
        >>> api.features.requests_per_minute
        60
    """

    def __init__(
        self, world: World | None, *, requests: float, tokens: float, told: bool = True
    ) -> None:
        above_zero(requests=requests, tokens=tokens)
        super().__init__(world, API)
        self.limits = (requests, tokens)
        self.told = told
        self._left = [requests, tokens]
        self._filled = 0.0
        self._length: dict[Node, int] = {}
        self._retry: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        return f"simulated/{self.limits[0]:g} requests, {self.limits[1]:g} tokens a minute"

    @property
    def features(self) -> Features:
        requests, tokens = self.limits if self.told else (None, None)
        return replace(
            super().features, slots=None, requests_per_minute=requests, tokens_per_minute=tokens
        )

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        """Continue `prompt.reply` once the limits allow it."""
        self._ask(request)
        thought = await super().generate(prompt, request, sampling=sampling, max_tokens=max_tokens)
        self._length[node_of(request)] = thought.tokens
        return thought

    async def score(
        self, prompt: Prompt, request: Request, *, labels: Sequence[str]
    ) -> Mapping[str, float]:
        """Score once the limits allow it."""
        self._ask(request)
        return await super().score(prompt, request, labels=labels)

    async def aclose(self) -> None:
        """Fail what is still in flight."""
        await super().aclose()
        if self._retry is not None:
            self._retry.cancel()

    def admits(self, request: Request, tokens: int) -> bool:
        """Whether both buckets cover `request`; then it has been taken out of them."""
        now = asyncio.get_running_loop().time()
        for at, limit in enumerate(self.limits):
            self._left[at] = min(limit, self._left[at] + (now - self._filled) * limit / 60)
        self._filled = now
        costs = (1.0, min(self.limits[1], request.prompt_tokens + tokens))
        missing = max(
            (cost - left) * 60 / limit
            for cost, left, limit in zip(costs, self._left, self.limits, strict=True)
        )
        if missing > _ALMOST:
            if self._retry is not None:
                self._retry.cancel()
            self._retry = asyncio.get_running_loop().call_later(missing, self._again)
            return False
        for at, cost in enumerate(costs):
            self._left[at] -= cost
        return True

    def _again(self) -> None:
        self._retry = None
        self.update()

    def _ask(self, request: Request) -> None:
        request.prompt_tokens = sum(
            self._length.get(node, 0) if len(node) > 1 else QUESTION_TOKENS
            for node in prefix(request)
        )
