"""The searches as the database has them, and what their runs have cost."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, delete, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from spex_agents.server.gateway.database import Database
from spex_agents.server.gateway.schema import searches, usage

_COLUMNS = ("id", "owner", "state", "created", "attempts", "run", "reserved")

UNREADABLE = "unreadable"
"""The state of a record that has been set aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A search as the database has it; `body` is plain data, empty if it cannot be read.

    Attributes:
        id: Of the search.
        owner: The name of its key.
        state: What has become of it.
        created: Seconds since the epoch.
        body: All else.
        attempts: Runs begun since one has ended in order.
        run: The run that may save it.
        reserved: Tokens that are held back for it.
    """

    id: str
    owner: str
    state: str
    created: float
    body: Mapping[str, Any] = field(default_factory=dict)
    attempts: int = 0
    run: str = ""
    reserved: int = 0


@dataclass(frozen=True, slots=True)
class Charge:
    """What a run of a search has cost; `at` is in seconds since the epoch."""

    at: float
    useful: int
    wasted: int


class Records:
    """Reads and writes them.

    Args:
        database: Open.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, identity: str) -> Record | None:
        found = await self._select(select(searches).where(searches.c.id == identity))
        return found[0] if found else None

    async def running(self) -> list[str]:
        """The searches that had not ended when their gateway did, or run: the oldest first."""
        running = select(searches.c.id).where(searches.c.state == "running")
        ids = await self._database.execute(running.order_by(searches.c.created))
        return list(ids.scalars())

    async def of_owner(
        self, owner: str, limit: int, after: Record | None = None, *, ascending: bool = False
    ) -> list[Record]:
        """A key's searches, the latest first unless `ascending`: those that come after one."""
        own = select(searches).where(searches.c.owner == owner, searches.c.state != UNREADABLE)
        order = tuple_(searches.c.created, searches.c.id)
        if after is not None:
            place = tuple_(after.created, after.id)
            own = own.where(order > place if ascending else order < place)
        turned = [column if ascending else column.desc() for column in order.clauses]
        return await self._select(own.order_by(*turned).limit(limit))

    async def runs_of(self, identities: Collection[str]) -> dict[str, str]:
        """The runs that may save these searches, of those that have not been forgotten."""
        known = select(searches.c.id, searches.c.run).where(searches.c.id.in_(identities))
        found = await self._database.execute(known)
        return {one.id: one.run for one in found}

    async def claim(self, record: Record, run: str) -> bool:
        """Let `run` go on with a running search in place of the run that `record` names."""
        claimed = await self._database.execute(
            update(searches)
            .where(
                searches.c.id == record.id,
                searches.c.run == record.run,
                searches.c.state == "running",
            )
            .values(run=run, attempts=searches.c.attempts + 1)
        )
        return claimed.rowcount == 1

    async def settle(self, record: Record, charge: Charge) -> bool:
        """Save what a run has come to, and charge it; neither, and False, if it lost the search.

        A search that was forgotten meanwhile is charged all the same.
        """
        body = json.dumps(record.body)
        save = (
            update(searches)
            .where(searches.c.id == record.id, searches.c.run == record.run)
            .values(state=record.state, body=body, bytes=len(body), attempts=0, run="", reserved=0)
        )
        pay = insert(usage).values(
            owner=record.owner, at=charge.at, useful=charge.useful, wasted=charge.wasted
        )

        async def work(connection: AsyncConnection) -> bool:
            if not (await connection.execute(save)).rowcount:
                other = select(searches.c.id).where(searches.c.id == record.id)
                if (await connection.execute(other)).first() is not None:
                    return False
            await connection.execute(pay)
            return True

        return await self._database.transact(work)

    async def set_aside(self, identity: str) -> bool:
        """Let a record that cannot be read trouble nobody again; return whether it was so far."""
        aside = update(searches).where(searches.c.id == identity, searches.c.state != UNREADABLE)
        done = await self._database.execute(aside.values(state=UNREADABLE, reserved=0, run=""))
        return done.rowcount == 1

    async def forget(self, identity: str) -> None:
        """Forget a search; the checkpoint of one that another gateway runs is that one's to forget.

        Two that change a search's checkpoints at a time would be in each other's way.
        """
        gone = delete(searches).where(searches.c.id == identity).returning(searches.c.state)
        state = (await self._database.execute(gone)).scalar()
        if state != "running" or not self._database.jobs.shared:
            await self._database.forget_checkpoint(identity)

    async def forget_before(self, moment: float) -> int:
        """Forget ended searches, and charges, that are older; return the number of searches."""
        await self._database.execute(delete(usage).where(usage.c.at < moment))
        old = select(searches.c.id).where(
            searches.c.created < moment, searches.c.state != "running"
        )
        found = (await self._database.execute(old)).scalars().all()
        for identity in found:
            await self.forget(identity)
        return len(found)

    async def forget_beyond(self, owner: str, most_bytes: int) -> int:
        """Forget the oldest ended searches of a key beyond its bytes; return their number."""
        own = searches.c.owner == owner
        sizes = select(func.sum(searches.c.bytes)).where(own)
        kept = (await self._database.execute(sizes)).scalar() or 0
        if kept <= most_bytes:
            return 0
        ended = select(searches.c.id, searches.c.bytes).where(own, searches.c.state != "running")
        rows = (await self._database.execute(ended.order_by(searches.c.created))).all()
        forgotten = 0
        for identity, size in (tuple(row) for row in rows):
            if kept <= most_bytes:
                break
            await self.forget(identity)
            kept -= size
            forgotten += 1
        return forgotten

    async def _select(self, statement: Select[Any]) -> list[Record]:
        rows = (await self._database.execute(statement)).mappings().all()
        return [_record(row) for row in rows]


def _record(row: Any) -> Record:
    body: Any = None
    with suppress(ValueError, RecursionError):
        body = json.loads(row["body"])
    return Record(
        body=body if isinstance(body, dict) else {},
        **{name: row[name] for name in _COLUMNS},
    )
