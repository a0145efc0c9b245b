"""LangGraph's checkpoints of the searches: of each the latest only."""

from __future__ import annotations

from typing import Any, TypeAlias

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, ChannelVersions, Checkpoint
from langgraph.checkpoint.base import CheckpointMetadata as Metadata
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

Saver: TypeAlias = BaseCheckpointSaver[Any]


class LatestInSqlite(AsyncSqliteSaver):
    """In SQLite: a search goes on from its latest checkpoint, so no other is kept."""

    latest_only = True  # so that each holds the whole search; see `SearchGraph`

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: Metadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Save one, and forget those before it."""
        saved = await super().aput(config, checkpoint, metadata, new_versions)
        place = saved["configurable"]
        where = (str(place["thread_id"]), place["checkpoint_ns"], place["checkpoint_id"])
        async with self.lock:
            for table in ("checkpoints", "writes"):
                await self.conn.execute(
                    f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_ns = ? "  # noqa: S608
                    "AND checkpoint_id < ?",
                    where,
                )
            await self.conn.commit()
        return saved
