"""Scores remembered by content: what has been asked once is not asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from spex_agents.engines.base import Request
from spex_agents.errors import RewardError, at_least_one
from spex_agents.rewards.base import Reward, Wrapper, check_reward, check_single
from spex_agents.rewards.parts import Part
from spex_agents.search.tree import Thought
from spex_agents.waiting import until_ended

Content: TypeAlias = tuple[str, tuple[Thought, ...], int | None]
"""All that a score depends on: the question, the thoughts, and the seed of a reward that draws."""


@dataclass(slots=True)
class _Flight:
    """One call under way; the first of those who wait for it pays its tokens."""

    task: asyncio.Task[float]
    request: Part
    paid: Request = field(default_factory=lambda: Request(id="paid", seed=0))

    @property
    def waiting(self) -> list[Request]:
        return self.request.owners

    def settle(self) -> None:
        """Let the first who waits pay what has been decoded since the last settlement."""
        if self.waiting:
            self.waiting[0].add(self.request, self.paid)
        self.paid.add(self.request, self.paid)

    def leave(self, request: Request) -> None:
        if self.waiting[0] is request:
            self.settle()
        at = next(at for at, waiting in enumerate(self.waiting) if waiting is request)
        del self.waiting[at]


class Cached(Wrapper):
    """A reward that remembers its scores by what they depend on.

    That is the question and the thoughts; their log-probabilities too if the reward needs them, and
    the request's seed if it is `seeded`. Equal requests at the same time share one call. Whoever
    began it pays its tokens, and on giving up leaves the rest to the next one; when the last one
    gives up, the call is cancelled. Errors are not remembered.

    Args:
        reward: Whose scores to remember.
        size: Scores to remember, at most; the one not asked for longest goes first.

    Raises:
        SettingsError: `reward` is no reward, or `size` is below 1.

    Example:
        >>> from spex_agents.engines.simulated.clock import run_virtual
        >>> from spex_agents.engines.simulated.engine import SimulatedEngine
        >>> from spex_agents.rewards.asking.judge import Judge
        >>> judge = Cached(Judge(SimulatedEngine()))
        >>> thought = Thought(text="Step 1, quality 0.500000.", tokens=9)
        >>> first, second = Request(id="r/1", seed=7), Request(id="r/2", seed=8)
        >>> async def twice() -> list[float]:
        ...     return [await judge.score("2 + 2?", [thought], asked) for asked in (first, second)]
        >>> run_virtual(twice()), first.tokens, second.tokens
        ([0.5, 0.5], 1, 0)
    """

    def __init__(self, reward: Reward, *, size: int = 10_000) -> None:
        at_least_one(size=size)
        self.reward = check_single(reward)
        self.size = size
        self._scores: dict[Content, float] = {}
        # By event loop too: a call of one cannot be awaited in another.
        self._flights: dict[tuple[asyncio.AbstractEventLoop, Content], _Flight] = {}

    def __repr__(self) -> str:
        return f"<Cached {self.reward!r}: {len(self._scores)} of {self.size} scores>"

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        """Score the last of `thoughts`, or recall its score.

        Raises:
            RewardError: The reward failed, is no number in [0, 1], or was cancelled from outside.
            EngineError: As the reward's own.
        """
        content = self._content(question, thoughts, request)
        if (known := self._scores.pop(content, None)) is not None:
            self._scores[content] = known  # the youngest again
            return known
        loop = asyncio.get_running_loop()
        flight = self._flights.get((loop, content))
        if flight is None:
            flight = self._begin(loop, content, question, thoughts, request)
        flight.waiting.append(request)
        try:
            await asyncio.wait([flight.task])
        except asyncio.CancelledError:
            try:
                if len(flight.waiting) == 1:
                    self._forget(loop, content, flight)
                    flight.task.cancel()
                    await until_ended(flight.task)
            finally:
                flight.leave(request)
            raise
        if flight.task.cancelled():
            raise RewardError(f"reward {self.name!r} was cancelled while others waited for it")
        return flight.task.result()

    def _content(self, question: str, thoughts: Sequence[Thought], request: Request) -> Content:
        if not self.needs_logprobs:
            thoughts = [replace(thought, logprobs=None) for thought in thoughts]
        return question, tuple(thoughts), request.seed if self.seeded else None

    def _begin(
        self,
        loop: asyncio.AbstractEventLoop,
        content: Content,
        question: str,
        thoughts: Sequence[Thought],
        request: Request,
    ) -> _Flight:
        part = Part([], id=request.id, seed=request.seed)

        async def call() -> float:
            return check_reward(await self.reward.score(question, thoughts, part), self.name)

        def landed(task: asyncio.Task[float]) -> None:
            self._forget(loop, content, flight)
            flight.settle()
            if not task.cancelled() and task.exception() is None:
                self._scores[content] = task.result()
                while len(self._scores) > self.size:
                    del self._scores[next(iter(self._scores))]

        flight = _Flight(loop.create_task(call()), part)
        flight.task.add_done_callback(landed)
        self._flights[loop, content] = flight
        return flight

    def _forget(self, loop: asyncio.AbstractEventLoop, content: Content, flight: _Flight) -> None:
        """Let nobody join it any more."""
        if self._flights.get((loop, content)) is flight:
            del self._flights[loop, content]
