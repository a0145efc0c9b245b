"""Checkpoints of which only the latest is saved, and not at once."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from postgres import postgres

from spex_agents.server.gateway.checkpoints import LatestInSqlite, Unsaved, connect
from spex_agents.server.gateway.database import open_database

CHANNELS = ("thoughts", "rewards", "decided")
NEVER = 3600.0
LATEST: Any = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}


class Sometimes(LatestInSqlite):
    """Fails to save when told to, once, and counts how often it saves."""

    failing = False
    saved = 0

    async def _save(self, unsaved: Sequence[Unsaved]) -> None:
        if self.failing:
            self.failing = False
            raise sqlite3.OperationalError("database or disk is full")
        self.saved += 1
        await super()._save(unsaved)


@asynccontextmanager
async def saver(pause_seconds: float) -> AsyncIterator[Sometimes]:
    with ThreadPoolExecutor(1) as thread, closing(connect(":memory:", seconds=1)) as connection:
        opened = Sometimes(connection, thread, pause_seconds=pause_seconds)
        opened.setup()
        yield opened


class Graph:
    """Puts the checkpoints of a graph whose steps change some of its channels."""

    def __init__(self, savers: Sequence[BaseCheckpointSaver[Any]]) -> None:
        self.savers = savers
        self.step = 0
        self.versions: dict[str, int] = {}
        self.values: dict[str, Any] = {}
        self.config = LATEST

    async def put(self, changed: Sequence[str]) -> None:
        self.step += 1
        new: Any = dict.fromkeys(changed, self.step)
        self.versions |= new
        self.values |= {name: [f"{name} of {self.step}"] for name in changed}
        checkpoint: Any = {
            **empty_checkpoint(),
            "id": f"{self.step:04d}",
            "channel_values": dict(self.values),
            "channel_versions": dict(self.versions),
        }
        for one in self.savers:
            config = await one.aput(self.config, checkpoint, {"step": self.step}, new)
        self.config = config

    async def write(self, task: str) -> None:
        for one in self.savers:
            await one.aput_writes(self.config, [("thoughts", [task])], task)


def comparable(found: Any) -> Any:
    if found is None:
        return None
    values, pending = found.checkpoint["channel_values"], sorted(found.pending_writes or ())
    return found.checkpoint["id"], values, found.metadata["step"], pending


STEPS = st.lists(
    st.one_of(
        st.lists(st.sampled_from(CHANNELS), min_size=1, unique=True),
        st.sampled_from(["write", "save", "fail", "read"]),
    ),
    max_size=20,
)


@given(steps=STEPS, pause_seconds=st.sampled_from([0.0, NEVER]))
def test_whatever_is_saved_when_a_reader_finds_the_latest(
    steps: list[Any], pause_seconds: float
) -> None:
    async def main() -> None:
        whole = InMemorySaver()
        async with saver(pause_seconds) as own:
            graph = Graph([own, whole])
            for number, step in enumerate(["thoughts", *steps]):
                if step == "write" and graph.step:
                    await graph.write(str(number))
                elif step == "save":
                    await own.save("one")
                elif step == "fail" and own._unsaved.get("one"):
                    own.failing = True
                    with pytest.raises(sqlite3.OperationalError):
                        await own.save("one")
                elif step == "read":
                    assert comparable(await own.aget_tuple(graph.config)) == comparable(
                        await whole.aget_tuple(graph.config)
                    )
                elif isinstance(step, list):
                    await graph.put(step)
            found = comparable(await own.aget_tuple(LATEST))
            assert found == comparable(await whole.aget_tuple(LATEST))
            await own.finish("one")
            assert comparable(own.get_tuple(LATEST)) == found
            assert not own._unsaved
            assert not own._due

    asyncio.run(main())


async def test_a_graph_that_is_over_at_once_is_never_saved_and_leaves_nothing() -> None:
    async with saver(NEVER) as own:
        graph = Graph([own])
        for _ in range(5):
            await graph.put(CHANNELS)
            await graph.write("task")
        await own.save_due()
        await own.adelete_thread("one")
        await own.finish("one")
        assert own.saved == 0
        assert await own.aget_tuple(LATEST) is None


async def test_where_the_pause_is_over_a_checkpoint_is_saved_at_once_and_its_failure_told() -> None:
    async with saver(0.0) as own:
        graph = Graph([own])
        for _ in range(3):
            await graph.put(CHANNELS)
        assert own.saved == 3
        await graph.write("task")
        await own.save_due()
        assert own.saved == 4
        own.failing = True
        with pytest.raises(sqlite3.OperationalError):
            await graph.put(CHANNELS)
        await own.save_due()
        assert (await own.aget_tuple(LATEST)).checkpoint["id"] == "0004"


async def test_of_a_graph_that_another_gateway_has_nothing_more_is_saved() -> None:
    async with saver(NEVER) as own:
        graph = Graph([own])
        await graph.put(CHANNELS)
        await own.save("one")
        await graph.put(CHANNELS)
        own.drop("one")
        await own.finish("one")
        found = await own.aget_tuple(LATEST)
        assert found.checkpoint["id"] == "0001"


@pytest.mark.slow
async def test_in_postgresql_what_has_changed_in_a_checkpoint_left_out_is_not_missed() -> None:
    with postgres() as server:
        async with open_database(server.url) as database:
            whole, own = InMemorySaver(), cast(Any, database.saver)
            graph = Graph([own, whole])
            for changed in (CHANNELS, CHANNELS[:1], CHANNELS[1:]):
                await graph.put(changed)
            await graph.write("task")
            await own.finish("one")
            assert comparable(await own.aget_tuple(LATEST)) == comparable(
                await whole.aget_tuple(LATEST)
            )
            await graph.put(CHANNELS[:1])
            await graph.put(CHANNELS[2:])
            await own.finish("one")
            assert comparable(await own.aget_tuple(LATEST)) == comparable(
                await whole.aget_tuple(LATEST)
            )
            async with own._cursor() as cursor:
                await cursor.execute("SELECT count(*) FROM checkpoints")
                assert (await cursor.fetchone())["count"] == 1
