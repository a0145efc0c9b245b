"""LangGraph's checkpoints of the searches: of each the latest only, and not each at once."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.sqlite import SqliteSaver

from spex_agents.waiting import in_thread

T = TypeVar("T")

PAUSE_SECONDS: Final = 2.0
"""Of one search, checkpoints that follow each other faster are not all saved."""


@dataclass(slots=True)
class Unsaved:
    """What the database does not have yet of one graph: its latest checkpoint, if any, and writes.

    Attributes:
        put: The arguments of `aput`.
        writes: Those of `aput_writes`, of tasks that have ended since.
    """

    put: tuple[RunnableConfig, Any, Any, Any] | None = None
    writes: list[tuple[Any, ...]] = field(default_factory=list)

    def followed_by(self, later: Unsaved) -> Unsaved:
        """The later, with what it takes for granted: which channels have changed before it."""
        if later.put is None:
            return Unsaved(self.put, self.writes + later.writes)
        config, checkpoint, metadata, versions = later.put
        before = {} if self.put is None else self.put[3]
        own = [one for one in self.writes if _place(one[0])[2] == checkpoint["id"]]
        put = (config, checkpoint, metadata, {**before, **versions})
        return Unsaved(put, own + later.writes)


class Saver(BaseCheckpointSaver[Any]):
    """Saves the latest checkpoint of each thread: at once, or `PAUSE_SECONDS` after the last one.

    A search of milliseconds is over before that, and needs none; one whose layers take seconds has
    each of them saved. What a process that is killed had not saved is computed again, to the same
    tree. Whoever reads a thread here reads what it has come to.

    Args:
        *args: Those of LangGraph's saver.
        pause_seconds: As above.
        **kwargs: Likewise.
    """

    latest_only = True  # so that each holds the whole search; see `SearchGraph`

    def __init__(self, *args: Any, pause_seconds: float = PAUSE_SECONDS, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pause = pause_seconds
        self._unsaved: dict[str, dict[str, Unsaved]] = {}
        self._due: dict[str, float] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def aput(
        self, config: RunnableConfig, checkpoint: Any, metadata: Any, new_versions: Any
    ) -> RunnableConfig:
        """Take a checkpoint in place of those before it, and save it unless another has just been.

        The very first says no more than the search's record does.
        """
        thread, space, _ = _place(config)
        self._hold(thread, space, Unsaved((config, checkpoint, metadata, new_versions)))
        now = time.monotonic()
        if self._due.setdefault(thread, now + self._pause) <= now:
            await self.save(thread)
        where = {"thread_id": thread, "checkpoint_ns": space, "checkpoint_id": checkpoint["id"]}
        return {"configurable": where}

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Take what a task has come to: the next checkpoint has it, and mostly comes at once."""
        thread, space, _ = _place(config)
        self._hold(thread, space, Unsaved(writes=[(config, writes, task_id, task_path)]))
        self._due.setdefault(thread, time.monotonic() + self._pause)

    async def aget_tuple(self, config: RunnableConfig) -> Any:
        await self.save(_place(config)[0])
        return await self._get(config)

    async def adelete_thread(self, thread_id: str) -> None:
        async with self._turn(thread_id):
            self.drop(thread_id)
            await self._delete(thread_id)

    def drop(self, thread: str) -> None:
        """Save nothing more of a thread that another gateway has."""
        self._unsaved.pop(thread, None)
        self._due.pop(thread, None)

    async def save(self, thread: str) -> None:
        """Save what there is of a thread; if that fails, it is kept for the next time."""
        async with self._turn(thread):
            if not (unsaved := self._unsaved.pop(thread, {})):
                return
            try:
                await self._save(list(unsaved.values()))
                self._due[thread] = time.monotonic() + self._pause
            except BaseException:
                later = self._unsaved.pop(thread, {})
                for space, one in [*unsaved.items(), *later.items()]:
                    self._hold(thread, space, one)
                raise

    async def save_due(self) -> None:
        """Save what has waited for its pause."""
        now = time.monotonic()
        for thread in [one for one in self._unsaved if self._due.get(one, now) <= now]:
            await self.save(thread)

    async def finish(self, thread: str) -> None:
        """Save what there is of a thread whose run has ended."""
        await self.save(thread)
        self.drop(thread)

    async def _get(self, config: RunnableConfig) -> Any:
        return await super().aget_tuple(config)

    async def _delete(self, thread: str) -> None:
        await super().adelete_thread(thread)

    async def _save(self, unsaved: Sequence[Unsaved]) -> None:
        """Save all of these, and forget the checkpoints before them."""
        raise NotImplementedError

    def _hold(self, thread: str, space: str, one: Unsaved) -> None:
        spaces = self._unsaved.setdefault(thread, {})
        spaces[space] = spaces.get(space, Unsaved()).followed_by(one)

    def _turn(self, thread: str) -> asyncio.Lock:
        return self._turns.setdefault(thread, asyncio.Lock())


class LatestInSqlite(Saver, SqliteSaver):
    """In SQLite; what is asked of it is done in one visit of one thread.

    LangGraph's own asynchronous saver visits its thread for each statement, cursor and commit.

    Args:
        connection: Of any thread.
        thread: Of one thread, which its owner ends.

    Attributes:
        turn: Held while it reads or writes; another writer of the same file takes it, too, for two
            connections to a file wait for each other by polling.
    """

    def __init__(
        self, connection: sqlite3.Connection, thread: ThreadPoolExecutor, **settings: Any
    ) -> None:
        super().__init__(connection, **settings)
        self.turn = asyncio.Lock()
        self._thread = thread

    async def _get(self, config: RunnableConfig) -> Any:
        return await self._do(self.get_tuple, config)

    async def _delete(self, thread: str) -> None:
        await self._do(self.delete_thread, thread)

    async def _save(self, unsaved: Sequence[Unsaved]) -> None:
        await self._do(self._save_here, unsaved)

    def _save_here(self, unsaved: Sequence[Unsaved]) -> None:
        for one in unsaved:
            for writes in one.writes:
                self.put_writes(*writes)
            if one.put is not None:
                self._put_alone(*one.put)

    def _put_alone(self, config: RunnableConfig, *rest: Any) -> None:
        where = _place(self.put(config, *rest))
        with self.cursor() as cursor:
            for table in ("checkpoints", "writes"):
                cursor.execute(
                    f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_ns = ? "  # noqa: S608
                    "AND checkpoint_id < ?",
                    where,
                )

    async def _do(self, work: Callable[..., T], *arguments: Any) -> T:
        async with self.turn:
            return await in_thread(work, *arguments, executor=self._thread)


def _place(config: RunnableConfig) -> tuple[str, str, str | None]:
    """The thread, the graph in it, and the checkpoint that a configuration names."""
    place = config["configurable"]
    return str(place["thread_id"]), place.get("checkpoint_ns", ""), place.get("checkpoint_id")


def connect(name: str, *, seconds: float) -> sqlite3.Connection:
    """A connection for checkpoints, which waits for a locked file so long.

    Each statement is a transaction of its own: one that failed halfway would lock all others out.
    """
    connection = sqlite3.connect(
        name, timeout=seconds, isolation_level=None, check_same_thread=False
    )
    with closing(connection.execute("PRAGMA synchronous = NORMAL")):  # safe with write-ahead
        return connection
