"""Where searches outlive the process: LangGraph's checkpoints, and a record of each search."""

from __future__ import annotations

import fcntl
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

import aiosqlite
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from spex_agents.errors import SettingsError
from spex_agents.server.gateway.quotas import Charge

MEMORY = ":memory:"
BUSY_SECONDS = 30.0
_LOCK = 0x73706578  # an advisory lock's number, ours alone

Rows: TypeAlias = Sequence[Sequence[Any]]
Run: TypeAlias = Callable[[str, Sequence[Any]], Awaitable[Rows]]
"""Runs one statement, as a transaction of its own; its parameters are question marks."""

_TABLES = (
    "CREATE TABLE IF NOT EXISTS spex_searches (id TEXT PRIMARY KEY, owner TEXT NOT NULL, "
    "state TEXT NOT NULL, created DOUBLE PRECISION NOT NULL, body TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS spex_searches_owner ON spex_searches (owner, created)",
    "CREATE TABLE IF NOT EXISTS spex_usage (owner TEXT NOT NULL, at DOUBLE PRECISION NOT NULL, "
    "useful BIGINT NOT NULL, wasted BIGINT NOT NULL)",
)


@dataclass(frozen=True, slots=True)
class Record:
    """A search as the database has it; `body` is plain data."""

    id: str
    owner: str
    state: str
    created: float
    body: Mapping[str, Any]


class Database:
    """The searches' checkpoints and records.

    Args:
        saver: Of LangGraph.
        run: Runs a statement.
    """

    def __init__(self, saver: BaseCheckpointSaver[Any], run: Run) -> None:
        self.saver = saver
        self._run = run

    async def check(self) -> None:
        """Raise whatever a database that does not answer raises."""
        await self._run("SELECT 1", ())

    async def checkpoint(self, identity: str) -> dict[str, Any] | None:
        """The state of a search's graph, if there is one."""
        saved = await self.saver.aget_tuple({"configurable": {"thread_id": identity}})
        return None if saved is None else saved.checkpoint["channel_values"]

    async def forget_checkpoint(self, identity: str) -> None:
        await self.saver.adelete_thread(identity)

    async def save(self, record: Record) -> None:
        await self._run(
            "INSERT INTO spex_searches (id, owner, state, created, body) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body",
            (record.id, record.owner, record.state, record.created, json.dumps(record.body)),
        )

    async def find(self, identity: str) -> Record | None:
        rows = await self._select("WHERE id = ?", (identity,))
        return rows[0] if rows else None

    async def running(self) -> list[Record]:
        """The searches that had not ended when the gateway did."""
        return await self._select("WHERE state = 'running' ORDER BY created", ())

    async def of_owner(self, owner: str, limit: int) -> list[Record]:
        """A key's searches, the latest first."""
        return await self._select("WHERE owner = ? ORDER BY created DESC LIMIT ?", (owner, limit))

    async def forget(self, identity: str) -> None:
        await self._run("DELETE FROM spex_searches WHERE id = ?", (identity,))
        await self.forget_checkpoint(identity)

    async def forget_before(self, moment: float) -> int:
        """Forget ended searches, and charges, that are older; return the number of searches."""
        rows = await self._run(
            "SELECT id FROM spex_searches WHERE created < ? AND state <> 'running'", (moment,)
        )
        for (identity,) in rows:
            await self.forget(identity)
        await self._run("DELETE FROM spex_usage WHERE at < ?", (moment,))
        return len(rows)

    async def charge(self, owner: str, charge: Charge) -> None:
        await self._run(
            "INSERT INTO spex_usage (owner, at, useful, wasted) VALUES (?, ?, ?, ?)",
            (owner, charge.at, charge.useful, charge.wasted),
        )

    async def charges(self) -> list[tuple[str, Charge]]:
        rows = await self._run("SELECT owner, at, useful, wasted FROM spex_usage ORDER BY at", ())
        return [(owner, Charge(at, useful, wasted)) for owner, at, useful, wasted in rows]

    async def _select(self, where: str, parameters: Sequence[Any]) -> list[Record]:
        rows = await self._run(
            f"SELECT id, owner, state, created, body FROM spex_searches {where}",  # noqa: S608
            parameters,
        )
        return [
            Record(identity, owner, state, created, json.loads(body))
            for identity, owner, state, created, body in rows
        ]


@asynccontextmanager
async def open_database(name: str) -> AsyncIterator[Database]:
    """Open a SQLite file (``:memory:`` for none), or PostgreSQL by its URL.

    One gateway at a time: two would both go on with the same searches.

    Raises:
        SettingsError: It cannot be opened, or another gateway has it.
    """
    opened = _postgres(name) if "://" in name else _sqlite(name)
    async with opened as database:
        for statement in _TABLES:
            await database._run(statement, ())
        yield database


@asynccontextmanager
async def _sqlite(name: str) -> AsyncIterator[Database]:
    held = None if name == MEMORY else _hold(Path(name))
    try:
        async with (
            aiosqlite.connect(name, timeout=BUSY_SECONDS) as checkpoints,
            aiosqlite.connect(name, timeout=BUSY_SECONDS, isolation_level=None) as records,
        ):
            saver = AsyncSqliteSaver(checkpoints)
            await saver.setup()
            await records.execute("PRAGMA synchronous = NORMAL")  # safe with a write-ahead log
            await checkpoints.execute("PRAGMA synchronous = NORMAL")

            async def run(statement: str, parameters: Sequence[Any]) -> Rows:
                async with records.execute(statement, tuple(parameters)) as cursor:
                    return [tuple(row) for row in await cursor.fetchall()]

            yield Database(saver, run)
    finally:
        if held is not None:
            held.close()


def _hold(path: Path) -> IO[bytes]:
    """Make the file, for its owner's eyes only, and lock one beside it."""
    try:
        path.touch(mode=0o600, exist_ok=True)
        held = path.with_name(f"{path.name}.lock").open("ab")
    except OSError as error:
        raise SettingsError(f"database={str(path)!r}: cannot open: {error}") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        raise SettingsError(
            f"database={str(path)!r}: another gateway has it; give this one its own"
        ) from error
    return held


@asynccontextmanager
async def _postgres(url: str) -> AsyncIterator[Database]:
    try:
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver  # noqa: PLC0415
        from psycopg import AsyncConnection, Error  # noqa: PLC0415
        from psycopg.rows import DictRow, dict_row  # noqa: PLC0415
        from psycopg_pool import AsyncConnectionPool, PoolTimeout  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError(
            f"database={url.partition('://')[0]}://...: needs {error.name}; "
            "pip install 'spex-agents[postgres]'"
        ) from error
    settings = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    pool: AsyncConnectionPool[AsyncConnection[DictRow]] = AsyncConnectionPool(
        url, min_size=2, max_size=10, open=False, kwargs=settings
    )
    async with AsyncExitStack() as stack:
        try:
            holder = await AsyncConnection.connect(url, autocommit=True)
            await stack.enter_async_context(holder)
            stack.push_async_callback(pool.close)
            await pool.open(wait=True, timeout=BUSY_SECONDS)
        except (Error, PoolTimeout) as error:
            raise SettingsError(f"database: PostgreSQL does not answer: {error}") from error
        cursor = await holder.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,))
        if (row := await cursor.fetchone()) is None or not row[0]:
            raise SettingsError("database: another gateway has it; give this one its own")
        saver = AsyncPostgresSaver(pool)
        await saver.setup()

        async def run(statement: str, parameters: Sequence[Any]) -> Rows:
            async with pool.connection() as connection:
                found = await connection.execute(
                    statement.replace("?", "%s").encode(), tuple(parameters)
                )
                if found.description is None:
                    return []
                return [tuple(row.values()) for row in await found.fetchall()]

        yield Database(saver, run)
