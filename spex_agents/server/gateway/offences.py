"""Refused requests by address: who sends many of them waits for each answer."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

import anyio

WINDOW_SECONDS = 10.0
WAIT_SECONDS = 1.0
MOST_WAITING = 1000


class Offences:
    """Counts refused requests in windows of ten seconds, and delays those beyond.

    Requests that are let in wait for nothing, whatever else comes from their address: many clients
    may share that of a proxy. Addresses of IPv6 are counted by their network (/64).

    Args:
        most: Refusals of an address in a window that are answered at once.
        clock: Seconds.

    Example:
        >>> offences = Offences(2, clock=lambda: 0.0)
        >>> [offences.count("192.0.2.1") for _ in range(3)], offences.count("192.0.2.2")
        ([False, False, True], False)
    """

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._window = 0
        self._counts: Counter[str] = Counter()
        self._waiting = 0

    def count(self, address: str) -> bool:
        """Count a refusal; return whether there are too many."""
        if (window := int(self._clock() / WINDOW_SECONDS)) != self._window:
            self._window, self._counts = window, Counter()
        self._counts[network := _network(address)] += 1
        return self._counts[network] > self._most

    async def slow_down(self, address: str) -> bool:
        """Count a refusal, and wait if there are too many; return whether it did."""
        if not self.count(address):
            return False
        if self._waiting < MOST_WAITING:
            self._waiting += 1
            try:
                await anyio.sleep(WAIT_SECONDS)
            finally:
                self._waiting -= 1
        return True


def _network(address: str) -> str:
    try:
        known = ip_address(address)
    except ValueError:
        return address
    return str(int(known) >> 64) if isinstance(known, IPv6Address) else address
