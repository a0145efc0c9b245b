"""All that is under way for one search: begun, cancelled and ended in one place."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from spex_agents.engines.base import Request
from spex_agents.errors import SessionClosed
from spex_agents.loops import Threads
from spex_agents.search.tree import Path, Thought, derive_seed
from spex_agents.speculation.reporting.events import path_id
from spex_agents.speculation.slots.budget import Budget
from spex_agents.waiting import in_thread

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 10.0
"""How long closing waits for the engine to confirm that everything was aborted."""

DECIDING = Threads("spex-decision", 64)
"""Of policies that block: a search waits for them, so nothing else is done there."""

T = TypeVar("T")
Value = TypeVar("Value", Thought, float)


@dataclass(slots=True, eq=False)
class Job(Generic[Value]):
    """A thought or a reward being made.

    Attributes:
        path: Of the thought, or of what the reward is for.
        guess: It was begun before it was demanded; `request` tells whether it is by now.
        begun: On the loop's clock, as are the others.
        ended: None while it is under way.
        cancelled: When the search gave it up, if it did.
    """

    path: Path
    task: asyncio.Task[Value]
    request: Request
    guess: bool
    begun: float
    ended: float | None = None
    cancelled: float | None = None


Work: TypeAlias = Callable[[Request], Coroutine[Any, Any, Value]]
"""Makes a thought or a reward under a request."""


class Jobs:
    """Owns every task and request of one search: nothing outlives `end`.

    Args:
        run: First part of all request ids.
        seed: The run's.

    Attributes:
        closed: Whether it takes no more work.
        live: All thoughts and rewards under way, those that are being aborted included.
    """

    def __init__(self, run: str, seed: int) -> None:
        self.closed = False
        self.live: set[Job[Any]] = set()
        self._run = run
        self._seed = seed
        self._attempts: Counter[Path] = Counter()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._context = contextvars.copy_context()

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(
        self,
        path: Path,
        purpose: str,
        work: Work[Value],
        *,
        guess: bool,
        flying: dict[Path, Job[Value]],
        ended: Callable[[Job[Value]], None],
    ) -> Job[Value]:
        """Begin `work` for `path` under a request of its own.

        Args:
            path: Where in the tree.
            purpose: What is made there.
            work: Makes it.
            guess: It is not demanded so far.
            flying: Where it is found by its path, while it is under way and not replaced.
            ended: Called when it has ended, whichever way.

        Raises:
            SessionClosed: The search takes no more work.
        """
        self._attempts[path] += 1
        request = Request(
            id=f"{self._run}/{path_id(path)}/{purpose}-{self._attempts[path]}",
            seed=derive_seed(self._seed, path, purpose),
            demanded=not guess,
        )
        loop = asyncio.get_running_loop()
        job = flying[path] = Job(path, self.own(work(request)), request, guess, loop.time())
        self.live.add(job)

        def end(_: asyncio.Task[Value]) -> None:
            self.live.discard(job)
            if flying.get(path) is job:
                del flying[path]
            job.ended = loop.time()
            ended(job)

        job.task.add_done_callback(end)
        return job

    def own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin `work`, whose result and errors are for whoever asks for them.

        Raises:
            SessionClosed: The search takes no more work.
        """
        if self.closed:
            work.close()
            raise SessionClosed(f"session {self._run} takes no more work: open another session")
        # The context that the search was opened in: not that of the node that happens to ask.
        task = asyncio.create_task(work, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._disown)
        return task

    async def aside(self, function: Callable[..., T], *arguments: Any) -> T:
        """Decide by `function` in a worker thread. Who is cancelled meanwhile leaves it to `end`.

        Raises:
            SessionClosed: The search was closed meanwhile.
        """
        task = self.own(in_thread(function, *arguments, executor=DECIDING()))
        await asyncio.wait([task])
        if task.cancelled():
            raise SessionClosed(f"session {self._run} was closed while its policy decided")
        return task.result()

    def cancel(self, job: Job[Any]) -> None:
        """Give `job` up; it ends when its engine has aborted its request."""
        job.cancelled = asyncio.get_running_loop().time()
        job.task.cancel()

    def retract(self, guess: Job[Value], flying: dict[Path, Job[Value]], budget: Budget) -> bool:
        """Give `guess` up, unless it is done at this very moment: nothing is left to cancel."""
        if not guess.task.done():
            del flying[guess.path]
            budget.retracting(guess.request)
            self.cancel(guess)
        return guess.cancelled is not None

    def give_up(self, jobs: Iterable[Job[Any]]) -> None:
        """Cancel those of `jobs` that have not been: a second time would interrupt the abort."""
        for job in jobs:
            if job.cancelled is None:
                self.cancel(job)

    async def end(self) -> None:
        """Cancel what has not been cancelled, and wait until all of it has ended."""
        for task in self._tasks:
            if not task.cancelling():  # a second cancellation would interrupt the first one's work
                task.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
            if late:
                logger.warning("%d calls were not aborted in %s s", len(late), CLOSE_SECONDS)

    def _disown(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen: who waits for the task raises it, and often nobody does


async def settled(
    path: Path,
    known: Mapping[Path, Value],
    flying: Mapping[Path, Job[Value]],
    begin: Callable[[Path], Job[Value]],
) -> Value:
    """Wait until the value of `path` is known, and begin it where nobody has.

    A guess that fails is no error of who waits for it: it is begun again.

    Raises:
        SpexError: The work that was begun on demand has failed.
        SessionClosed: The search was closed meanwhile.
    """
    while path not in known:
        job = flying.get(path) or begin(path)
        await asyncio.wait([job.task])
        if job.task.cancelled():
            raise SessionClosed(f"thought {path_id(path)} was cancelled with its session")
        if (error := job.task.exception()) is not None and not job.guess:
            raise error
    return known[path]
