"""A call that is ended by its server, not torn down, when its caller is cancelled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


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
