"""What is told of a search: everything once, in order, to whoever watches it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from spex_agents.errors import SettingsError
from spex_agents.speculation.reporting.events import thought_event

Event: TypeAlias = Mapping[str, Any]

ENDED = ("done", "failed")

END = "end"
"""The id of a search's last event."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a watcher has come: accepted thoughts, and rewards, in the order of the search.

    Both orders are the same in every run of a search, so a place holds across restarts.

    Example:
        >>> Place.parse("12.8"), str(Place(12, 8))
        (Place(thoughts=12, rewards=8), '12.8')
    """

    thoughts: int = 0
    rewards: int = 0

    def __str__(self) -> str:
        return f"{self.thoughts}.{self.rewards}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """The place that an event's id names.

        Raises:
            SettingsError: None.
        """
        first, _, second = text.partition(".")
        if not (text.isascii() and first.isdecimal() and second.isdecimal() and len(text) < 20):
            raise SettingsError(f"Last-Event-ID={text!r}: must be the id of an event: 12.8")
        return cls(int(first), int(second))


class Events:
    """The events of one search, those of all its runs.

    Example:
        >>> events = Events()
        >>> events.tell({"type": "search", "state": "done"})
        >>> events.running
        False
    """

    def __init__(self) -> None:
        self.running = True
        """Whether more may come: as the last event of the search itself says."""
        self._told: list[tuple[Place, Event]] = []
        self._committed: set[tuple[str, str]] = set()
        self._place = Place()
        self._changed = asyncio.Event()

    def tell(self, event: Event) -> None:
        """Tell an event, unless it commits what is known to be committed."""
        status = event.get("status")
        if status in ("accepted", "scored"):
            if (event["id"], status) in self._committed:
                return
            self._committed.add((event["id"], status))
            self._place = Place(
                self._place.thoughts + (status == "accepted"),
                self._place.rewards + (status == "scored"),
            )
        if event["type"] == "search":
            self.running = event["state"] == "running"
        self._told.append((self._place, event))
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def recall(self, rows: Mapping[str, Any]) -> None:
        """Tell what a graph's state has, unless it has been told."""
        for row in rows["thoughts"]:
            path, tokens = tuple(row["path"]), row["tokens"]
            said = {"text": row["text"], "reasoning": row.get("reasoning", "")}
            said["same_as"] = tuple(same) if (same := row.get("same_as")) is not None else None
            self.tell(thought_event(path, "accepted", tokens=tokens, **said))
        for row in rows["rewards"]:
            self.tell(thought_event(tuple(row["path"]), "scored", reward=row["reward"]))

    async def over(self) -> None:
        """Wait until the search does not run any more."""
        while self.running:
            await self._changed.wait()

    async def follow(
        self, after: Place = Place(), *, ping_seconds: float
    ) -> AsyncIterator[tuple[Place | None, Event] | None]:
        """What is told from a place on, as it comes: None after a silence; a place where it moves.

        It ends with the search, and where the search is suspended.
        """
        index = 0
        while True:
            changed = self._changed
            while index < len(self._told):
                place, event = self._told[index]
                index += 1
                behind = place.thoughts < after.thoughts or place.rewards < after.rewards
                status = event.get("status")
                if status == "accepted":
                    if place.thoughts > after.thoughts:
                        after = replace(after, thoughts=place.thoughts)
                        yield after, event
                elif status == "scored":
                    if place.rewards > after.rewards:
                        after = replace(after, rewards=place.rewards)
                        yield after, event
                elif not behind or event.get("state") in ENDED:
                    yield None, event
            if not self.running:
                return
            try:
                async with asyncio.timeout(ping_seconds):
                    await changed.wait()
            except TimeoutError:
                yield None
