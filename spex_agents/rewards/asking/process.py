"""A trained process reward model, served by SGLang."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from spex_agents.engines.base import Request
from spex_agents.engines.calls.control import escaped
from spex_agents.engines.calls.gate import Gate
from spex_agents.engines.calls.retries import Retries
from spex_agents.engines.sglang.client import SGLangClient
from spex_agents.engines.sglang.engine import SGLangEngine
from spex_agents.engines.sglang.prompts import PromptReader
from spex_agents.errors import RewardError
from spex_agents.rewards.asking.profiles import Profile
from spex_agents.search.tree import Thought


class ProcessReward:
    """Scores a step with a process reward model: by its labels, or by its reward head.

    Scores are asked for as soon as a thought is finished, at the side of the thoughts still being
    written; the server batches them and reuses the cached prefix of each path. The profile's own
    marks are control, special tokens in questions and thoughts are not: a space breaks them.

    Args:
        server: The reward model's address, or the engine that was given it as ``reward_url``
            (one without serves both). An address has a client of its own: `aclose` closes it.
        profile: How the model reads a path: one of `spex_agents.rewards.asking.profiles`, or one
            of your own.
        api_key: For an address: sent as the bearer token.
        timeout: For an address: seconds to wait for an answer.
        max_concurrency: Paths that are scored at a time, the demanded ones first; None for as many
            as come.

    Raises:
        SettingsError: `max_concurrency` is below 1.

    Example:
        >>> from spex_agents.rewards.asking.profiles import MATH_SHEPHERD
        >>> ProcessReward("http://127.0.0.1:30001", MATH_SHEPHERD).name
        'math-shepherd'
    """

    needs_logprobs = False
    pure = True
    seeded = False

    def __init__(
        self,
        server: SGLangEngine | str,
        profile: Profile,
        *,
        api_key: str | None = None,
        timeout: float = 300.0,
        max_concurrency: int | None = None,
    ) -> None:
        self.profile = profile
        self._owned: SGLangClient | None = None
        if isinstance(server, str):
            self._owned = SGLangClient(server, api_key=api_key, timeout=timeout, retries=Retries())
            self._server = self._owned
        else:
            self._server = server.reward_server
        self._reader = PromptReader(self._server)
        self.max_concurrency = max_concurrency
        self._gate = Gate(max_concurrency)

    def __repr__(self) -> str:
        return f"<ProcessReward {self.name} at {self._server.url}>"

    @property
    def name(self) -> str:
        return self.profile.name

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        """Score the last of `thoughts`.

        Raises:
            RewardError: The model gives neither label any probability, or its head another number
                of values than the profile says.
            EngineError: No answer came.
        """
        reader, profile = self._reader, self.profile
        await self._server.info()
        steps = [escaped(thought.text) for thought in thoughts]
        prompt = await reader.tokens(profile.prompt(escaped(question), steps))
        async with self._gate.place(request):
            request.started = asyncio.get_running_loop().time()
            if profile.labels is None:
                return self._read_head(await reader.classify(prompt, request))
            chances = await reader.next_token(prompt, profile.labels, request)
        good, bad = (chances[label] for label in profile.labels)
        if not good + bad > 0:
            raise RewardError(
                f"neither {profile.labels[0]!r} nor {profile.labels[1]!r} has any probability at "
                f"{self._server.url}: another profile= is the model's"
            )
        return good / (good + bad)

    async def aclose(self) -> None:
        """Close the client of an address; an engine closes its own."""
        if self._owned is not None:
            await self._owned.aclose()

    def _read_head(self, values: Sequence[float]) -> float:
        wanted = 1 if self.profile.head == "sigmoid" else 2
        if len(values) != wanted or not all(map(math.isfinite, values)):
            raise RewardError(
                f"the reward head at {self._server.url} gave {list(values)[:8]!r}: "
                f"head={self.profile.head!r} needs {wanted} finite; another profile= is the model's"
            )
        # The softmax of two values is the sigmoid of their difference.
        margin = values[0] if wanted == 1 else values[1] - values[0]
        return 1 / (1 + math.exp(-margin)) if margin > -700 else 0.0
