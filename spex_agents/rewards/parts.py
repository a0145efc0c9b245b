"""One score out of several calls: all at once, each with a request of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from spex_agents.engines.base import Request

T = TypeVar("T")


class Part(Request):
    """A request for work that others wait for: as urgent as the most urgent of them is by then."""

    __slots__ = ("owners", "parted")

    def __init__(self, owners: list[Request], *, id: str, seed: int) -> None:  # noqa: A002
        self.owners = owners
        self.parted = False
        super().__init__(id=id, seed=seed)

    @property
    def demanded(self) -> bool:
        return any(owner.demanded for owner in self.owners)

    @demanded.setter
    def demanded(self, value: bool) -> None:
        """Not its own to say."""

    def split(self, more: int, ended: Request | None = None) -> None:
        self.parted = True
        for owner in self.owners:
            owner.split(more, ended)


async def in_parts(
    request: Request,
    seeds: Sequence[int],
    ask: Callable[[int, Request], Awaitable[T]],
    *,
    first: int = 0,
) -> list[T]:
    """Await ``ask(index, part)`` for each seed, all at once.

    Args:
        request: The request that all parts belong to: their ids begin with its own, and the tokens
            they cost are added to it, whatever becomes of them.
        seeds: The seed of each part.
        ask: What to do for one part; `index` counts from 0.
        first: The number of the first part, where there have been others.

    Returns:
        The results, in the order of the seeds.

    Raises:
        Exception: What the first part to fail raised, as it is; the others are cancelled.
    """
    left = len(seeds)

    async def one(index: int, seed: int) -> T:
        nonlocal left
        part = Part([request], id=f"{request.id}/{first + index}", seed=seed)
        try:
            return await ask(index, part)
        finally:
            request.add(part)
            left -= 1
            # with the last part the request itself ends, or goes on as one call
            request.split(-1 if left else 0, None if part.parted else part)

    request.split(max(0, left - 1))
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(index, seed)) for index, seed in enumerate(seeds)]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
