"""LangGraph's checkpoints of the searches in PostgreSQL, whose packages are an extra."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.errors import DeadlockDetected, SerializationFailure

from spex_agents.server.gateway.checkpoints import Saver, Unsaved


class LatestInPostgres(Saver, AsyncPostgresSaver):
    """In PostgreSQL, by LangGraph's own saver."""

    async def _save(self, unsaved: Sequence[Unsaved]) -> None:
        for one in unsaved:
            for writes in one.writes:
                await AsyncPostgresSaver.aput_writes(self, *writes)
            if one.put is not None:
                await AsyncPostgresSaver.aput(self, *one.put)
                thread = one.put[0]["configurable"]["thread_id"]
                # A gateway that has lost the search, and is not told yet, prunes it meanwhile, too.
                with suppress(DeadlockDetected, SerializationFailure):
                    await self.aprune([thread], strategy="keep_latest")
