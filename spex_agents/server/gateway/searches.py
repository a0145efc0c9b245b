"""All searches of a gateway: begun, found again, gone on with after a restart, forgotten."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import AsyncExitStack
from typing import Any, Self
from uuid import uuid4
from weakref import WeakValueDictionary

from spex_agents.server.gateway.catalogue import Catalogue
from spex_agents.server.gateway.database import Database
from spex_agents.server.gateway.errors import ApiError, deleted, explain, stopping
from spex_agents.server.gateway.events import ENDED
from spex_agents.server.gateway.graphs import Plans
from spex_agents.server.gateway.hosting import Hosting
from spex_agents.server.gateway.keyring import Keyring
from spex_agents.server.gateway.keys import Key, sha256_of
from spex_agents.server.gateway.known import KnownSearches
from spex_agents.server.gateway.quotas import SOON, Quotas
from spex_agents.server.gateway.records import Charge, Records
from spex_agents.server.gateway.requests import ChatRequest
from spex_agents.server.gateway.runs import Runs
from spex_agents.server.gateway.search import Search, tree_rows
from spex_agents.server.gateway.upkeep import Upkeep


class Searches:
    """Every search that a client may ask for by its id, whether it runs or not.

    Use it as an async context manager: on the way in it goes on with what had not ended; on the way
    out every run is ended, and is gone on with next time.

    Args:
        catalogue: The models.
        database: Where searches outlive the process.
        hosting: Limits.
        keys: Whose searches may run.
    """

    def __init__(
        self, catalogue: Catalogue, database: Database, hosting: Hosting, keys: Keyring
    ) -> None:
        self.catalogue = catalogue
        self.database = database
        self.records = Records(database)
        self.quotas = Quotas(database)
        self._plans = Plans(catalogue, hosting, database.saver)
        self._known = KnownSearches(database, self.records)
        self.runs = Runs(catalogue, database, self.records, hosting, follow=self._known.follow)
        self._hosting = hosting
        self._jobs = database.jobs
        self._upkeep = Upkeep(
            plans=self._plans,
            database=database,
            records=self.records,
            hosting=hosting,
            keys=keys,
            known=self._known,
            runs=self.runs,
        )
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.runs)
            await stack.enter_async_context(self._known)
            await stack.enter_async_context(self._upkeep)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def drain(self) -> None:
        """Take no more, and let what clients wait for end; what does not in time is put off."""
        await self.runs.drain(self._known.followers)
        self._known.let_go()

    async def begin(
        self,
        key: Key,
        request: ChatRequest,
        *,
        idempotency: str | None,
        background: bool = False,
        index: int = 0,
    ) -> Search:
        """Begin a search, or go on with the one of the same key and Idempotency-Key.

        Args:
            key: Whose.
            request: What is asked.
            idempotency: Its Idempotency-Key.
            background: Whether it runs on without clients.
            index: Of the request's searches which: it has the seed that many further.

        Raises:
            ApiError: It is refused: the request is not valid, a limit is reached, or the gateway
                is about to stop.
        """
        identity = uuid4().hex
        if idempotency is not None:
            identity = sha256_of(f"{len(key.name)}/{key.name}/{idempotency}")[:32]
        plan = self._plans.of(request)
        async with self._turns.setdefault(identity, asyncio.Lock()):
            known = self._known.alive.get(identity)
            if known is not None and known.task is not None and known.task.cancelling():
                await asyncio.wait([known.task])  # it is being suspended just now
            search = await self._known.find(identity) if idempotency is not None else None
            if search is not None and search.request.fingerprint != request.fingerprint:
                raise ApiError(
                    422,
                    f"Idempotency-Key {idempotency!r} belongs to another request; "
                    "take a new one for this",
                    code="idempotency_mismatch",
                )
            if search is not None and search.state in ("running", "done"):
                return search
            self._check_room(key)
            if search is None:
                search = Search(
                    id=identity,
                    owner=key.name,
                    created=time.time(),
                    request=request,
                    state="suspended",
                    seed=_seed(request) + index,
                    idempotent=idempotency is not None,
                )
            search.key = key.sha256  # the same name may have a new key by now
            search.background = background
            search.run, search.lost = uuid4().hex, False
            error, search.error = search.error, None
            try:
                grant = await self.quotas.admit(
                    key, search.record(), estimate=plan.estimate, ahead=plan.ahead
                )
            except ApiError as refused:
                search.error = error
                self.runs.metrics.refused(key.name, refused.detail.code)
                raise
            self._known.alive[identity] = search
            search.state = "running"
            search.announce()
            try:
                own = grant is not None and await self._jobs.take(identity)
                if grant is None or not own:
                    self._known.follow(search)
                    return search
                share = key.name if grant.may_waste else None
                graph = plan.graph(share=share, tokens=grant.tokens)
            except Exception as failed:
                search.fail(explain(failed))
                await self.records.settle(search.record(), Charge(time.time(), 0, 0))
                await self._jobs.done(identity)
                raise
            search.limit = plan.limit(grant.tokens)
            self.runs.start(search, graph, storage=key.storage)
            return search

    async def find(self, key: Key, identity: str) -> Search:
        """A search of `key`'s.

        Raises:
            ApiError: It has none of that id; 404.
        """
        search = await self._known.find(identity)
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
        records = await self.records.of_owner(key.name, limit)
        found = [self._known.alive.get(one.id) or await self._known.read(one) for one in records]
        return [search for search in found if search is not None]

    async def forget(self, key: Key, identity: str) -> None:
        """End a search of `key`'s if it runs, and forget it.

        Raises:
            ApiError: It has none of that id; 404.
        """
        search = await self.find(key, identity)
        if search.task is not None and not search.task.done():
            search.cancel(deleted())
            await asyncio.wait([search.task])
        self._known.alive.pop(identity, None)
        await self.records.forget(identity)

    def _check_room(self, key: Key) -> None:
        if self.runs.draining:
            raise stopping()
        if self.runs.full:
            self.runs.metrics.refused(key.name, "overloaded")
            raise ApiError(
                503,
                f"{self._hosting.searches} searches are running, as many as this gateway takes",
                kind="server_error",
                code="overloaded",
                retry_after=SOON,
            )


def _seed(request: ChatRequest) -> int:
    given = request.given_seed
    return secrets.randbits(48) if given is None else given
