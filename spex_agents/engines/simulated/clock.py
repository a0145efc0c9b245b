"""A virtual clock: an asyncio event loop whose time jumps to the next timer instead of waiting.

No real time passes and no system call is made between events, so a simulated hour takes as long as
its callbacks do, and equal programs see equal times.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from heapq import heapreplace
from time import sleep
from typing import Any, TypeVar, TypeVarTuple, Unpack

from spex_agents.errors import SpexError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Deadlock(SpexError):
    """Nothing is ready and no timer is set: on a virtual clock nothing can ever happen again."""


class TasksLeft(SpexError):
    """The main coroutine returned while tasks it should have ended were still running."""


WORKERS = 2
"""Threads of the default executor: those of a small machine."""


class _Jump(selectors.SelectSelector):
    """Where a real loop would sleep until its next timer, moves the clock there."""

    now = 0.0

    def __init__(self, deadlock: Callable[[], Deadlock]) -> None:
        super().__init__()
        self._deadlock = deadlock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise self._deadlock()
        if timeout > 0:
            self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that starts at time 0 and never waits.

    It does no network I/O, and `run_in_executor` (so `asyncio.to_thread` too) calls its function at
    once: a thread would finish at a moment the clock cannot know. That takes no time, or what the
    function has declared by `spend`; then an executor has as many workers as it says, the default
    one `WORKERS`, and who finds all of them busy waits.
    """

    def __init__(self) -> None:
        self._jump = _Jump(self._deadlock)
        self._spent = 0.0
        self._free: dict[Any, list[float]] = {}
        super().__init__(self._jump)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jump.now

    def run_in_executor(
        self, executor: Any, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        self._spent = 0.0
        settle: Callable[[], None]
        try:
            result = func(*args)
            settle = partial(_settle, future, partial(future.set_result, result))
        except Exception as error:
            settle = partial(_settle, future, partial(future.set_exception, error))
        if self._spent:
            self.call_at(self._worked(executor, self._spent), settle)
        else:
            settle()
        return future

    def spend(self, seconds: float) -> None:
        """See the function of that name."""
        self._spent += seconds

    def _worked(self, executor: Any, seconds: float) -> float:
        """When a worker of `executor` has done work of so many seconds that is given to it now."""
        workers = getattr(executor, "_max_workers", WORKERS)
        free = self._free.setdefault(executor, [0.0] * workers)
        done = max(self.time(), free[0]) + seconds
        heapreplace(free, done)
        return done

    def _deadlock(self) -> Deadlock:
        return Deadlock(
            f"at virtual time {self.time():g} s nothing is ready and no timer is set, "
            f"but these tasks wait: {_names(asyncio.all_tasks(self))}; "
            "await only timers and what other tasks do (a virtual clock has no I/O and no threads)"
        )


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a virtual clock of its own that starts at 0.

    Raises:
        Deadlock: Every task waits and no timer is set.
        TasksLeft: `main` returned and left tasks behind; they are cancelled.

    Example:
        >>> async def nap() -> float:
        ...     await asyncio.sleep(3600)
        ...     return asyncio.get_running_loop().time()
        >>> run_virtual(nap())
        3600.0
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        result = runner.run(main)
        if left := asyncio.all_tasks(runner.get_loop()):
            raise TasksLeft(
                f"the coroutine returned but left tasks running: {_names(left)}; "
                "await or cancel them first"
            )
        return result


def spend(seconds: float) -> None:
    """Of a function in a worker thread: let its work take so long, on whatever clock runs.

    Example:
        >>> async def work() -> float:
        ...     await asyncio.to_thread(spend, 30)
        ...     return asyncio.get_running_loop().time()
        >>> run_virtual(work())
        30.0
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # a thread of its own, where time passes by itself
        sleep(seconds)
        return
    if isinstance(loop, VirtualLoop):
        loop.spend(seconds)


def _settle(future: asyncio.Future[Any], settle: Callable[[], None]) -> None:
    if not future.done():
        settle()


def _names(tasks: Iterable[asyncio.Task[Any]]) -> str:
    return ", ".join(
        sorted(f"{task.get_name()} ({task.get_coro().__qualname__})" for task in tasks)  # type: ignore[union-attr]
    )
