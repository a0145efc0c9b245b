"""All searches of a gateway: begun, found again, gone on with after a restart, forgotten."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from contextlib import AsyncExitStack
from typing import Any, Self
from uuid import uuid4
from weakref import WeakValueDictionary

from spex_agents.server.gateway.catalogue import Catalogue
from spex_agents.server.gateway.database import Database
from spex_agents.server.gateway.errors import ApiError, explain, stopping
from spex_agents.server.gateway.events import ENDED
from spex_agents.server.gateway.graphs import plan_search
from spex_agents.server.gateway.keyring import Keyring
from spex_agents.server.gateway.keys import STORAGE, Key, sha256_of
from spex_agents.server.gateway.quotas import SOON, Quotas
from spex_agents.server.gateway.records import UNREADABLE, Charge, Record, Records
from spex_agents.server.gateway.requests import ChatRequest
from spex_agents.server.gateway.runs import Runs
from spex_agents.server.gateway.search import Search, UnreadableRecord, tree_rows
from spex_agents.server.gateway.settings import Hosting

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 3600.0
REVOKE_SECONDS = 0.5
"""How often it is asked whose keys are gone."""

FOLLOW_SECONDS = 0.2
"""How often it is asked what another gateway's search has come to."""


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
        self, catalogue: Catalogue, database: Database, hosting: Hosting, keys: Keyring
    ) -> None:
        self.leaving = False
        self.catalogue = catalogue
        self.database = database
        self.records = Records(database)
        self.quotas = Quotas(database)
        self.runs = Runs(catalogue, database, self.records, hosting)
        self._hosting = hosting
        self._keys = keys
        self._jobs = database.jobs
        self._tasks = asyncio.TaskGroup()
        self._alive: WeakValueDictionary[str, Search] = WeakValueDictionary()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.runs)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            for record in await self.records.running():
                await self._jobs.offer(record.id)
            self._tasks = tasks
            for upkeep in (
                self._go_on(),
                self._be_there(),
                self._forget_old(),
                self._end_revoked(),
            ):
                stack.callback(tasks.create_task(upkeep).cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

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
        plan = plan_search(request, self.catalogue, self._hosting)
        known = self._alive.get(identity)
        if known is not None and known.task is not None and known.task.cancelling():
            await asyncio.wait([known.task])  # it is being suspended just now
        async with self._turns.setdefault(identity, asyncio.Lock()):
            search = await self._find(identity) if idempotency is not None else None
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
            search.run = uuid4().hex
            error, search.error = search.error, None
            try:
                grant = await self.quotas.admit(
                    key, search.record(), estimate=plan.estimate, ahead=plan.ahead
                )
            except ApiError as refused:
                search.error = error
                self.runs.metrics.refused(key.name, refused.detail.code)
                raise
            self._alive[identity] = search
            search.state = "running"
            search.announce()
            try:
                own = grant is not None and await self._jobs.take(identity)
            except Exception as failed:
                search.fail(explain(failed))
                await self.records.settle(search.record(), Charge(time.time(), 0, 0))
                raise
            if grant is None or not own:
                self._follow(search)
                return search
            share = key.name if grant.may_waste else None
            graph = plan.graph(self.database.saver, share=share, tokens=grant.tokens)
            search.limit = plan.limit(grant.tokens)
            self.runs.start(search, graph, storage=key.storage)
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
        records = await self.records.of_owner(key.name, limit)
        found = [self._alive.get(one.id) or await self._read(one) for one in records]
        return [search for search in found if search is not None]

    async def forget(self, key: Key, identity: str) -> None:
        """End a search of `key`'s if it runs, and forget it.

        Raises:
            ApiError: It has none of that id; 404.
        """
        search = await self.find(key, identity)
        if search.task is not None and not search.task.done():
            search.cancel(_forgotten())
            await asyncio.wait([search.task])
        self._alive.pop(identity, None)
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

    async def _find(self, identity: str) -> Search | None:
        if (search := self._alive.get(identity)) is not None and self._is_current(search):
            return search
        record = await self.records.find(identity)
        if record is None or (search := await self._read(record)) is None:
            return None
        if search.state == "suspended":
            search.recall(await self.database.checkpoint(identity) or {})
        search = self._alive.setdefault(identity, search)
        if search.state == "running" and self._jobs.shared and search.task is None:
            self._follow(search)
        return search

    def _is_current(self, search: Search) -> bool:
        """Whether it is known here what has become of it: another gateway may have gone on."""
        return not self._jobs.shared or search.state in ("running", *ENDED)

    async def _read(self, record: Record) -> Search | None:
        """The search of a record; one that cannot be read is set aside, and told of once."""
        if record.state == UNREADABLE:
            return None
        try:
            return Search.from_record(record)
        except UnreadableRecord as error:
            cause = type(error.__cause__).__name__
            if await self.records.set_aside(record.id):
                logger.error("cannot read a search", extra={"search": record.id, "cause": cause})
            return None

    async def _go_on(self) -> None:
        """Go on with what the last process left, or a gateway that has died, as there is room."""
        failing = False
        while True:
            try:
                room = self._hosting.searches - len(self.runs.searches)
                leaving = self.leaving or self.runs.draining
                for identity in await self._jobs.next(room) if room > 0 and not leaving else ():
                    await self._go_on_with(identity)
                failing = False
            except Exception:
                if not failing:
                    logger.exception("cannot look for searches to go on with")
                failing = True
            await asyncio.sleep(self._jobs.seconds)

    async def _go_on_with(self, identity: str) -> None:
        """Go on with a search, if there is still who and what for."""
        record = await self.records.find(identity)
        search = None
        if record is not None and record.state == "running":
            search = await self._read(record)
        if record is None or search is None:
            await self._jobs.done(identity)
            return
        search = self._alive.setdefault(identity, search)
        nobody = not search.background and not search.idempotent
        search.background = True  # its clients' connections ended with the last process
        plan = None
        try:
            if record.attempts >= self._jobs.most_attempts:
                raise _deadly(record.attempts)
            if not self._keys.holds(search.owner, search.key):
                raise _revoked(search)
            plan = plan_search(search.request, self.catalogue, self._hosting)
        except ApiError as error:  # an engine or a limit is not there any more
            search.fail(explain(error))
        search.run = uuid4().hex
        if not await self.records.claim(record, search.run):
            return
        if plan is None or nobody:
            if plan is not None:
                search.state = "suspended"
            await self.records.settle(search.record(), Charge(time.time(), 0, 0))
            await self._jobs.done(identity)
            search.announce()
            return
        granted = record.reserved or None
        graph = plan.graph(self.database.saver, share=search.owner, tokens=granted)
        search.limit = plan.limit(granted)
        self.runs.start(search, graph, storage=STORAGE)

    async def _be_there(self) -> None:
        """Say that this gateway is there, and end what was forgotten through another."""
        failing = False
        while self._jobs.shared:
            try:
                running = {search.id: search for search in self.runs.searches}
                await self._jobs.beat(running)
                for identity in running.keys() - await self.records.present(running):
                    self._alive.pop(identity, None)
                    running[identity].cancel(_forgotten())
                failing = False
            except Exception:
                if not failing:  # once, not once a second
                    logger.exception("cannot say that this gateway is there")
                failing = True
            await asyncio.sleep(self._jobs.seconds)

    def _follow(self, search: Search) -> None:
        """Tell what another gateway does with a search, as long as it runs."""
        if search.follower is None or search.follower.done():
            search.follower = self._tasks.create_task(self._tell_of(search))
            self._stack.callback(search.follower.cancel)

    async def _tell_of(self, search: Search) -> None:
        while search.task is None or search.task.done():
            try:
                search.recall(await self.database.checkpoint(search.id) or {})
                if await self._has_ended(search):
                    search.announce()
                    return
            except Exception:
                logger.exception("cannot tell of a search", extra={"search": search.id})
            await asyncio.sleep(FOLLOW_SECONDS)

    async def _has_ended(self, search: Search) -> bool:
        """Whether another gateway runs it no more; then what it has come to is taken over."""
        record = await self.records.find(search.id)
        if record is not None and record.state == "running":
            return False
        if record is None or (ended := await self._read(record)) is None:
            search.fail(_forgotten())
        else:
            search.take_over(ended)
        return True

    async def _end_revoked(self) -> None:
        while True:
            await asyncio.sleep(REVOKE_SECONDS)
            for search in self.runs.searches:
                if not self._keys.holds(search.owner, search.key):
                    search.cancel(_revoked(search))

    async def _forget_old(self) -> None:
        while True:
            try:
                await self.records.forget_before(time.time() - self._hosting.keep_seconds)
            except Exception:
                logger.exception("cannot forget old searches")
            await asyncio.sleep(SWEEP_SECONDS)


def _seed(request: ChatRequest) -> int:
    given = request.given_seed
    return secrets.randbits(48) if given is None else given


def _revoked(search: Search) -> ApiError:
    return ApiError(
        401,
        f"the key {search.owner!r} was revoked: its searches have ended",
        code="key_revoked",
    )


def _forgotten() -> ApiError:
    return ApiError(404, "the search was deleted while it ran", code="search_deleted")


def _deadly(attempts: int) -> ApiError:
    return ApiError(
        500,
        f"the gateway has died {attempts} times with this search running: it is not tried again",
        kind="server_error",
        code="search_killed",
    )
