"""Scores several paths in one call: a model on a device, or a service that takes lists."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from spex_agents._functions import called, check_async
from spex_agents.engines.base import Request
from spex_agents.engines.calls.gate import Gate
from spex_agents.errors import RewardError, at_least_one, at_least_zero
from spex_agents.loops import PerLoop
from spex_agents.rewards.base import check_reward
from spex_agents.rewards.parts import Part
from spex_agents.search.tree import Thought
from spex_agents.waiting import until_ended


class Candidate(NamedTuple):
    """A path to score.

    Attributes:
        question: At the root.
        steps: The texts of its thoughts.

    Example:
        >>> candidate = Candidate("What is 5 + 7?", ("5 + 7 = 12",))
        >>> candidate.steps[-1]
        '5 + 7 = 12'
    """

    question: str
    steps: Sequence[str]


BatchFunction: TypeAlias = Callable[[Sequence[Candidate]], Awaitable[Sequence[float]]]
"""``async def score(candidates) -> list of floats``, one for each."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """One who waits for a score.

    Attributes:
        batch: With which its path is scored; it may pass on to the next one before that begins.
    """

    candidate: Candidate
    request: Request
    score: asyncio.Future[float]
    batch: _Batch


class _Batch:
    """Those who share a call, and its request: as urgent as the most urgent of theirs."""

    def __init__(self) -> None:
        self.members: list[_Waiting] = []
        self.request = Part([], id="batch", seed=0)
        self.task: asyncio.Task[None] | None = None

    def join(self, waiting: _Waiting) -> None:
        waiting.batch = self
        self.members.append(waiting)
        self.request.owners.append(waiting.request)

    def leave(self, waiting: _Waiting) -> None:
        self.members.remove(waiting)
        self.request.owners[:] = [member.request for member in self.members]

    def fail(self, error: RewardError) -> None:
        for member in self.members:
            if not member.score.done():
                member.score.set_exception(error)


class Batched:
    """Scores with ``async def function(candidates) -> list of floats``, several paths at a time.

    While as many batches run as may, what comes waits for the next one, the demanded paths first.
    A score must not depend on what it shares a batch with. One who gives up leaves the batch to
    the others; the last one to go cancels the call.

    Args:
        function: Gets a list of `Candidate`, and returns a number in [0, 1] for each.
        size: Paths in a batch, at most.
        batches: Batches that run at a time, over all searches with this reward.
        wait: Seconds for which a path that could begin waits for company.
        pure: Declares it free of side effects, as of `Verifier`.
        name: For reports; by default the function's own.

    Attributes:
        max_concurrency: Paths that are scored at a time.

    Raises:
        SettingsError: `function` is not async or does not take one list, or a setting is outside
            its range.

    Example:
        >>> async def short(candidates: Sequence[Candidate]) -> list[float]:
        ...     return [1 / len(candidate.steps) for candidate in candidates]
        >>> reward = Batched(short)
        >>> async def both() -> list[float]:
        ...     one, two = Request(id="r/0", seed=7), Request(id="r/1", seed=8)
        ...     step = Thought(text="2 + 2", tokens=3)
        ...     return await asyncio.gather(
        ...         reward.score("?", [step], one), reward.score("?", [step, step], two)
        ...     )
        >>> asyncio.run(both())
        [1.0, 0.5]
    """

    needs_logprobs = False
    seeded = False

    def __init__(
        self,
        function: BatchFunction,
        *,
        size: int = 16,
        batches: int = 1,
        wait: float = 0.0,
        pure: bool = False,
        name: str | None = None,
    ) -> None:
        check_async("reward", function, "candidates", returns="Sequence[float]")
        at_least_one(size=size, batches=batches)
        at_least_zero(wait=wait)
        self.pure = pure
        self.name = name or called(function)
        self.max_concurrency = size * batches
        self._function = function
        self._size = size
        self._wait = wait
        self._gate = Gate(batches)
        self._next: PerLoop[list[_Batch]] = PerLoop(list)
        """The batch that still takes paths, if there is one."""

    def __repr__(self) -> str:
        return f"Batched({self.name}, size={self._size})"

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        """Score the last of `thoughts`, together with what others ask for.

        Raises:
            RewardError: The function failed, or did not return a number in [0, 1] for each path.
        """
        candidate = Candidate(question, [thought.text for thought in thoughts])
        score: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(candidate, request, score, batch := self._gathering())
        batch.join(waiting)
        try:
            await asyncio.wait([score])
        except asyncio.CancelledError:
            await self._give_up(waiting)
            raise
        return score.result()

    def _gathering(self) -> _Batch:
        """The batch that has not begun yet."""
        gathering = self._next()
        if not gathering:
            gathering.append(batch := _Batch())
            batch.task = asyncio.create_task(self._run(batch))
            batch.task.add_done_callback(
                lambda _: batch.fail(RewardError(f"reward {self.name!r} was cancelled"))
            )
        return gathering[0]

    async def _run(self, batch: _Batch) -> None:
        await asyncio.sleep(self._wait)
        async with self._gate.place(batch.request):
            self._next().remove(batch)
            waiting = sorted(batch.members, key=lambda member: not member.request.demanded)
            asked, late = waiting[: self._size], waiting[self._size :]
            for member in late:
                batch.leave(member)
                self._gathering().join(member)
            for member in asked:
                member.request.started = asyncio.get_running_loop().time()
            try:
                scores = await self._function([member.candidate for member in asked])
            except Exception as error:
                failed = RewardError(f"reward {self.name!r} failed: {error!r}")
                failed.__cause__ = error
                batch.fail(failed)
                return
        if len(scores) != len(asked):
            batch.fail(
                RewardError(
                    f"reward {self.name!r} returned {len(scores)} numbers for {len(asked)} paths: "
                    "must be one for each"
                )
            )
        for member, value in zip(asked, scores, strict=False):
            if member.score.done():
                continue  # it has given up, or failed with the others
            try:
                member.score.set_result(check_reward(value, self.name))
            except RewardError as error:
                member.score.set_exception(error)

    async def _give_up(self, waiting: _Waiting) -> None:
        waiting.score.cancel()
        batch = waiting.batch
        batch.leave(waiting)
        if not batch.members and batch.task is not None:
            if batch in (gathering := self._next()):
                gathering.remove(batch)
            batch.task.cancel()
            await until_ended(batch.task)
