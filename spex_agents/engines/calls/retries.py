"""Trying again: exponential waits, spread by the request's id, so that a run repeats."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from time import monotonic
from typing import TypeVar, cast
from zlib import crc32

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    TryAgain,
    retry_if_exception,
    wait_exponential,
)

from spex_agents.errors import SettingsError

T = TypeVar("T")

JITTER = 0.25
"""Share by which a wait may be shorter: who failed together does not come back together."""

LOOK_AGAIN = 2.0
"""Longest wait, in seconds, before the next look for a server that is away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often a failed call is tried again, and after how long.

    Attributes:
        times: Tries after the first; 0 for none.
        wait: Seconds before the second try; doubled before each further one.
        longest: No wait is longer than this, in seconds.
        patience: Seconds that the server may be away, which uses up no tries; 0 to count those
            tries like any other.

    Raises:
        SettingsError: A value is negative.
    """

    times: int = 3
    wait: float = 0.5
    longest: float = 8.0
    patience: float = 300.0

    def __post_init__(self) -> None:
        for name in ("times", "wait", "longest", "patience"):
            if not (value := getattr(self, name)) >= 0:
                raise SettingsError(f"retries: {name}={value!r}: must be at least 0")

    async def run(
        self,
        attempt: Callable[[int], Awaitable[T]],
        *,
        transient: Callable[[BaseException], bool],
        away: Callable[[BaseException], bool] = lambda _: False,
        paused: Callable[[BaseException], bool] = lambda _: False,
        key: str = "",
    ) -> T:
        """Call `attempt(0)`, `attempt(1)` ... until one returns.

        An exception that is not `transient`, and the last one, are raised as they are. After
        `tenacity.TryAgain` the next try comes at once and the failed one does not count.

        Args:
            attempt: Called with the number of the try.
            transient: Whether another try may go better.
            away: Whether a transient exception says that there is no server just now.
            paused: Whether the next attempt waits by itself.
            key: Whose waits these are: all wait differently, and the same each time.
        """
        numbers = count()
        failures = 0
        gone: float | None = None
        growing = wait_exponential(multiplier=self.wait, max=self.longest)

        async def once() -> T:
            return await attempt(next(numbers))

        def wait(state: RetryCallState) -> float:
            error = _error(state)
            if isinstance(error, TryAgain) or paused(error):
                return 0.0
            spread = 1 - JITTER * spread_of(f"{key}~{state.attempt_number}")
            seconds = growing(state)
            return spread * (min(seconds or LOOK_AGAIN, LOOK_AGAIN) if away(error) else seconds)

        def stop(state: RetryCallState) -> bool:
            nonlocal failures, gone
            error = _error(state)
            if isinstance(error, TryAgain):
                return False
            if self.patience and away(error):
                gone = monotonic() if gone is None else gone
                return monotonic() - gone >= self.patience
            gone = None
            failures += 1
            return failures > self.times

        controller = AsyncRetrying(
            stop=stop, wait=wait, retry=retry_if_exception(transient), reraise=True
        )
        return await controller(once)


def _error(state: RetryCallState) -> BaseException:
    """Why the last try failed."""
    return cast(BaseException, state.outcome and state.outcome.exception())


def spread_of(key: str) -> float:
    """A number from 0 to 1, the same for the same key."""
    return crc32(key.encode()) / 2**32


def attempt_id(request_id: str, number: int) -> str:
    """The id of one try: ids are never sent twice, and a try's id begins with its request's."""
    return request_id if number == 0 else f"{request_id}~{number}"
