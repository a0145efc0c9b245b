"""A fixed number of places, the demanded requests first."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from threading import Lock

from spex_agents.engines.base import Request
from spex_agents.errors import SettingsError


@dataclass(slots=True, eq=False)
class _Waiter:
    request: Request
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    admitted: bool = False


class Gate:
    """Lets at most `places` requests in at once; without a number, all of them.

    A place that falls free goes to the demanded request that has waited longest, else to the
    speculative one. `Request.demanded` is read at that moment, so a promoted request needs no
    call to move forward. Requests may come from several event loops, in several threads; a forked
    process counts its own.

    Args:
        places: At least 1, or None.

    Raises:
        SettingsError: `places` is below 1.

    Example:
        >>> async def main() -> tuple[int, int]:
        ...     gate = Gate(1)
        ...     async with gate.place(Request(id="run/0", seed=1)):
        ...         return gate.running, gate.waiting
        >>> asyncio.run(main())
        (1, 0)
    """

    def __init__(self, places: int | None = None) -> None:
        if places is not None and places < 1:
            raise SettingsError(f"max_concurrency={places!r}: must be at least 1, or None")
        self.places = places
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._changing = Lock()
        self._running = 0
        self._waiters: list[_Waiter] = []

    @property
    def running(self) -> int:
        return self._running

    @property
    def waiting(self) -> int:
        return len(self._waiters)

    def __repr__(self) -> str:
        return f"<Gate places={self.places} running={self.running} waiting={self.waiting}>"

    @asynccontextmanager
    async def place(self, request: Request) -> AsyncIterator[None]:
        """Wait for a place and hold it."""
        if self._process != os.getpid():
            self._begin()
        with self._changing:
            if full := self.places is not None and self._running >= self.places:
                self._waiters.append(waiter := _Waiter(request))
            else:
                self._running += 1
        if full:
            await self._wait(waiter)
        try:
            yield
        finally:
            self._free()

    async def _wait(self, waiter: _Waiter) -> None:
        try:
            await waiter.entered.wait()
        except BaseException:
            with self._changing:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
            if waiter.admitted:  # admitted and cancelled in the same breath
                self._free()
            raise

    def _free(self) -> None:
        """Hand the place on, or give it back."""
        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:  # what a closed loop left behind is thrown away
            here = None
        with self._changing:
            while self._waiters:
                waiter = min(self._waiters, key=lambda waiter: not waiter.request.demanded)
                self._waiters.remove(waiter)
                try:
                    if waiter.loop is here:
                        waiter.entered.set()
                    else:
                        waiter.loop.call_soon_threadsafe(waiter.entered.set)
                except RuntimeError:  # that loop was closed with its waiter in it
                    continue
                waiter.admitted = True
                return
            self._running -= 1
