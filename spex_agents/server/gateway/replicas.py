"""Gateways that share a PostgreSQL: their searches are jobs of PgQueuer's.

Of the libraries of durable work, PgQueuer gives a job whose worker's heartbeat has stopped to
another in the same statement that takes new ones: without a service beside the database (as DBOS
needs its Conductor for) and without a sweep of our own (as procrastinate does). All of them need
PostgreSQL to share; in SQLite a gateway is alone, and needs none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

from pgqueuer.adapters.drivers.psycopg import PsycopgDriver
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.models import Job
from pgqueuer.ports.repository import EntrypointExecutionParameter

SILENCE_SECONDS = 5.0
"""How long a gateway may be silent until its searches are another's."""

_KIND: Any = "spex_search"
_LIMITS: Any = {_KIND: EntrypointExecutionParameter(concurrency_limit=0)}


class Shared:
    """Jobs in PostgreSQL.

    Args:
        pool: Of psycopg's connections, which commit by themselves.
        silence_seconds: As above.
    """

    shared = True
    most_attempts = 4

    def __init__(self, pool: Any, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        self.seconds = silence_seconds / 5
        self._pool = pool
        self._silence = timedelta(seconds=silence_seconds)
        self._name: Any = uuid4()
        self._mine: dict[str, Job] = {}
        self._others: list[str] = []

    async def install(self) -> None:
        """Make or upgrade PgQueuer's tables; one gateway at a time."""
        async with self._pool.connection() as connection:
            prepared, connection.prepare_threshold = connection.prepare_threshold, None
            queries = Queries(PsycopgDriver(connection))
            try:  # many statements at once, which cannot be prepared
                if await queries.schema_is_installed():
                    await queries.upgrade()
                else:
                    await queries.install()
            finally:
                connection.prepare_threshold = prepared

    async def take(self, identity: str) -> bool:
        """Make a job of a search and take it; False if somebody was sooner.

        What this gateway took beside it, here or for another client, is whoever's asks first:
        this client's, or `next`'s. Both would begin the same search twice.
        """
        async with self._queries() as queries:
            await self._enqueue(queries, [identity])
            while identity not in self._mine and (taken := await self._take(queries, 1)):
                self._others += taken
        if identity not in self._others:
            return False
        self._others.remove(identity)
        return True

    async def offer(self, identities: Sequence[str]) -> None:
        """Make jobs of searches for whoever has room, of those that are none yet."""
        if new := [identity for identity in identities if identity not in self._mine]:
            async with self._queries() as queries:
                await self._enqueue(queries, new)

    async def next(self, most: int) -> list[str]:
        """Take jobs that nobody has, or whose gateway has died."""
        found, self._others = self._others, []
        if len(found) < most:
            async with self._queries() as queries:
                found += await self._take(queries, most - len(found))
        return found

    async def give_back(self) -> None:
        """Leave jobs that were taken, and that nobody here has asked for yet, to others."""
        while self._others:
            await self.leave(self._others.pop())

    def try_again(self, identity: str) -> None:
        """Leave a job that could not be begun to whoever tries it next, after a silence."""
        self.lose(identity)

    async def leave(self, identity: str) -> None:
        """Leave a job to another gateway."""
        if (job := self._mine.pop(identity, None)) is not None:
            async with self._queries() as queries:
                await queries.retry_job(job, timedelta(0), None)

    async def done(self, identity: str) -> None:
        """End a job; what PgQueuer logs of it is nobody's to read."""
        if (job := self._mine.pop(identity, None)) is not None:
            async with self._queries() as queries:
                await queries.log_jobs([(job, "successful", None)])
                await queries.clear_queue_log(_KIND)

    def lose(self, identity: str) -> None:
        """Leave a job to the gateway that has taken it over."""
        self._mine.pop(identity, None)

    async def beat(self) -> None:
        """Say that the gateway is there, and has its jobs."""
        identities = [job.id for job in self._mine.values()]
        if identities:
            async with self._queries() as queries:
                await queries.update_heartbeat(identities)

    async def _enqueue(self, queries: Queries, identities: Sequence[str]) -> None:
        number = len(identities)
        await queries.enqueue(
            [_KIND] * number,
            [identity.encode() for identity in identities],
            [0] * number,
            dedupe_key=list(identities),
            on_conflict="skip",
        )

    async def _take(self, queries: Queries, most: int) -> list[str]:
        jobs = await queries.dequeue(most, _LIMITS, self._name, None, self._silence)
        taken = {(job.payload or b"").decode(): job for job in jobs}
        again = [identity for identity in taken if identity in self._mine]
        self._mine |= taken
        return [identity for identity in taken if identity not in again]

    @asynccontextmanager
    async def _queries(self) -> AsyncIterator[Queries]:
        async with self._pool.connection() as connection:
            yield Queries(PsycopgDriver(connection))
