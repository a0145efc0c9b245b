"""A call that tidies up however often its caller is cancelled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

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
