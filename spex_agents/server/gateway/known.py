"""A gateway's searches by their ids: alive here, on record, or run by another gateway."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Self
from weakref import WeakValueDictionary

from spex_agents.server.gateway.database import Database
from spex_agents.server.gateway.errors import deleted
from spex_agents.server.gateway.events import ENDED
from spex_agents.server.gateway.records import UNREADABLE, Record, Records
from spex_agents.server.gateway.search import Search, UnreadableRecord

logger = logging.getLogger(__name__)

FOLLOW_SECONDS = 0.2
"""How often it is asked what another gateway's search has come to."""


class KnownSearches:
    """Finds each search once, and keeps up with those that other gateways run.

    Use it as an async context manager: on the way out it follows none any more.

    Args:
        database: Where the checkpoints are.
        records: Where the searches are.

    Attributes:
        alive: Those that somebody here has, by id.
    """

    def __init__(self, database: Database, records: Records) -> None:
        self.alive: WeakValueDictionary[str, Search] = WeakValueDictionary()
        self._database = database
        self._records = records
        self._jobs = database.jobs
        self._followed: dict[asyncio.Task[None], Search] = {}
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.let_go()
        await self._tasks.__aexit__(None, None, None)

    async def find(self, identity: str) -> Search | None:
        """The search of an id, whoever's it is; None if there is none that can be read."""
        if (search := self.alive.get(identity)) is not None and self._is_current(search):
            return search
        record = await self._records.find(identity)
        if record is None or (search := await self.read(record)) is None:
            return None
        if search.state == "suspended":
            search.recall(await self._database.checkpoint(identity) or {})
        search = self.alive.setdefault(identity, search)
        if search.state == "running" and self._jobs.shared and search.task is None:
            self.follow(search)
        return search

    async def read(self, record: Record) -> Search | None:
        """The search of a record; one that cannot be read is set aside, and told of once."""
        if record.state == UNREADABLE:
            return None
        try:
            return Search.from_record(record)
        except UnreadableRecord as error:
            cause = type(error.__cause__).__name__
            if await self._records.set_aside(record.id):
                logger.error("cannot read a search", extra={"search": record.id, "cause": cause})
            return None

    def follow(self, search: Search) -> None:
        """Tell what another gateway does with a search, as long as it runs."""
        if search.follower is None or search.follower.done():
            search.follower = self._tasks.create_task(self._tell_of(search))
            self._followed[search.follower] = search
            search.follower.add_done_callback(self._followed.pop)

    @property
    def followers(self) -> Collection[asyncio.Task[None]]:
        """Those that tell of other gateways' searches."""
        return self._followed.keys()

    def let_go(self) -> None:
        """Tell no more of other gateways' searches; who waits for them has to ask elsewhere."""
        for follower, search in self._followed.items():
            follower.cancel()
            search.state = "suspended"
            search.announce()

    def _is_current(self, search: Search) -> bool:
        """Whether it is known here what has become of it: another gateway may have gone on."""
        return not self._jobs.shared or search.state in ("running", *ENDED)

    async def _tell_of(self, search: Search) -> None:
        while search.task is None or search.task.done():
            try:
                search.recall(await self._database.checkpoint(search.id) or {})
                if await self._has_ended(search):
                    search.announce()
                    return
            except Exception:
                logger.exception("cannot tell of a search", extra={"search": search.id})
            await asyncio.sleep(FOLLOW_SECONDS)

    async def _has_ended(self, search: Search) -> bool:
        """Whether another gateway runs it no more; then what it has come to is taken over."""
        record = await self._records.find(search.id)
        if record is not None and record.state == "running":
            return False
        if record is None or (ended := await self.read(record)) is None:
            search.fail(deleted())
        else:
            search.take_over(ended)
        return True
