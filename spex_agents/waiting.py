"""Waiting for work that must not be left behind, however often one is told to give up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar, cast

import anyio

T = TypeVar("T")


async def until_ended(work: asyncio.Future[Any], *, seconds: float | None = None) -> None:
    """Wait until `work` has ended; a cancellation that comes meanwhile is raised after that.

    Cancelling the caller does not cancel `work`: who wants it to end soon says so before.

    Args:
        work: A task, or the future of a thread's work. Its result and its error stay in it.
        seconds: The longest wait, on the loop's clock; None for no limit. `work` may run on then.

    Raises:
        asyncio.CancelledError: The first of those that came, by a task's `cancel`. Cancel scopes
            of AnyIO wait likewise, and cancel where the caller awaits next.

    Example:
        >>> async def clean_up() -> str:
        ...     work = asyncio.create_task(asyncio.sleep(0.01, "clean"))
        ...     await until_ended(work)
        ...     return work.result()
        >>> asyncio.run(clean_up())
        'clean'
    """
    loop = asyncio.get_running_loop()
    deadline = None if seconds is None else loop.time() + seconds
    first: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not work.done():
            left = None if deadline is None else deadline - loop.time()
            if left is not None and left <= 0:
                break
            try:
                await asyncio.wait([work], timeout=left)
            except asyncio.CancelledError as error:
                first = first or error
    if first is not None:
        raise first


async def in_thread(
    function: Callable[..., T],
    *arguments: Any,
    given_up: Callable[[], object] | None = None,
    executor: Executor | None = None,
) -> T:
    """Run `function` in a worker thread, which is waited for even if the caller is cancelled.

    Args:
        function: A thread cannot be cancelled, and must not be left behind.
        *arguments: Its own.
        given_up: Called when the caller is cancelled, to tell the thread.
        executor: Whose threads; the loop's default ones if None. Where all are busy, a caller that
            is cancelled does not wait for its turn.
    """
    turn: Future[None] = Future()

    def run() -> T | None:
        return function(*arguments) if turn.set_running_or_notify_cancel() else None

    work = asyncio.get_running_loop().run_in_executor(executor, run)
    try:
        return cast(T, await asyncio.shield(work))
    except asyncio.CancelledError:
        if given_up is not None:
            given_up()
        if executor is not None and turn.cancel():
            work.cancel()
        else:
            await until_ended(work)
        raise
