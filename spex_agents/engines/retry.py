"""Trying again: exponential waits, no jitter, so that a run repeats."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential

from spex_agents.errors import SettingsError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often a failed call is tried again, and after how long.

    Attributes:
        times: Tries after the first; 0 for none.
        wait: Seconds before the second try; doubled before each further one.
        longest: No wait is longer than this, in seconds.

    Raises:
        SettingsError: A value is negative.
    """

    times: int = 3
    wait: float = 0.5
    longest: float = 8.0

    def __post_init__(self) -> None:
        for name in ("times", "wait", "longest"):
            if (value := getattr(self, name)) < 0:
                raise SettingsError(f"retries: {name}={value!r}: must be at least 0")

    async def run(
        self,
        attempt: Callable[[int], Awaitable[T]],
        *,
        transient: Callable[[BaseException], bool],
    ) -> T:
        """Call `attempt(0)`, `attempt(1)` ... until one returns.

        An exception that is not `transient`, and the last one, are raised as they are.
        """
        numbers = count()

        async def once() -> T:
            return await attempt(next(numbers))

        controller = AsyncRetrying(
            stop=stop_after_attempt(self.times + 1),
            wait=wait_exponential(multiplier=self.wait, max=self.longest),
            retry=retry_if_exception(transient),
            reraise=True,
        )
        return await controller(once)


def attempt_id(request_id: str, number: int) -> str:
    """The id of one try: ids are never sent twice, and a try's id begins with its request's."""
    return request_id if number == 0 else f"{request_id}~{number}"
