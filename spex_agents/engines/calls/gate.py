"""A fixed number of places, the demanded requests first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from spex_agents.engines.base import Request
from spex_agents.errors import SettingsError


@dataclass(slots=True, eq=False)
class _Waiter:
    request: Request
    admitted: anyio.Event = field(default_factory=anyio.Event)


class Gate:
    """Lets at most `places` requests in at once; without a number, all of them.

    A place that falls free goes to the demanded request that has waited longest, else to the
    speculative one. `Request.demanded` is read at that moment, so a promoted request needs no
    call to move forward.

    Args:
        places: At least 1, or None.

    Raises:
        SettingsError: `places` is below 1.

    Example:
        >>> async def main() -> tuple[int, int]:
        ...     gate = Gate(1)
        ...     async with gate.place(Request(id="run/0", seed=1)):
        ...         return gate.running, gate.waiting
        >>> anyio.run(main)
        (1, 0)
    """

    def __init__(self, places: int | None = None) -> None:
        if places is not None and places < 1:
            raise SettingsError(f"max_concurrency={places!r}: must be at least 1, or None")
        self.places = places
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
        if self.places is not None and self._running >= self.places:
            await self._wait(_Waiter(request))
        else:
            self._running += 1
        try:
            yield
        finally:
            self._free()

    async def _wait(self, waiter: _Waiter) -> None:
        self._waiters.append(waiter)
        try:
            await waiter.admitted.wait()
        except BaseException:
            if waiter.admitted.is_set():  # admitted and cancelled in the same breath
                self._free()
            else:
                self._waiters.remove(waiter)
            raise

    def _free(self) -> None:
        """Hand the place on, or give it back."""
        if not self._waiters:
            self._running -= 1
            return
        waiter = min(self._waiters, key=lambda waiter: not waiter.request.demanded)
        self._waiters.remove(waiter)
        waiter.admitted.set()
