"""What a gateway keeps, what it goes on with, and records that it cannot read."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateways import ASKED, gateway, process
from processes import PATIENCE

from spex_agents.server.gateway.errors import storage_error
from spex_agents.server.gateway.keys import Key, KeyStore
from spex_agents.server.gateway.logs import JsonLines
from spex_agents.server.gateway.records import Record, Records

PATH = "/v1/chat/completions"
LONG = {**ASKED, "spex": {"depth": 12, "step_tokens": 64}}
RECIPE = "my grandmother's recipe"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.sqlite"


def query(file: Path, statement: str, *parameters: Any) -> list[Any]:
    connection = sqlite3.connect(file)
    try:
        with connection:
            return connection.execute(statement, parameters).fetchall()
    finally:
        connection.close()


def sizes(file: Path) -> tuple[int, int]:
    """Of a database, and of its write-ahead log."""
    return file.stat().st_size, file.with_name(f"{file.name}-wal").stat().st_size


async def leave_running(
    file: Path, body: dict[str, Any] = ASKED, keys: KeyStore | None = None, **headers: str
) -> str:
    """A search that was running when its gateway ended."""
    async with gateway(served=False, database=str(file), keys=keys, speed=1) as running:
        async with running.http() as http:
            begun = await http.post("/v1/searches", json=body, headers=headers)
        await running.decoded(20)
        return str(begun.json()["id"])


@pytest.mark.parametrize(
    ("broken", "state"),
    [
        (
            {
                "request": {
                    "model": "spex/rebase-4",
                    "messages": [{"role": "oracle", "content": "?"}],
                }
            },
            "running",
        ),
        ({"request": {"model": "spex/rebase-4", "messages": RECIPE}}, "running"),
        ({"request": {"model": "spex/rebase-4", "messages": []}}, "running"),
        ({"spent": 3}, "done"),
        ({"rows": {"thoughts": [{}], "rewards": []}}, "done"),
        ({"error": {"status": 1}}, "suspended"),
        (None, "running"),
        ("{", "done"),
    ],
    ids=str,
)
async def test_a_record_that_cannot_be_read_is_set_aside_and_blocks_nothing(
    file: Path, broken: Any, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with gateway(served=False, database=str(file)) as running, running.http() as http:
        good = (await http.post(PATH, json=ASKED)).headers["X-Spex-Search-Id"]
        bad = (await http.post(PATH, json=ASKED)).headers["X-Spex-Search-Id"]
    ((body,),) = query(file, "SELECT body FROM spex_searches WHERE id = ?", bad)
    text = (
        broken if isinstance(broken, str) else json.dumps(broken and {**json.loads(body), **broken})
    )
    query(file, "UPDATE spex_searches SET body = ?, state = ? WHERE id = ?", text, state, bad)
    caplog.set_level(logging.INFO)
    for _ in range(2):
        async with gateway(served=False, database=str(file)) as running, running.http() as http:
            for _ in range(2):
                listed = (await http.get("/v1/searches")).json()["data"]
                assert [search["id"] for search in listed] == [good]
            assert (await http.get(f"/v1/searches/{bad}")).status_code == 404
            assert (await http.post(PATH, json=ASKED)).status_code == 200
            await http.delete(
                f"/v1/searches/{(await http.get('/v1/searches')).json()['data'][0]['id']}"
            )
    lines = [JsonLines().format(record) for record in caplog.records]
    told = [json.loads(line) for line in lines if "cannot read a search" in line]
    assert [line["search"] for line in told] == [bad]
    assert "grandmother" not in "\n".join(lines)


async def test_what_a_ledger_of_another_release_has_more_is_passed_over(file: Path) -> None:
    async with gateway(served=False, database=str(file)) as running, running.http() as http:
        identity = (await http.post(PATH, json=ASKED)).headers["X-Spex-Search-Id"]
    ((body,),) = query(file, "SELECT body FROM spex_searches")
    spent = {**json.loads(body)["spent"], "a_figure_to_come": 7}
    changed = json.dumps({**json.loads(body), "spent": spent, "a_field_to_come": 1})
    query(file, "UPDATE spex_searches SET body = ?", changed)
    async with gateway(served=False, database=str(file)) as running, running.http() as http:
        assert (await http.get("/v1/searches")).json()["data"][0]["id"] == identity


async def test_of_a_search_one_checkpoint_is_kept(file: Path) -> None:
    async with gateway(served=False, database=str(file), speed=20) as running:
        async with running.http() as http:
            await http.post("/v1/searches", json=LONG)
        await running.decoded(1500)
        counts = query(file, "SELECT count(*) FROM checkpoints GROUP BY thread_id, checkpoint_ns")
        assert {count for (count,) in counts} <= {1, 2}  # one may be written just now
        await running.idle()
    assert query(file, "SELECT count(*) FROM checkpoints") == [(0,)]
    assert query(file, "SELECT count(*) FROM writes") == [(0,)]


async def test_the_oldest_searches_of_a_key_are_forgotten_beyond_its_storage(file: Path) -> None:
    keys = KeyStore(str(file))
    small, other = (keys.create(Key(name=name)) for name in ("small", "other"))
    query(file, "UPDATE spex_keys SET storage = 12000 WHERE name = 'small'")
    async with gateway(served=False, keys=keys) as running:
        seen: dict[str, list[str]] = {}
        for name, secret in (("other", other), ("small", small)):
            async with running.http(secret) as http:
                made = [
                    (await http.post(PATH, json={**ASKED, "seed": seed})).headers[
                        "X-Spex-Search-Id"
                    ]
                    for seed in range(5)
                ]
                kept = [search["id"] for search in (await http.get("/v1/searches")).json()["data"]]
                assert kept == made[::-1][: len(kept)]
                seen[name] = kept
    assert len(seen["other"]) == 5
    assert 1 <= len(seen["small"]) < 5
    ((size,),) = query(file, "SELECT sum(bytes) FROM spex_searches WHERE owner = 'small'")
    assert size <= 12_000


async def gone_on_with(keys: KeyStore, identity: str, secret: str) -> dict[str, Any]:
    """What becomes of a search in the next gateway."""
    async with gateway(served=False, keys=keys) as running, running.http(secret) as http:
        async with asyncio.timeout(PATIENCE):
            while True:
                found: dict[str, Any] = (await http.get(f"/v1/searches/{identity}")).json()
                if found["state"] != "running":
                    await running.idle()
                    return found
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("storage", [12_000, None])
async def test_a_search_that_is_gone_on_with_is_kept_as_its_key_says(
    file: Path, storage: int | None
) -> None:
    keys = KeyStore(str(file))
    secret = keys.create(Key(name="tutors"))
    query(file, "UPDATE spex_keys SET storage = ?", storage)
    identity = await leave_running(file, keys=keys, Authorization=f"Bearer {secret}")
    changed = {"id": "'old-' || ?1", "state": "'done'", "created": "created - ?1", "bytes": "5000"}
    columns = [row[1] for row in query(file, "PRAGMA table_info(spex_searches)")]
    values = ", ".join(changed.get(name, name) for name in columns)
    copied = f"INSERT INTO spex_searches SELECT {values} FROM spex_searches WHERE id = ?2"  # noqa: S608
    for number in range(1, 5):
        query(file, copied, number, identity)
    assert (await gone_on_with(keys, identity, secret))["state"] == "done"
    left = query(file, "SELECT id FROM spex_searches ORDER BY created DESC")
    assert left[0] == (identity,)
    assert (len(left) == 5) == (storage is None)
    ((size,),) = query(file, "SELECT sum(bytes) FROM spex_searches")
    assert (size <= 12_000) == (storage is not None)


@pytest.mark.parametrize("waste", [0, None])
async def test_a_search_that_is_gone_on_with_runs_ahead_as_its_key_says(
    file: Path, waste: int | None
) -> None:
    keys = KeyStore(str(file))
    secret = keys.create(Key(name="tutors", waste=waste))
    identity = await leave_running(file, LONG, keys=keys, Authorization=f"Bearer {secret}")
    found = await gone_on_with(keys, identity, secret)
    assert found["state"] == "done"
    assert (found["ledger"]["launched"] > 0) == (waste is None)


async def test_a_search_nobody_can_ask_for_is_not_gone_on_with(file: Path) -> None:
    left = {"background": False, "idempotent": False}
    identity = await leave_running(file)
    ((body,),) = query(file, "SELECT body FROM spex_searches")
    query(file, "UPDATE spex_searches SET body = ?", json.dumps({**json.loads(body), **left}))
    async with gateway(served=False, database=str(file)) as running, running.http() as http:
        async with asyncio.timeout(PATIENCE):
            while (await http.get(f"/v1/searches/{identity}")).json()["state"] == "running":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (await http.get(f"/v1/searches/{identity}")).json()["state"] == "suspended"
        assert running.engine.decoded_tokens == 0


async def test_a_search_that_could_not_be_gone_on_with_is_tried_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = await leave_running(file)
    claim, tries = Records.claim, 0

    async def locked_once(records: Records, record: Record, run: str) -> bool:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise storage_error("storage_locked")
        return await claim(records, record, run)

    monkeypatch.setattr(Records, "claim", locked_once)
    async with gateway(served=False, database=str(file)) as running, running.http() as http:
        async with asyncio.timeout(PATIENCE):
            while (await http.get(f"/v1/searches/{identity}")).json()["state"] == "running":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (await http.get(f"/v1/searches/{identity}")).json()["state"] == "done"
    assert tries == 2


async def test_what_was_left_is_gone_on_with_within_the_places_there_are(file: Path) -> None:
    async with (
        gateway(served=False, database=str(file), speed=1) as running,
        running.http() as http,
    ):
        for seed in range(5):
            await http.post("/v1/searches", json={**ASKED, "seed": seed})
        await running.decoded(50)
    most = 0
    async with (
        gateway(served=False, database=str(file), searches=2, speed=50) as running,
        running.http() as http,
    ):
        async with asyncio.timeout(PATIENCE):
            while True:
                most = max(most, len(running.parts.searches.runs.searches))
                states = [one["state"] for one in (await http.get("/v1/searches")).json()["data"]]
                if states == ["done"] * 5:
                    break
                await asyncio.sleep(0.01)
    assert most == 2


async def test_a_search_that_killed_its_process_twice_is_failed(file: Path) -> None:
    identity = await leave_running(file)
    query(file, "UPDATE spex_searches SET attempts = 1")
    async with gateway(served=False, database=str(file)) as running, running.http() as http:
        await http.get(f"/v1/searches/{identity}/events")  # once more
        assert (await http.get(f"/v1/searches/{identity}")).json()["state"] == "done"
    other = await leave_running(file)
    query(file, "UPDATE spex_searches SET attempts = 2 WHERE id = ?", other)
    async with gateway(served=False, database=str(file)) as running, running.http() as http:
        await http.get(f"/v1/searches/{other}/events")
        found = (await http.get(f"/v1/searches/{other}")).json()
        assert (found["state"], found["error"]["code"]) == ("failed", "search_killed")
        assert running.engine.decoded_tokens == 0


@pytest.mark.slow
def test_attempts_are_counted_by_processes_that_die_and_not_by_those_that_stop(
    tmp_path: Path,
) -> None:
    file = tmp_path / "spex-gateway.sqlite"
    counts: list[int] = []
    path, run_before = "", ""
    for end in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
        with process(tmp_path, "--speed", "0.2", "--drain", "0.2") as (run, address):
            if not path:
                begun = httpx.post(f"{address}/v1/searches", json=LONG)
                path = f"{address.rpartition(':')[0]}|/v1/searches/{begun.json()['id']}"
            where = f"{address}{path.partition('|')[2]}"
            while httpx.get(where).json()["state"] != "running":
                pass
            # Whose run it is: one that was killed is on record until this process has claimed it.
            while (run_now := query(file, "SELECT run FROM spex_searches")[0][0]) in (
                "",
                run_before,
            ):
                pass
            run_before = run_now
            run.send_signal(end)
            run.wait(PATIENCE)
        counts += [row[0] for row in query(file, "SELECT attempts FROM spex_searches")]
    assert counts == [0, 1, 2]
    with process(tmp_path, "--speed", "100") as (_, address):
        where = f"{address}{path.partition('|')[2]}"
        httpx.get(f"{where}/events", timeout=PATIENCE)  # once it has ended
        found = httpx.get(where).json()
        assert (found["state"], found["error"]["code"]) == ("failed", "search_killed")


async def test_a_long_question_is_kept_a_few_times_however_deep_its_search_is(file: Path) -> None:
    question = "What is 5 + 7? Among the notes below nothing matters. " + "note " * 20_000
    body = {
        **ASKED,
        "messages": [{"role": "user", "content": question}],
        "spex": {"depth": 60, "step_tokens": 64},
    }
    async with gateway(served=False, database=str(file)) as running, running.http() as http:
        done = await http.post(PATH, json=body)
        assert done.status_code == 200, done.text
        kept, log = sizes(file)
    assert done.json()["spex"]["answer"] == "12"
    assert kept < 10 * len(question)
    assert log < 5_000_000  # SQLite empties its log at a thousand pages
    assert query(file, "SELECT count(*) FROM checkpoints") == [(0,)]
