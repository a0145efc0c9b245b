"""A reward that may fail once in a while: tried again, and given up after some time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from spex_agents.engines.base import Request
from spex_agents.engines.calls.gate import Gate
from spex_agents.engines.calls.retries import Retries, attempt_id
from spex_agents.errors import (
    EngineUnavailable,
    PromptTooLong,
    RewardError,
    SessionClosed,
    SettingsError,
    above_zero,
)
from spex_agents.rewards.base import Reward, Wrapper, check_reward, check_single, places
from spex_agents.rewards.parts import Part
from spex_agents.search.tree import Thought

FINAL = (EngineUnavailable, PromptTooLong, SessionClosed, SettingsError)
"""Errors that another try meets again."""


def may_pass(error: BaseException) -> bool:
    """Whether another try may go better: it may after anything but a fault of the whole."""
    return isinstance(error, Exception) and not isinstance(error, FINAL)


class Resilient(Wrapper):
    """A reward with a time limit and further tries.

    A try has failed if the reward raises, takes too long, or returns what is no number in [0, 1].
    Every try is a request of its own, whose tokens are counted whatever becomes of it. Between
    tries it holds no place.

    Args:
        reward: What to try.
        timeout: Seconds that a try may take; None for any. The time limit counts from the moment it
            has a place.
        retries: Further tries after the first.
        retry_wait: Seconds before the second try; doubled before each further one, up to 8.
        max_concurrency: Tries that run at a time, the demanded ones first; None for as many as
            `reward` says.
        transient: Which errors another try may mend, `TimeoutError` among them; by default all but
            those of the whole, such as a refused key.

    Raises:
        SettingsError: `reward` is no reward of single paths, or a setting is outside its range.

    Example:
        >>> from spex_agents.rewards.checking.verifier import Verifier
        >>> answers = iter([ConnectionError("the judge is busy"), 0.9])
        >>> async def ask(question: str, steps: Sequence[str]) -> float:
        ...     if isinstance(answer := next(answers), Exception):
        ...         raise answer
        ...     return answer
        >>> reward = Resilient(Verifier(ask), timeout=10, retry_wait=0)
        >>> asyncio.run(reward.score("?", [Thought(text="4", tokens=1)], Request(id="r", seed=7)))
        0.9
    """

    def __init__(
        self,
        reward: Reward,
        *,
        timeout: float | None = None,
        retries: int = 2,
        retry_wait: float = 0.5,
        max_concurrency: int | None = None,
        transient: Callable[[BaseException], bool] = may_pass,
    ) -> None:
        self.reward = check_single(reward)
        if timeout is not None:
            above_zero(timeout=timeout)
        self.timeout = timeout
        self.retries = Retries(times=retries, wait=retry_wait, patience=0)
        self.transient = transient
        self._gate = Gate(max_concurrency)

    def __repr__(self) -> str:
        return f"Resilient({self.reward!r}, timeout={self.timeout}, retries={self.retries.times})"

    @property
    def max_concurrency(self) -> int | None:
        return min(filter(None, (self._gate.places, places(self.reward))), default=None)

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        """Score the last of `thoughts`.

        Raises:
            RewardError: The last try took too long, or returned what is no number in [0, 1].
            Exception: What the last try raised, as it is.
        """

        async def attempt(number: int) -> float:
            part = Part([request], id=attempt_id(request.id, number), seed=request.seed)
            async with self._gate.place(part):
                request.started = asyncio.get_running_loop().time()
                try:
                    async with asyncio.timeout(self.timeout):
                        return check_reward(
                            await self.reward.score(question, thoughts, part), self.name
                        )
                finally:
                    request.add(part)

        try:
            return await self.retries.run(attempt, transient=self.transient, key=request.id)
        except TimeoutError as error:
            raise RewardError(
                f"reward {self.name!r} took more than {self.timeout} s, "
                f"{self.retries.times + 1} times: raise timeout= or lower max_concurrency="
            ) from error
