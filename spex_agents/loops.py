"""What belongs to one event loop, or to one process: searches run in several, and after forks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """A value of its own for each event loop.

    Loops run in different threads, and what wakes tasks of one must not be called from another. The
    value of a loop that was closed is passed on, with what it has learnt.

    Args:
        make: Makes a value.
        first: The first loop's.

    Example:
        >>> places = PerLoop(list)
        >>> async def here() -> list:
        ...     return places()
        >>> first = asyncio.run(here())
        >>> first is asyncio.run(here())
        True
    """

    def __init__(self, make: Callable[[], T], *first: T) -> None:
        self._make = make
        self._free = [*first]
        self._values: dict[asyncio.AbstractEventLoop, T] = {}

    def __call__(self) -> T:
        """The running loop's."""
        loop = asyncio.get_running_loop()
        # No lock: a fork would copy it locked. Single calls of dicts and lists are atomic.
        if (value := self._values.get(loop)) is None:
            self.sweep()
            try:
                value = self._free.pop()
            except IndexError:
                value = self._make()
            self._values[loop] = value
        return value

    def sweep(self) -> None:
        """Free the values of closed loops."""
        for other in list(self._values):
            if other.is_closed() and (left := self._values.pop(other, None)) is not None:
                self._free.append(left)


class Threads:
    """Worker threads for one kind of work, which then waits for no other kind.

    A forked process has none of its parent's threads, and begins with an executor of its own.

    Args:
        name: Of the threads.
        most: How many there are at most.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._pools: dict[int, ThreadPoolExecutor] = {}

    def __call__(self) -> ThreadPoolExecutor:
        process = os.getpid()
        if (pool := self._pools.get(process)) is None:
            made = ThreadPoolExecutor(self._most, self._name)
            pool = self._pools.setdefault(process, made)
        return pool
