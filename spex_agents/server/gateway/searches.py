"""All searches of a gateway: begun, found again, gone on with after a restart, forgotten."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
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
from spex_agents.server.gateway.search import Search
from spex_agents.server.gateway.upkeep import Upkeep
from spex_agents.speculation.reporting.events import path_id
from spex_agents.speculation.reporting.ledger import Ledger


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
            quotas=self.quotas,
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
        """Take no more, and let what runs end; what does not in time is put off."""
        await self.runs.drain(self._known.followers)
        self._known.let_go()

    def put_off(self) -> None:
        """Take no more, and leave what runs to the next process: `drain` ends."""
        self.runs.put_off()
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
            self._check_room(key, idempotent=idempotency is not None)
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
            search.limit, search.most = plan.limit(grant.tokens), plan.most
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

    async def whole(self, search: Search) -> dict[str, Any]:
        """A search with its committed thoughts; of a running one what its last checkpoint has."""
        if search.state in ENDED:
            return {**search.summary(), "tree": _tree_rows(search.rows)}
        saved = await self.database.checkpoint(search.id) or {}
        spent, seconds = Ledger.of(saved.get("ledger") or {}), search.seconds
        if spent.decoded_tokens <= search.spent.decoded_tokens:
            spent = search.spent
        if search.began is not None:
            seconds += time.monotonic() - search.began
        now = {"seconds": round(seconds, 3), "ledger": spent.report()}
        return {**search.summary(), **now, "tree": _tree_rows(saved)}

    async def latest(
        self, key: Key, limit: int, after: str | None, *, ascending: bool = False
    ) -> tuple[list[Search], bool]:
        """The searches of `key`, the latest first, and whether there are more.

        Args:
            key: Whose.
            limit: How many at most.
            after: The search before them; None for the first ones.
            ascending: Whether the oldest come first.

        Raises:
            ApiError: It has no search `after`; 404.
        """
        last = None if after is None else await self.records.find(after)
        if after is not None and (last is None or last.owner != key.name):
            raise ApiError(
                404,
                f"after={after!r}: must be the id of a search of this key that is still there; "
                "begin with the first page again",
                param="after",
            )
        found: list[Search] = []
        while len(found) <= limit and (
            records := await self.records.of_owner(
                key.name, limit + 1 - len(found), last, ascending=ascending
            )
        ):
            last = records[-1]
            for one in records:  # those that cannot be read leave their places to the next
                search = self._known.alive.get(one.id) or await self._known.read(one)
                found += [] if search is None else [search]
        return found[:limit], len(found) > limit

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

    def _check_room(self, key: Key, *, idempotent: bool) -> None:
        if self.runs.draining:
            raise stopping(idempotent=idempotent)
        if self.runs.full:
            self.runs.metrics.refused(key.name, "overloaded")
            raise ApiError(
                503,
                f"{self._hosting.searches} searches are running, as many as this gateway takes",
                kind="server_error",
                code="overloaded",
                retry_after=SOON,
            )


def _tree_rows(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of a graph's state as ``spex solve --json`` has them, each with its id."""
    rewards = {tuple(row["path"]): row["reward"] for row in rows.get("rewards", ())}
    words = {tuple(row["path"]): row.get("words") for row in rows.get("rewards", ())}
    return [
        {
            "id": path_id(tuple(row["path"])),
            "path": row["path"],
            "text": row["text"],
            "tokens": row["tokens"],
            "ends": row["ends"],
            "reward": rewards.get(tuple(row["path"])),
            **({"words": said} if (said := words.get(tuple(row["path"]))) else {}),
        }
        for row in rows.get("thoughts", ())
    ]


def _seed(request: ChatRequest) -> int:
    given = request.given_seed
    return secrets.randbits(48) if given is None else given
