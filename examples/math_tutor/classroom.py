"""Where lessons are kept, and one lesson as turns that outlive the process."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.store.sqlite.aio import AsyncSqliteStore
from langgraph.types import Command

from spex_agents.errors import SettingsError
from spex_agents.nodes import apart


@asynccontextmanager
async def opened(database: Path) -> AsyncIterator[tuple[AsyncSqliteSaver, AsyncSqliteStore]]:
    """Checkpoints and memory in one SQLite file.

    Raises:
        SettingsError: It cannot be opened.
    """
    file = str(database)
    try:  # here, and not in the connections' threads, which would outlive a failure
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        raise SettingsError(f"database={file!r}: {error}; give another file") from error
    async with (
        AsyncSqliteSaver.from_conn_string(file) as saver,
        AsyncSqliteStore.from_conn_string(file) as store,
    ):
        await saver.setup()
        await store.setup()
        yield saver, store


@dataclass(slots=True)
class Sitting:
    """A lesson that is begun, or gone on with.

    Attributes:
        graph: With a checkpointer.
        config: Names its thread.
        told: Messages that were shown already.
    """

    graph: CompiledStateGraph[Any, Any, Any, Any]
    config: RunnableConfig
    told: int = 0

    async def begin(
        self, asked: dict[str, Any], watch: Callable[[dict[str, Any]], None]
    ) -> str | None:
        """Begin the lesson, or go on where it stands; what the student is asked, or None.

        Args:
            asked: The graph's input, for a new lesson.
            watch: Called with the events of the search.

        Raises:
            SettingsError: The thread is about another question.
        """
        state = await self.graph.aget_state(self.config)
        if not state.values:
            return await self._run(asked, watch)
        if state.values["question"] != asked["question"]:
            raise SettingsError(
                f"thread={self.thread!r}: is about another question, "
                f"{state.values['question']!r}; give another thread"
            )
        if state.next and not state.interrupts:  # broken off
            return await self._run(None, watch)
        said = [message.type for message in state.values["messages"]]
        self.told = max((at for at, who in enumerate(said) if who == "human"), default=0)
        return await self._asked()

    async def reply(self, line: str) -> str | None:
        """Take the student's line; what is asked next, or None at the end."""
        return await self._run(Command(resume=line), lambda event: None)

    async def news(self) -> list[tuple[str, str]]:
        """What was said since the last time: who, and what."""
        messages = (await self.values()).get("messages", [])
        new, self.told = messages[self.told :], len(messages)
        return [(message.type, message.text) for message in new]

    async def check_recordable(self, file: Path) -> None:
        """Refuse to record a search of which only the rest, or nothing, would be seen.

        Raises:
            SettingsError: The search has begun.
        """
        if not (values := await self.values()):
            return
        if values.get("tree_sha256") is not None:
            told = "has been; begin it anew with --again"
        else:
            told = (
                "was broken off, and what it did before is in no record; leave out --record to go "
                "on with it, or begin it anew with --again"
            )
        raise SettingsError(f"record={str(file)!r}: the search of this lesson {told}")

    async def status(self) -> str:
        return str((await self.values())["status"])

    async def values(self) -> dict[str, Any]:
        """The state of the lesson; empty before it has begun."""
        return dict((await self.graph.aget_state(self.config)).values)

    @property
    def thread(self) -> str:
        return str(self.config["configurable"]["thread_id"])

    async def _asked(self) -> str | None:
        interrupts = (await self.graph.aget_state(self.config)).interrupts
        return str(interrupts[0].value) if interrupts else None

    async def _run(self, asked: Any, watch: Callable[[dict[str, Any]], None]) -> str | None:
        async def run() -> None:
            # In step with the run: what was committed before a kill is written down.
            parts: AsyncIterator[Any] = self.graph.astream(
                asked, self.config, stream_mode="custom", subgraphs=True, durability="sync"
            )
            async for _, event in parts:
                watch(event)

        await apart(run())
        return await self._asked()
