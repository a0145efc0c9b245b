"""Whose search it is: one gateway's alone, or of several that share a database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol


class Jobs(Protocol):
    """Searches as jobs, each taken by one gateway at a time, and by another when that one dies.

    Attributes:
        shared: Whether there may be other gateways.
        seconds: How often a gateway says that it is there, and looks for what others have left.
        most_attempts: Gateways that may die with a search until it is not tried again. Where
            several share a database, more are ended by others than by what they run.
    """

    shared: bool
    seconds: float
    most_attempts: int

    async def take(self, identity: str) -> bool:
        """Make a job of a search and take it; False if another gateway was sooner."""
        ...

    async def offer(self, identities: Sequence[str]) -> None:
        """Make jobs of searches for whoever has room, of those that are none yet."""
        ...

    async def next(self, most: int) -> list[str]:
        """Take jobs that nobody has, or whose gateway has died: those of these searches."""
        ...

    async def give_back(self) -> None:
        """Leave jobs that were taken, and that nobody here has asked for yet, to others."""
        ...

    def try_again(self, identity: str) -> None:
        """Leave a job that could not be begun to whoever tries it next."""
        ...

    async def leave(self, identity: str) -> None:
        """Leave a job to another gateway, or to the next process."""
        ...

    async def done(self, identity: str) -> None:
        """End a job."""
        ...

    def lose(self, identity: str) -> None:
        """Leave a job to the gateway that has taken it over."""
        ...

    async def beat(self) -> None:
        """Say that the gateway is there, and has its jobs."""
        ...


class Alone:
    """All jobs are this gateway's: its database has no other."""

    shared = False
    seconds = 0.5
    most_attempts = 2

    def __init__(self) -> None:
        self._offered: list[str] = []

    async def take(self, identity: str) -> bool:
        return True

    async def offer(self, identities: Sequence[str]) -> None:
        self._offered += identities

    async def next(self, most: int) -> list[str]:
        taken, self._offered = self._offered[:most], self._offered[most:]
        await asyncio.sleep(0)
        return taken

    async def give_back(self) -> None:
        """There are no others."""

    def try_again(self, identity: str) -> None:
        self._offered.append(identity)

    async def leave(self, identity: str) -> None:
        """The next process finds it among those that run."""

    async def done(self, identity: str) -> None:
        """Nobody else asks."""

    def lose(self, identity: str) -> None:
        """There is none."""

    async def beat(self) -> None:
        """Nobody else listens."""
