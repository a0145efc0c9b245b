"""The gateway's searches in PostgreSQL, where its programs are installed."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import psycopg
import pytest
from gateways import ASKED, gateway
from postgres import postgres

from spex_agents.errors import SettingsError
from spex_agents.server.gateway.database import open_database
from spex_agents.server.gateway.keys import Key, KeyStore

SAME = {"Idempotency-Key": "homework-7"}


@pytest.fixture
def url() -> Iterator[str]:
    with postgres() as server:
        yield server.url


@pytest.mark.slow
async def test_searches_outlive_the_process_in_postgresql(url: str) -> None:
    async with gateway(database=url, speed=20) as running, running.http() as http:
        body = {**ASKED, "stream": True}
        async with http.stream("POST", "/v1/chat/completions", json=body, headers=SAME) as answer:
            path = f"/v1/searches/{answer.headers['X-Spex-Search-Id']}"
            async for line in answer.aiter_lines():
                if "reasoning_content" in line:
                    break
        await running.idle()
        assert (await http.get(path)).json()["state"] == "suspended"
    async with gateway(database=url) as running, running.http() as http:
        again = await http.post("/v1/chat/completions", json=ASKED, headers=SAME)
        assert path.endswith(again.headers["X-Spex-Search-Id"])
        fresh = await http.post("/v1/chat/completions", json=ASKED)
        hashes = {answer.json()["spex"]["tree_sha256"] for answer in (again, fresh)}
        assert len(hashes) == 1
        assert len((await http.get("/v1/searches")).json()["data"]) == 2
        assert (await http.delete(path)).status_code == 204
        assert (await http.get(path)).status_code == 404


@pytest.mark.slow
async def test_a_server_that_is_not_there_is_said() -> None:
    with pytest.raises(SettingsError, match=r"does not answer: .*port 1 failed") as refused:
        await open_database("postgresql://spex@127.0.0.1:1/none?connect_timeout=1").__aenter__()
    assert "\n" not in str(refused.value)  # else the log would have all of its traceback


@pytest.mark.slow
def test_commands_leave_no_connection_open(url: str) -> None:
    keys = KeyStore(url)
    keys.create(Key(name="tutors"))
    assert [stored.key.name for stored in keys.all()] == ["tutors"]
    with pytest.raises(SettingsError, match="there is no such key"):
        keys.revoke("nobody")
    connections = [one for one in gc.get_objects() if isinstance(one, psycopg.Connection)]
    assert [one for one in connections if not one.closed] == []
