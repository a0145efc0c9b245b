"""A simulated engine: thoughts of a `World` at the pace of some `Hardware`, on the loop's clock.

On a virtual clock (`run_virtual`) it replays hours of decoding in seconds, without noise; on a real
one it is a dry run without a model.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from typing import Literal

from spex_agents.engines.base import Closing, Features, Load, Request, Sampling
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.hardware import HARDWARE, Hardware
from spex_agents.engines.simulated.world import (
    SyntheticWorld,
    World,
    goodness,
    quality_in,
    whole_path,
)
from spex_agents.errors import EngineError, EngineUnavailable, above_zero
from spex_agents.search.tree import Thought

_ALMOST = 1e-6  # of a token: what rounding may take from a whole one


class _Job:
    """A request in the engine; `start` and `finish` are in steps of the engine's progress."""

    __slots__ = ("before", "done", "finish", "request", "start", "state", "tokens")

    def __init__(self, request: Request, tokens: int, done: asyncio.Future[None]) -> None:
        self.request = request
        self.before = request.tokens
        self.tokens = tokens
        self.done = done
        self.start = self.finish = 0.0
        self.state: Literal["waiting", "running", "gone"] = "waiting"


class SimulatedEngine(Closing):
    """Runs up to `hardware.slots` requests at once; all of them decode at the same pace.

    That pace changes only when a request starts, finishes or is cancelled, so the engine keeps one
    number, the steps every running request has made, and one timer, for the next to finish; an
    event costs O(log n). A demanded request starts before any speculative one that waits, and
    within a class the first come is the first served. Running requests are never interrupted.
    `Request.tokens` is current after `load` and whenever a call has ended.

    Args:
        world: The source of the thoughts.
        hardware: Slots and step time.
        speed: Divides every time: 100 makes a dry run in real time a hundred times shorter.

    Attributes:
        running: Requests that decode now.
        busy_seconds: Integral of `running` over time; divide by elapsed time for the mean batch.
        steps: Decoding steps made while anything ran.

    Raises:
        SettingsError: `speed` is not above 0.

    Example:
        >>> from spex_agents.engines.simulated.clock import run_virtual
        >>> async def ask() -> float:
        ...     request = Request(id="run/0", seed=7)
        ...     async with SimulatedEngine() as engine:
        ...         await engine.generate(Prompt(()), request, sampling=Sampling(), max_tokens=50)
        ...     return asyncio.get_running_loop().time()
        >>> round(run_virtual(ask()), 4)  # 50 tokens, each a step of 20.016 ms
        1.0008
    """

    def __init__(
        self,
        world: World | None = None,
        hardware: Hardware = HARDWARE["paper-7b"],
        *,
        speed: float = 1.0,
    ) -> None:
        above_zero(speed=speed)
        self.world: World = SyntheticWorld() if world is None else world
        self.hardware = hardware
        self.running = 0
        self.busy_seconds = 0.0
        self.steps = 0.0
        self._speed = speed
        self._ended_tokens = 0
        self._jobs: dict[str, _Job] = {}
        self._queues: tuple[OrderedDict[str, _Job], OrderedDict[str, _Job]] = (
            OrderedDict(),
            OrderedDict(),
        )
        self._finishing: list[tuple[float, int, _Job]] = []
        self._started = 0
        self._seconds_per_step = 0.0
        self._reading = 0.0  # seconds still to come in which nothing decodes
        self._updated = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._loop: tuple[asyncio.AbstractEventLoop, int] | None = None

    def __repr__(self) -> str:
        return f"<SimulatedEngine {self.name} running={self.running} waiting={self.waiting}>"

    @property
    def name(self) -> str:
        return f"simulated/{self.hardware.name}"

    @property
    def features(self) -> Features:
        return Features(
            exactness="exact",
            logprobs=True,
            labels=True,
            promotion=True,
            slots=self.hardware.slots,
        )

    @property
    def waiting(self) -> int:
        return sum(map(len, self._queues))

    @property
    def decoded_tokens(self) -> int:
        """Tokens decoded for all requests so far, cancelled ones included, at the last event."""
        return self._ended_tokens + sum(self._progress(job) for job in self._running())

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        """Continue `prompt.reply` by one thought, or to the end of its path without `stop`.

        The world sees the steps of the path, however a policy's own prompt tells them.
        """
        prompt = prompt.plain or prompt
        if sampling.stop:
            thought = self.world.thought(prompt, request.seed, max_tokens)
        else:
            thought = whole_path(self.world, prompt, request.seed, max_tokens)
        await self._decode(request, thought.tokens)
        return thought if sampling.logprobs else replace(thought, logprobs=None)

    async def score(
        self, prompt: Prompt, request: Request, *, labels: Sequence[str]
    ) -> Mapping[str, float]:
        """The first label gets the goodness of the last thought; the others share the rest."""
        text = prompt.messages[-1].content if prompt.messages else ""
        quality = quality_in(f"{text}\n{prompt.reply}")
        await self._decode(request, 1)
        first = 0.5 if quality is None else goodness(quality)
        others = (1 - first) / max(1, len(labels) - 1)
        return {label: others if index else first for index, label in enumerate(labels)}

    async def promote(self, request: Request) -> None:
        """Move a waiting request, or the waiting parts of it, behind the demanded ones."""
        guesses, demanded = self._queues
        for name in [name for name in guesses if request.covers(name)]:
            demanded[name] = guesses.pop(name)

    async def load(self) -> Load:
        self._advance()
        for job in self._running():
            job.request.tokens = job.before + self._progress(job)
        return Load(running=self.running, waiting=self.waiting)

    async def aclose(self) -> None:
        """Fail what is still in flight."""
        for job in tuple(self._jobs.values()):
            if not job.done.done():
                job.done.set_exception(
                    EngineError(f"request {job.request.id!r} failed: the engine was closed")
                )

    def reading_seconds(self, request: Request) -> float:
        """What the prompt of a request that starts takes to read; meanwhile nothing decodes."""
        return 0.0

    def admits(self, request: Request, tokens: int) -> bool:
        """Whether a request, the first of those that wait, may start now, to decode so much.

        If it may not, `update` has to be called when it may.
        """
        return True

    async def _decode(self, request: Request, tokens: int) -> None:
        self._settle_in(asyncio.get_running_loop())
        if request.id in self._jobs:
            raise EngineError(f"request {request.id!r} is in flight already: ids must be unique")
        job = _Job(request, tokens, asyncio.get_running_loop().create_future())
        self._jobs[request.id] = job
        self._queues[request.demanded][request.id] = job
        self.update()
        try:
            await job.done
        finally:
            if job.state != "gone":
                self._advance()
                self._end(job)
                self.update()

    def _settle_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take `loop`'s clock from now on."""
        home = self._loop
        if home is None or (home[0] is not loop and not self._jobs):
            self._timer, self._updated = None, loop.time()
        elif home[1] != os.getpid() or home[0].is_closed():
            self._jobs.clear()  # of the process that this one was forked from, or of no one
            for queue in self._queues:
                queue.clear()
            self._finishing.clear()
            self.running, self._timer, self._updated = 0, None, loop.time()
        elif home[0] is not loop:
            raise EngineUnavailable(
                f"{self.name} has one clock, that of the event loop in which its requests run "
                "now, and was called from another loop: give each loop an engine of its own"
            )
        self._loop = loop, os.getpid()

    def update(self) -> None:
        """Start what may start and set the timer for the next request to finish."""
        self._advance()
        while self.running < self.hardware.slots and (
            queue := self._queues[True] or self._queues[False]
        ):
            first = next(iter(queue.values()))
            if not self.admits(first.request, first.tokens):
                break
            self._start(queue.popitem(last=False)[1])
        if self._timer:
            self._timer.cancel()
            self._timer = None
        finishing = self._finishing
        while finishing and finishing[0][2].state == "gone":
            heappop(finishing)
        if finishing:
            self._seconds_per_step = self.hardware.step_seconds(self.running) / self._speed
            left = (finishing[0][0] - self.steps) * self._seconds_per_step + self._reading
            self._timer = asyncio.get_running_loop().call_at(self._updated + left, self._finish)

    def _advance(self) -> None:
        now = asyncio.get_running_loop().time()
        if self.running:
            seconds = now - self._updated
            self.busy_seconds += seconds * self.running
            reading = min(seconds, self._reading)
            self._reading -= reading
            self.steps += (seconds - reading) / self._seconds_per_step
        self._updated = now

    def _start(self, job: _Job) -> None:
        job.state = "running"
        job.request.started = self._updated
        self._reading += self.reading_seconds(job.request) / self._speed
        job.start = self.steps
        job.finish = self.steps + max(1.0, job.tokens / self.hardware.acceptance_length)
        self._started += 1
        heappush(self._finishing, (job.finish, self._started, job))
        self.running += 1

    def _finish(self) -> None:
        self._timer = None
        self._advance()
        # A loop may call a timer a little early: the first to finish has finished all the same.
        self.steps = max(self.steps, self._finishing[0][0])
        while self._finishing and self._finishing[0][0] <= self.steps:
            job = heappop(self._finishing)[2]
            if job.state == "running":
                self._end(job)
                if not job.done.done():
                    job.done.set_result(None)
        self.update()

    def _end(self, job: _Job) -> None:
        """Let go of a job that has finished, failed or been cancelled: its slot is free at once."""
        if job.state == "running":
            progress = self._progress(job)
            job.request.tokens = job.before + progress
            self._ended_tokens += progress
            self.running -= 1
        else:
            for queue in self._queues:
                queue.pop(job.request.id, None)
        job.state = "gone"
        del self._jobs[job.request.id]

    def _running(self) -> Iterator[_Job]:
        return (job for _, _, job in self._finishing if job.state == "running")

    def _progress(self, job: _Job) -> int:
        if self.steps >= job.finish:
            return job.tokens
        made = (self.steps - job.start) * self.hardware.acceptance_length
        return min(job.tokens, int(made + _ALMOST))
