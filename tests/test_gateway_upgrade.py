"""A database and a file of keys of the release before, opened by this one.

They were made by that release: one search done, one suspended, one running when it was killed.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sqlite3
from pathlib import Path

import pytest
from gateways import ASKED, gateway

from spex_agents.errors import SettingsError
from spex_agents.server.gateway.database import open_database
from spex_agents.server.gateway.keys import KeyStore

DATA = Path(__file__).parent / "data" / "gateway_0_1_0"
EXPECTED = json.loads((DATA / "expected.json").read_text())


@pytest.fixture
def keys(tmp_path: Path) -> KeyStore:
    file = tmp_path / "gateway.sqlite"
    file.write_bytes(gzip.decompress((DATA / "gateway.sqlite.gz").read_bytes()))
    keys = KeyStore(str(file))  # which migrates
    assert keys.take_in(DATA / "keys.json") == 1
    return keys


async def test_an_old_database_goes_on_where_it_was(keys: KeyStore) -> None:
    async with gateway(keys=keys) as running, running.http(EXPECTED["secret"]) as http:
        same = {"Idempotency-Key": "done"}
        asked = {name: value for name, value in ASKED.items() if name != "seed"}
        done = await http.post("/v1/chat/completions", json=asked, headers=same)
        assert done.json()["spex"]["tree_sha256"] == EXPECTED["tree_sha256"]
        assert done.headers["X-Spex-Search-Id"] == EXPECTED["done"]
        path = f"/v1/searches/{EXPECTED['running']}"
        async with asyncio.timeout(240):
            while (await http.get(path)).json()["state"] != "done":  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.05)
        fresh = await http.post("/v1/chat/completions", json={**ASKED, "seed": 3})
        assert fresh.json()["spex"]["tree_sha256"] == (await http.get(path)).json()["tree_sha256"]
        left = await http.post(
            "/v1/chat/completions", json={**ASKED, "seed": 4}, headers={"Idempotency-Key": "left"}
        )
        assert left.json()["spex"]["state"] == "done"
        assert len((await http.get("/v1/searches")).json()["data"]) == 4


def test_the_version_is_kept_and_migrating_again_changes_nothing(keys: KeyStore) -> None:
    with sqlite3.connect(keys.database) as connection:
        before = connection.execute("SELECT * FROM sqlite_master").fetchall()
        versions = connection.execute("SELECT version_num FROM spex_schema_version").fetchall()
    assert len(versions) == 1
    KeyStore(keys.database)
    with sqlite3.connect(keys.database) as connection:
        assert connection.execute("SELECT * FROM sqlite_master").fetchall() == before
    connection.close()


async def test_a_database_of_a_newer_release_is_refused_by_name(keys: KeyStore) -> None:
    with sqlite3.connect(keys.database) as connection:
        connection.execute("UPDATE spex_schema_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(SettingsError, match="a newer release has changed its tables"):
        await open_database(keys.database).__aenter__()
