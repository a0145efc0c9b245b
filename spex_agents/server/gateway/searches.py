"""All searches of a gateway: begun, found again, gone on with after a restart, forgotten."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from typing import Any, Self
from uuid import uuid4
from weakref import WeakValueDictionary

from spex_agents.errors import SettingsError
from spex_agents.server.gateway.catalogue import Catalogue
from spex_agents.server.gateway.database import Database
from spex_agents.server.gateway.errors import ApiError, explain, stopping
from spex_agents.server.gateway.events import ENDED
from spex_agents.server.gateway.graphs import AnyGraph, search_graph
from spex_agents.server.gateway.keys import Anyone, Key, KeyFile, sha256_of
from spex_agents.server.gateway.quotas import Quotas
from spex_agents.server.gateway.requests import ChatRequest
from spex_agents.server.gateway.runs import Runs
from spex_agents.server.gateway.search import Search, tree_rows
from spex_agents.server.gateway.settings import Hosting

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 3600.0
REVOKE_SECONDS = 1.0
"""How long a search outlives its key."""


class Searches:
    """Every search that a client may ask for by its id, whether it runs or not.

    Use it as an async context manager: on the way in it goes on with what had not ended; on the way
    out every run is ended, and is gone on with next time.

    Args:
        catalogue: The models.
        database: Where searches outlive the process.
        hosting: Limits.
        keys: Whose searches may run.

    Attributes:
        leaving: Whether the gateway is unready, being about to stop, but takes requests still.
    """

    def __init__(
        self, catalogue: Catalogue, database: Database, hosting: Hosting, keys: KeyFile | Anyone
    ) -> None:
        self.leaving = False
        self.catalogue = catalogue
        self.database = database
        self.quotas = Quotas(searches=hosting.searches)
        self.runs = Runs(catalogue, database, hosting, self.quotas)
        self._hosting = hosting
        self._keys = keys
        self._alive: WeakValueDictionary[str, Search] = WeakValueDictionary()
        self._beginning = asyncio.Lock()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for owner, charge in await self.database.charges():
            self.quotas.charge(owner, charge)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.runs)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            for upkeep in (self._forget_old(), self._end_revoked()):
                stack.callback(tasks.create_task(upkeep).cancel)
            for record in await self.database.running():
                search = self._alive.setdefault(record.id, Search.from_record(record))
                await self._go_on(search)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def begin(
        self, key: Key, request: ChatRequest, *, idempotency: str | None, background: bool = False
    ) -> Search:
        """Begin a search, or go on with the one of the same key and Idempotency-Key.

        Raises:
            ApiError: It is refused: the request is not valid, a limit is reached, or the gateway
                is about to stop.
        """
        fingerprint = sha256_of(request.model_dump_json(exclude={"stream", "stream_options"}))
        identity = uuid4().hex
        if idempotency is not None:
            identity = sha256_of(f"{len(key.name)}/{key.name}/{idempotency}")[:32]
        graph = self._graph(request, share=key.name if self.quotas.may_waste(key) else None)
        known = self._alive.get(identity)
        if known is not None and known.task is not None and known.task.cancelling():
            await asyncio.wait([known.task])  # it is being suspended just now
        async with self._beginning:
            search = await self._find(identity) if idempotency is not None else None
            if search is not None and search.fingerprint != fingerprint:
                raise ApiError(
                    422,
                    f"Idempotency-Key {idempotency!r} belongs to another request; "
                    "take a new one for this",
                    code="idempotency_mismatch",
                )
            if search is not None and search.state in ("running", "done"):
                return search
            self._admit(key)
            try:
                if search is None:
                    search = Search(
                        id=identity,
                        owner=key.name,
                        key=key.sha256,
                        created=time.time(),
                        request=request,
                        fingerprint=fingerprint,
                    )
                    self._alive[identity] = search
                search.key = key.sha256  # the same name may have a new key by now
                search.background = background
                search.error = None
                search.become("running")
                await self.database.save(search.record())
            except BaseException:
                self.quotas.release(key.name)
                raise
            self.runs.start(search, graph)
            return search

    async def find(self, key: Key, identity: str) -> Search:
        """A search of `key`'s.

        Raises:
            ApiError: It has none of that id; 404.
        """
        search = await self._find(identity)
        if search is None or search.owner != key.name:
            raise ApiError(404, f"id={identity!r}: no such search", param="id")
        return search

    async def tree(self, search: Search) -> list[dict[str, Any]]:
        """The committed thoughts of a search, of a running one up to its last checkpoint."""
        rows = search.rows
        if search.state not in ENDED:
            rows = await self.database.checkpoint(search.id) or {}
        return tree_rows(rows)

    async def latest(self, key: Key, limit: int) -> list[Search]:
        """The searches of `key`, the latest first."""
        records = await self.database.of_owner(key.name, limit)
        return [self._alive.get(record.id) or Search.from_record(record) for record in records]

    async def forget(self, key: Key, identity: str) -> None:
        """End a search of `key`'s if it runs, and forget it.

        Raises:
            ApiError: It has none of that id; 404.
        """
        search = await self.find(key, identity)
        if search.task is not None and not search.task.done():
            search.cancel()
            await asyncio.wait([search.task])
        self._alive.pop(identity, None)
        await self.database.forget(identity)

    def _graph(self, request: ChatRequest, *, share: str | None) -> AnyGraph:
        saver = self.database.saver
        return search_graph(request, self.catalogue, self._hosting, saver, share=share)

    def _admit(self, key: Key) -> None:
        if self.runs.draining:
            raise stopping()
        try:
            self.quotas.admit(key)
        except ApiError as error:
            self.runs.metrics.refused(key.name, error.detail.code)
            raise

    async def _find(self, identity: str) -> Search | None:
        if (search := self._alive.get(identity)) is not None:
            return search
        if (record := await self.database.find(identity)) is None:
            return None
        search = Search.from_record(record)
        if search.state == "suspended":
            search.recall(await self.database.checkpoint(identity) or {})
        return self._alive.setdefault(identity, search)

    async def _go_on(self, search: Search) -> None:
        """Go on with a search that the last process left, if there is still who and what for."""
        search.background = True  # its clients' connections ended with the last process
        try:
            if not self._keys.holds(search.owner, search.key):
                raise _revoked(search)
            graph = self._graph(search.request, share=search.owner)
        except (ApiError, SettingsError) as error:  # an engine or a limit is not there any more
            search.fail(explain(error))
            await self.database.save(search.record())
            return
        self.quotas.running[search.owner] += 1
        search.become("running")
        self.runs.start(search, graph)

    async def _end_revoked(self) -> None:
        while True:
            await asyncio.sleep(REVOKE_SECONDS)
            try:
                for search in self.runs.searches:
                    if not self._keys.holds(search.owner, search.key):
                        search.cancel(_revoked(search))
            except Exception:  # such as a file of keys that is being edited
                logger.exception("cannot tell which keys are revoked")

    async def _forget_old(self) -> None:
        while True:
            try:
                await self.database.forget_before(time.time() - self._hosting.keep_seconds)
            except Exception:
                logger.exception("cannot forget old searches")
            await asyncio.sleep(SWEEP_SECONDS)


def _revoked(search: Search) -> ApiError:
    return ApiError(
        401,
        f"the key {search.owner!r} was revoked: its searches have ended",
        code="key_revoked",
    )
