"""Where searches outlive the process: SQLite, or PostgreSQL by its URL."""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    closing,
    contextmanager,
    nullcontext,
)
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

from sqlalchemy import Connection, CursorResult, Engine, Executable, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, StaticPool

from spex_agents.errors import SettingsError
from spex_agents.server.gateway.checkpoints import LatestInSqlite, Saver, connect
from spex_agents.server.gateway.errors import storage_error
from spex_agents.server.gateway.faults import storage_fault
from spex_agents.server.gateway.jobs import Alone, Jobs
from spex_agents.server.gateway.schema import migrate
from spex_agents.waiting import until_ended

T = TypeVar("T")

MEMORY = ":memory:"
BUSY_SECONDS = 10.0
"""How long a database may be locked, or away, until a request is refused."""

TURN_SECONDS = 60.0
"""How long, at most, a transaction may wait for those before it: that may be the load alone."""

_LOCK = 0x73706578  # an advisory lock's number, ours alone


@dataclass(frozen=True, slots=True)
class Database:
    """Open: `engine` for records, `saver` for checkpoints, `jobs` for whose a search is."""

    engine: AsyncEngine
    saver: Saver
    jobs: Jobs = field(default_factory=Alone)
    turn: AbstractAsyncContextManager[Any] = field(default_factory=nullcontext)
    """Within which transactions are: a lock where there is one connection only."""

    async def transact(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do `work` in a transaction, which ends whatever becomes of its caller.

        One that is broken off would take its connection with it.

        Raises:
            ApiError: The database is full, locked, away or broken; 503.
        """
        task = asyncio.create_task(self._transact(work))
        await until_ended(task)
        return task.result()

    async def execute(self, statement: Executable) -> CursorResult[Any]:
        """Execute one statement, as a transaction of its own."""

        async def work(connection: AsyncConnection) -> CursorResult[Any]:
            return await connection.execute(statement)

        return await self.transact(work)

    async def _transact(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        with _named():
            try:
                async with (
                    asyncio.timeout(TURN_SECONDS),
                    self.turn,
                    asyncio.timeout(BUSY_SECONDS + 2),
                    self.engine.begin() as connection,
                ):
                    return await work(connection)
            except (OSError, TimeoutError) as error:
                raise storage_error("storage_away") from error

    async def checkpoint(self, identity: str) -> dict[str, Any] | None:
        """The state of a search's graph, if there is one."""
        with _named():
            saved = await self.saver.aget_tuple({"configurable": {"thread_id": identity}})
        return None if saved is None else saved.checkpoint["channel_values"]

    async def keep_checkpoint(self, identity: str) -> None:
        """Save what a run that has ended has come to."""
        with _named():
            await self.saver.finish(identity)

    async def forget_checkpoint(self, identity: str) -> None:
        with _named():
            await self.saver.adelete_thread(identity)


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if (fault := storage_fault(error)) is None:
            raise
        raise storage_error(fault) from error


@asynccontextmanager
async def open_database(name: str) -> AsyncIterator[Database]:
    """Open a SQLite file (``:memory:`` for none), or PostgreSQL by its URL, and migrate it.

    Raises:
        SettingsError: It cannot be opened, or another gateway has it.
    """
    opened = _postgres(name) if "://" in name else _sqlite(name)
    async with opened as database:
        yield database


def sync_engine(name: str) -> Engine:
    """An engine for commands, on a database that is made and migrated if need be.

    It keeps no connection: whoever has it need not close it.

    Raises:
        SettingsError: It cannot be opened.
    """
    if "://" in name:
        import psycopg  # noqa: PLC0415 (an extra)

        engine = create_engine(
            "postgresql+psycopg://", creator=lambda: psycopg.connect(name), poolclass=NullPool
        )
    else:
        _make(Path(name))
        engine = create_engine(
            f"sqlite:///{name}", connect_args={"timeout": BUSY_SECONDS}, poolclass=NullPool
        )
        _immediate(engine)
    try:
        with engine.begin() as connection:
            migrate(connection)
    except SQLAlchemyError as error:
        raise SettingsError(f"database={shown(name)}: cannot open: {error.args[0]}") from error
    return engine


def _immediate(engine: Engine) -> None:
    """Let SQLite's transactions begin when they begin, tables' changes included."""

    @event.listens_for(engine, "connect")
    def by_hand(connection: Any, _: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@asynccontextmanager
async def _sqlite(name: str) -> AsyncIterator[Database]:
    async with AsyncExitStack() as stack:
        if name != MEMORY:
            stack.callback(_hold(Path(name)).close)
        engine = create_async_engine(
            f"sqlite+aiosqlite:///{name}",
            poolclass=StaticPool,
            connect_args={"timeout": BUSY_SECONDS},
        )
        stack.push_async_callback(engine.dispose)
        _immediate(engine.sync_engine)
        thread = stack.enter_context(ThreadPoolExecutor(1, "spex-checkpoints"))
        try:
            checkpoints = stack.enter_context(closing(connect(name, seconds=BUSY_SECONDS)))
            saver = LatestInSqlite(checkpoints, thread)
            saver.setup()
            async with engine.begin() as connection:
                await connection.run_sync(migrate)
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise SettingsError(f"database={name!r}: cannot open: {error.args[0]}") from error
        yield Database(engine, saver, Alone(), saver.turn)


def _make(path: Path) -> None:
    """Make the file, for its owner's eyes only."""
    try:
        path.touch(mode=0o600, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"database={str(path)!r}: cannot open: {error}") from error


def _hold(path: Path) -> IO[bytes]:
    """Make the file, and lock one beside it."""
    lock = path.with_name(f"{path.name}.lock")
    for file in (path, lock):  # who can open the lock can keep a gateway from starting
        _make(file)
    held = lock.open("ab")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        raise SettingsError(
            f"database={str(path)!r}: another gateway has it; several need PostgreSQL"
        ) from error
    return held


@asynccontextmanager
async def _postgres(url: str) -> AsyncIterator[Database]:
    try:
        from psycopg import AsyncConnection as Psycopg  # noqa: PLC0415
        from psycopg import Error  # noqa: PLC0415
        from psycopg.rows import DictRow, dict_row  # noqa: PLC0415
        from psycopg_pool import AsyncConnectionPool, PoolTimeout  # noqa: PLC0415

        from spex_agents.server.gateway.postgres_checkpoints import (  # noqa: PLC0415
            LatestInPostgres,
        )
        from spex_agents.server.gateway.replicas import Shared  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError(
            f"database={shown(url)}: needs {error.name}; pip install 'spex-agents[postgres]'"
        ) from error

    engine = create_async_engine(
        "postgresql+psycopg://",
        async_creator=lambda: Psycopg.connect(url),
        pool_size=10,
        max_overflow=0,  # each of more would be opened anew whenever there is much to do
        pool_timeout=BUSY_SECONDS,
        pool_pre_ping=True,
    )
    settings = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    pool: AsyncConnectionPool[Psycopg[DictRow]] = AsyncConnectionPool(
        url,
        min_size=1,
        max_size=10,
        open=False,
        timeout=BUSY_SECONDS,
        reconnect_timeout=1.0,  # then whoever asks begins anew, instead of ever longer pauses
        kwargs=settings,
        check=AsyncConnectionPool.check_connection,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        stack.push_async_callback(pool.close)
        try:
            await pool.open(wait=True, timeout=BUSY_SECONDS)
            saver = LatestInPostgres(pool)
            jobs = Shared(pool)
            async with _alone(url, Psycopg.connect):
                await saver.setup()
                await jobs.install()
                async with engine.begin() as connection:
                    await connection.run_sync(migrate)
        except (Error, PoolTimeout, SQLAlchemyError) as error:
            why: Exception = error
            if isinstance(error, PoolTimeout):  # which does not say what has failed all the time
                try:
                    await (await Psycopg.connect(url)).close()
                except Error as cause:
                    why = cause
            said = " ".join(str(why).split())  # in one line, as logs have it
            raise SettingsError(f"database: PostgreSQL does not answer: {said}") from error
        yield Database(engine, saver, jobs)


@asynccontextmanager
async def _alone(url: str, connect: Callable[..., Awaitable[Any]]) -> AsyncIterator[None]:
    """Among gateways that start together, be the one that makes the tables.

    A lock that is waited for would be a transaction that an index made concurrently waits for.
    """
    async with await connect(url, autocommit=True) as holder:
        while True:
            cursor = await holder.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,))
            if (await cursor.fetchone())[0]:
                break
            await asyncio.sleep(0.1)
        yield


def shown(name: str) -> str:
    """Without a password."""
    scheme, sign, _ = name.partition("://")
    return f"{scheme}://..." if sign else repr(name)
