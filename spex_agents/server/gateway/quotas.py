"""What keys may use: searches at a time, and tokens in a sliding window."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from spex_agents.server.gateway.errors import ApiError
from spex_agents.server.gateway.keys import Key

SOON = 1.0
"""Seconds after which a client may try again where nobody knows when a place falls free."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What a run of a search has cost; `at` is in seconds since the epoch."""

    at: float
    useful: int
    wasted: int


class Quotas:
    """Counts what keys use, and refuses what goes beyond.

    A search is charged when a run of it ends, so the searches under way may exceed a key's tokens
    by what they cost, which its concurrency bounds.

    Args:
        searches: Searches at a time, of all keys together.
        clock: Seconds since the epoch.

    Example:
        >>> quotas = Quotas(searches=8, clock=lambda: 100.0)
        >>> key = Key(name="tutors", tokens=1000, window_seconds=60)
        >>> quotas.charge(key.name, Charge(at=70.0, useful=900, wasted=300))
        >>> quotas.admit(key)
        Traceback (most recent call last):
        spex_agents.server.gateway.errors.ApiError: ... used 1200 of 1000 tokens ...
    """

    def __init__(self, *, searches: int, clock: Callable[[], float] = time.time) -> None:
        self.searches = searches
        self.running: Counter[str] = Counter()
        self._clock = clock
        self._charges: dict[str, deque[Charge]] = {}

    def admit(self, key: Key) -> None:
        """Let a search of `key` begin; `release` it when it ends.

        Raises:
            ApiError: A limit is reached: 429 for one of the key's, 503 for the gateway's.
        """
        if self.running[key.name] >= key.concurrency:
            raise _refusal(
                f"{key.name} has {self.running[key.name]} searches running, as many as it may",
                "concurrency_exceeded",
                SOON,
            )
        if self.running.total() >= self.searches:
            raise ApiError(
                503,
                f"{self.searches} searches are running, as many as this gateway takes",
                kind="server_error",
                code="overloaded",
                retry_after=SOON,
            )
        if key.tokens is not None:
            used = sum(charge.useful + charge.wasted for charge in self._recent(key))
            if used >= key.tokens:
                raise _refusal(
                    f"{key.name} has used {used} of {key.tokens} tokens in "
                    f"{key.window_seconds:g} s",
                    "tokens_exceeded",
                    self._until(key, used - key.tokens),
                )
        self.running[key.name] += 1

    def release(self, name: str) -> None:
        """A search of that key has ended."""
        self.running[name] -= 1
        if not self.running[name]:
            del self.running[name]

    def charge(self, name: str, charge: Charge) -> None:
        self._charges.setdefault(name, deque()).append(charge)

    def may_waste(self, key: Key) -> bool:
        """Whether searches of `key` may run ahead, for all that it has wasted."""
        return key.waste is None or key.waste > sum(charge.wasted for charge in self._recent(key))

    def _recent(self, key: Key) -> deque[Charge]:
        charges = self._charges.setdefault(key.name, deque())
        while charges and charges[0].at <= self._clock() - key.window_seconds:
            charges.popleft()
        return charges

    def _until(self, key: Key, excess: int) -> float:
        """Seconds until charges of more than `excess` tokens have left the window."""
        for charge in self._recent(key):
            excess -= charge.useful + charge.wasted
            if excess < 0:
                return charge.at + key.window_seconds - self._clock()
        return key.window_seconds


def _refusal(what: str, code: str, retry_after: float) -> ApiError:
    return ApiError(
        429,
        f"{what}: try again in {max(1, round(retry_after + 0.5))} s",
        kind="rate_limit_error",
        code=code,
        retry_after=retry_after,
    )
