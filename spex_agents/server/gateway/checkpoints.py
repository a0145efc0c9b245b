"""LangGraph's checkpoints of the searches: of each the latest only."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, TypeAlias, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.sqlite import SqliteSaver

from spex_agents.waiting import in_thread

T = TypeVar("T")

Saver: TypeAlias = BaseCheckpointSaver[Any]


class LatestInSqlite(SqliteSaver):
    """In SQLite: a search goes on from its latest checkpoint, so no other is kept.

    What is asked of it is done in one visit of one thread. LangGraph's own asynchronous saver
    visits its thread for each statement, cursor and commit: some two hundred times a search.

    Args:
        connection: Of any thread.
        thread: Of one thread, which its owner ends.

    Attributes:
        turn: Held while it reads or writes; another writer of the same file takes it, too, for two
            connections to a file wait for each other by polling.
    """

    latest_only = True  # so that each holds the whole search; see `SearchGraph`

    def __init__(self, connection: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
        super().__init__(connection)
        self.turn = asyncio.Lock()
        self._thread = thread

    async def aget_tuple(self, config: RunnableConfig) -> Any:
        return await self._do(self.get_tuple, config)

    async def aput(self, config: RunnableConfig, *rest: Any) -> RunnableConfig:
        """Save one, and forget those before it."""
        return await self._do(self._put_alone, config, *rest)

    async def aput_writes(self, config: RunnableConfig, *rest: Any) -> None:
        await self._do(self.put_writes, config, *rest)

    async def adelete_thread(self, thread_id: str) -> None:
        await self._do(self.delete_thread, thread_id)

    def _put_alone(self, config: RunnableConfig, *rest: Any) -> RunnableConfig:
        saved = self.put(config, *rest)
        place = saved["configurable"]
        where = (str(place["thread_id"]), place["checkpoint_ns"], place["checkpoint_id"])
        with self.cursor() as cursor:
            for table in ("checkpoints", "writes"):
                cursor.execute(
                    f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_ns = ? "  # noqa: S608
                    "AND checkpoint_id < ?",
                    where,
                )
        return saved

    async def _do(self, work: Callable[..., T], *arguments: Any) -> T:
        async with self.turn:
            return await in_thread(work, *arguments, executor=self._thread)


def connect(name: str, *, seconds: float) -> sqlite3.Connection:
    """A connection for checkpoints, which waits for a locked file so long.

    Each statement is a transaction of its own: one that failed halfway would lock all others out.
    """
    connection = sqlite3.connect(
        name, timeout=seconds, isolation_level=None, check_same_thread=False
    )
    with closing(connection.execute("PRAGMA synchronous = NORMAL")):  # safe with write-ahead
        return connection
