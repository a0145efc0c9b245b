"""Calls whose callers may be cancelled: both tidy up, however often that comes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


async def in_own_task(call: Callable[[], Awaitable[T]]) -> T:
    """Await `call()` in a child task that sees one cancellation, whatever its caller sees.

    A task that is cancelled a second time loses the clean-up it was in (an open connection is
    left behind). The child is cancelled by its group's scope alone, from which clean-up in a
    shielded scope is safe, as HTTP clients do it; the caller goes on when the child is done.
    """
    results: list[T] = []
    failures: list[Exception] = []

    async def run() -> None:
        try:
            results.append(await call())
        except Exception as error:  # raised below: outside it would be in a group
            failures.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
    if failures:
        raise failures.pop()
    return results.pop()


async def ended_by_server(
    call: Callable[[], Awaitable[T]],
    abort: Callable[[], Coroutine[Any, Any, None]],
    *,
    seconds: float,
) -> T:
    """Await `call()`; on cancellation `abort()`, and let the call end by itself for a while.

    An aborted request still answers, with what it had decoded: that answer confirms the abort and
    completes the account.

    Args:
        call: Cancelled only when the wait is over.
        abort: Asks the server to end it; raises nothing.
        seconds: Longest wait for both.
    """
    results: list[T] = []
    failures: list[Exception] = []
    ended = anyio.Event()
    life = anyio.CancelScope(shield=True)

    async def run() -> None:
        try:
            with life:
                results.append(await call())
        except Exception as error:  # raised below: outside it would be in a group
            failures.append(error)
        finally:
            ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        try:
            await ended.wait()
        except BaseException:
            with anyio.move_on_after(seconds, shield=True):
                async with anyio.create_task_group() as asking:
                    asking.start_soon(abort)
                    await ended.wait()
                    asking.cancel_scope.cancel()  # of several servers, one may not answer
            life.cancel()
            raise
    if failures:
        raise failures.pop()
    return results.pop()
