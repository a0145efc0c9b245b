"""Who may ask a gateway, for how much, and what it tells its operator."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from asyncio import to_thread
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from gateways import ASKED, QUESTION, SMALL, gateway
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from processes import PATIENCE
from sqlalchemy import text as sql
from typer.testing import CliRunner

from spex_agents.cli import app
from spex_agents.errors import SettingsError
from spex_agents.server.gateway import keyring, upkeep
from spex_agents.server.gateway.database import open_database
from spex_agents.server.gateway.errors import ApiError
from spex_agents.server.gateway.keys import Key, KeyStore, sha256_of
from spex_agents.server.gateway.logs import JsonLines

PATH = "/v1/chat/completions"
LONG = {**ASKED, "spex": {"depth": 12, "step_tokens": 64}}


@pytest.fixture
def keys(tmp_path: Path) -> KeyStore:
    return KeyStore(str(tmp_path / "gateway.sqlite"))


async def answers(client: openai.AsyncOpenAI) -> bool:
    try:
        await client.models.list()
    except openai.AuthenticationError:
        return False
    return True


async def test_a_key_is_needed_and_can_be_taken_away(keys: KeyStore) -> None:
    secret = keys.create(Key(name="tutors"))
    async with gateway(keys=keys) as running:
        for wrong in (None, "sk-spex-wrong", secret[:-1], secret.upper()):
            async with running.http(wrong) as http:
                for method, path in (
                    ("POST", PATH),
                    ("GET", "/v1/models"),
                    ("GET", "/v1/searches"),
                ):
                    answer = await http.request(method, path, json=ASKED)
                    assert answer.status_code == 401
                    assert answer.json()["error"]["code"] == "invalid_api_key"
                assert (await http.get("/healthz")).status_code == 200
        async with running.client(secret) as client:
            await client.chat.completions.create(
                model="spex/rebase-4", messages=QUESTION, extra_body={"spex": SMALL}
            )
            await to_thread(keys.revoke, "tutors")
            async with asyncio.timeout(PATIENCE):
                while await answers(client):
                    pass
            with pytest.raises(openai.AuthenticationError):
                await client.models.list()


async def test_searches_are_their_keys_own(keys: KeyStore) -> None:
    one, other = keys.create(Key(name="one")), keys.create(Key(name="other"))
    async with gateway(served=False, keys=keys) as running, running.http(one) as http:
        same = {"Idempotency-Key": "1"}
        begun = await http.post(PATH, json=ASKED, headers=same)
        path = f"/v1/searches/{begun.headers['X-Spex-Search-Id']}"
        assert (await http.get(path)).status_code == 200
        async with running.http(other) as stranger:
            for method, where in (("GET", path), ("GET", f"{path}/events"), ("DELETE", path)):
                assert (await stranger.request(method, where)).status_code == 404
            own = await stranger.post(PATH, json=ASKED, headers=same)
            assert own.headers["X-Spex-Search-Id"] not in path


async def test_old_keys_are_trusted_as_long_as_reading_them_does_not_fail(
    keys: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "STALE_SECONDS", -1.0)
    monkeypatch.setattr(keyring, "READ_SECONDS", 3600.0)
    secret = keys.create(Key(name="tutors"))
    async with gateway(keys=keys, served=False) as running, running.http(secret) as http:
        assert (await http.get("/v1/models")).status_code == 200
        await running.parts.searches.database.execute(sql("DROP TABLE spex_keys"))
        with pytest.raises(ApiError):
            await running.parts.keys.read()
        refused = await http.get("/v1/models")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "storage_away")


async def test_a_key_that_is_taken_away_ends_its_searches_and_no_others(
    keys: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "REVOKE_SECONDS", 0.05)
    monkeypatch.setattr(keyring, "READ_SECONDS", 0.05)
    secret, other = (keys.create(Key(name=name)) for name in ("tutors", "other"))
    async with (
        gateway(keys=keys, speed=2) as running,
        running.http(secret) as http,
        running.http(other) as more,
    ):
        stays = (await more.post("/v1/searches", json=LONG)).headers["Location"]
        http.headers["Idempotency-Key"] = "1"
        async with http.stream("POST", PATH, json={**LONG, "stream": True}) as answer:
            path = f"/v1/searches/{answer.headers['X-Spex-Search-Id']}"
            lines = answer.aiter_lines()
            while "reasoning_content" not in await anext(lines):
                pass
            await to_thread(keys.revoke, "tutors")
            rest = [line async for line in lines if line.startswith("data: ")]
        assert json.loads(rest[-1].removeprefix("data: "))["error"]["code"] == "key_revoked"
        async with asyncio.timeout(PATIENCE):
            while len(running.parts.searches.runs.searches) > 1:  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.01)
        assert (await http.get(path)).status_code == 401
        assert (await more.get(stays)).json()["state"] == "running"
        # What it has cost is kept; a new key of that name may go on with it.
        new = await to_thread(keys.create, Key(name="tutors"))
        http.headers["Authorization"] = f"Bearer {new}"
        ended = (await http.get(path)).json()
        assert (ended["state"], ended["error"]["code"]) == ("failed", "key_revoked")
        assert ended["ledger"]["useful_tokens"] > 0 < ended["ledger"]["aborts"]
        again = await http.post("/v1/searches", json=LONG)
        assert path == again.headers["Location"]
        assert again.json()["state"] == "running"
        for left, client in ((path, http), (stays, more)):
            assert (await client.delete(left)).status_code == 204
        await running.idle()


async def test_of_two_keys_of_a_name_the_one_that_is_taken_away_ends_its_own_searches(
    keys: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "REVOKE_SECONDS", 0.05)
    monkeypatch.setattr(keyring, "READ_SECONDS", 0.05)
    old, new = (keys.create(Key(name="tutors")) for _ in range(2))
    async with (
        gateway(keys=keys, speed=2, served=False) as running,
        running.http(old) as before,
        running.http(new) as after,
    ):
        ends = (await before.post("/v1/searches", json=LONG)).headers["Location"]
        stays = (await after.post("/v1/searches", json=LONG)).headers["Location"]
        await to_thread(keys.revoke, old)  # by its beginning, which all of it has
        async with asyncio.timeout(PATIENCE):
            while len(running.parts.searches.runs.searches) > 1:  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.01)
        assert (await after.get(ends)).json()["error"]["code"] == "key_revoked"
        assert (await after.get(stays)).json()["state"] == "running"
        assert (await after.delete(stays)).status_code == 204
        await running.idle()


async def test_limits_that_are_changed_hold_in_a_running_gateway(
    keys: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "READ_SECONDS", 3600.0)
    secret = keys.create(Key(name="tutors"))
    async with gateway(keys=keys, speed=2, served=False) as running, running.http(secret) as http:
        first = (await http.post("/v1/searches", json=LONG)).headers["Location"]
        keys.limit("tutors", concurrency=1)
        await running.parts.keys.read()
        refused = await http.post("/v1/searches", json=LONG)
        assert refused.json()["error"]["code"] == "concurrency_exceeded"
        assert (await http.get(first)).json()["state"] == "running"
        keys.limit(secret[:14], concurrency=2)
        await running.parts.keys.read()
        second = await http.post("/v1/searches", json=LONG)
        assert second.status_code == 202
        for left in (first, second.headers["Location"]):
            await http.delete(left)
        await running.idle()


def test_limits_are_changed_and_lifted_for_a_name_or_one_of_its_keys(tmp_path: Path) -> None:
    database = str(tmp_path / "gateway.sqlite")

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["gateway", "key", *arguments, "--database", database])

    one, two = (
        run("create", "tutors", "--tokens", "5000", "--waste", "0").stdout.strip() for _ in range(2)
    )
    run("create", "other")
    changed = run("limit", "tutors", "--tokens", "7000", "--window", "60", "--waste", "none")
    assert changed.exit_code == 0, changed.output
    lines = changed.stdout.splitlines()
    assert {line[:14] for line in lines} == {one[:14], two[:14]}
    assert all(
        "16 searches at a time, 7000 tokens in 60 s, 256000000 bytes" in one for one in lines
    )
    (alone,) = run("limit", two[:14], "--tokens", "none", "--storage", "none").stdout.splitlines()
    assert alone.startswith(f"{two[:14]} tutors: 16 searches at a time; made ")
    assert run("list").stdout.count("7000 tokens") == 1
    for arguments, said in (
        (("tutors",), "give a limit to change"),
        (("nobody", "--tokens", "1"), "there is no such key; there are: other, tutors"),
        (("tutors", "--tokens", "0"), "--tokens 0: must be"),
        (("tutors", "--storage", "256"), "--storage 256: must be at least 1000000 bytes"),
        (("tutors", "--tokens", "many"), "many"),
    ):
        refused = run("limit", *arguments)
        assert (refused.exit_code, said in refused.stderr) == (2, True), refused.stderr
    assert run("list").stdout.count("7000 tokens") == 1


async def test_a_search_whose_key_was_taken_away_does_not_go_on_after_a_restart(
    keys: KeyStore, tmp_path: Path
) -> None:
    database = str(tmp_path / "gateway.sqlite")
    secrets = {name: keys.create(Key(name=name)) for name in ("tutors", "other")}
    paths = {}
    async with gateway(served=False, keys=keys, database=database, speed=5) as running:
        for name, secret in secrets.items():
            async with running.http(secret) as http:
                paths[name] = (await http.post("/v1/searches", json=ASKED)).headers["Location"]
        await running.decoded(200)
    keys.revoke("tutors")
    secrets["tutors"] = keys.create(Key(name="tutors"))
    async with gateway(served=False, keys=keys, database=database) as running:
        async with running.http(secrets["tutors"]) as http:
            found = (await http.get(paths["tutors"])).json()
        async with running.http(secrets["other"]) as http:
            await http.get(f"{paths['other']}/events")
            assert (await http.get(paths["other"])).json()["state"] == "done"
    assert (found["state"], found["error"]["code"]) == ("failed", "key_revoked")
    assert found["ledger"]["decoded_tokens"] > 0


def test_a_key_in_the_place_of_another_has_its_limits_if_none_are_given(tmp_path: Path) -> None:
    database = str(tmp_path / "gateway.sqlite")

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["gateway", "key", *arguments, "--database", database])
        assert done.exit_code == 0, done.output
        return done.stdout.strip()

    first = run("create", "tutors", "--tokens", "5000", "--window", "60", "--days", "1")
    run("create", "other")
    second = run("create", "tutors")
    run("revoke", first[:14])
    run("create", "tutors", "--tokens", "6000")
    _, kept, changed = run("list").splitlines()
    assert kept.startswith(
        f"{second[:14]} tutors: 16 searches at a time, 5000 tokens in 60 s (0 used), "
    )
    assert "until" not in kept
    assert "6000 tokens in 60 s (0 used), 256000000 bytes" in changed


def test_the_command_makes_lists_and_takes_away_keys(tmp_path: Path) -> None:
    database = str(tmp_path / "gateway.sqlite")

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["gateway", "key", *arguments, "--database", database])

    secret = run("create", "tutors", "--tokens", "5000").stdout.strip()
    assert re.fullmatch(r"sk-spex-[\w-]{43}", secret)
    for file in tmp_path.iterdir():
        assert secret[20:].encode() not in file.read_bytes()
        assert file.stat().st_mode & 0o077 == 0
    second = run("create", "tutors", "--days", "30").stdout.strip()  # to change them in turn
    lines = run("list").stdout.splitlines()
    assert lines[0].startswith(
        f"{secret[:14]} tutors: 16 searches at a time, 5000 tokens in 3600 s (0 used), "
        "256000000 bytes kept; made "
    )
    assert lines[0].endswith(", never used")
    assert re.search(r", until \d{4}-\d\d-\d\d ", lines[1])
    revoked = run("revoke", secret[:14])
    assert (revoked.exit_code, revoked.stdout) == (0, f"revoked {secret[:14]} tutors\n")
    assert [line[:14] for line in run("list").stdout.splitlines()] == [second[:14]]
    unknown = run("revoke", "nobody")
    assert unknown.exit_code == 2
    assert "there are: tutors" in unknown.stderr
    third = run("create", "tutors", "--storage", "1000000").stdout.strip()
    assert "1000000 bytes kept" in run("list").stdout
    assert run("revoke", "tutors").stdout.splitlines() == [
        f"revoked {one[:14]} tutors" for one in (second, third)
    ]
    assert run("list").stdout == ""
    megabytes = run("create", "tutors", "--storage", "256")
    assert megabytes.exit_code == 2
    assert "--storage 256: must be at least 1000000 bytes" in megabytes.stderr
    assert run("list").stdout == ""


def test_keys_made_at_the_same_time_are_all_kept(keys: KeyStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        secrets = list(pool.map(lambda n: keys.create(Key(name=f"team-{n}")), range(24)))
    assert {stored.key.sha256 for stored in keys.all()} == {sha256_of(one) for one in secrets}


def test_a_file_of_keys_of_an_earlier_release_is_imported_once(
    keys: KeyStore, tmp_path: Path
) -> None:
    row = {"name": "tutors", "concurrency": 4, "tokens": None, "waste": 9, "window_seconds": 60.0}
    made = {
        "metrics": False,
        "sha256": sha256_of("sk-spex-old"),
        "created": "2026-11-01T10:00:00+00:00",
    }
    file = tmp_path / "keys.json"
    more = {**row, **made, "sha256": sha256_of("sk-spex-older")}
    file.write_text(json.dumps({"keys": [{**row, **made}, more]}))
    assert (keys.take_in(file), keys.take_in(file)) == (2, 0)
    (revoked,) = keys.revoke(f"sha256:{sha256_of('sk-spex-older')[:8]}")
    assert revoked.key.sha256 == sha256_of("sk-spex-older")
    (stored,) = keys.all()
    assert (stored.key.name, stored.key.concurrency, stored.key.waste) == ("tutors", 4, 9)
    assert stored.key.sha256 == sha256_of("sk-spex-old")


@pytest.mark.parametrize("text", ["", "[]", '{"keys": [{"name": "x"}]}', '{"keys": 3}', None])
def test_a_file_that_is_none_of_keys_is_refused(
    keys: KeyStore, text: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "keys.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError, match="is no file of keys" if text is not None else "read"):
        keys.take_in(file)


async def test_keys_that_have_expired_are_refused_and_their_use_is_kept(keys: KeyStore) -> None:
    old = keys.create(Key(name="old", expires=time.time() - 1))
    new = keys.create(Key(name="new", expires=time.time() + 1000))
    async with gateway(served=False, keys=keys) as running:
        for secret, status in ((old, 401), (new, 200)):
            async with running.http(secret) as http:
                assert (await http.get("/v1/models")).status_code == status
        async with asyncio.timeout(PATIENCE):
            while not any(stored.used for stored in await to_thread(keys.all)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert [stored.key.name for stored in keys.all() if stored.used] == ["new"]


async def test_a_gateway_without_keys_is_open_until_there_is_one(tmp_path: Path) -> None:
    keys = KeyStore(str(tmp_path / "gateway.sqlite"))
    async with gateway(served=False, database=keys.database) as running, running.http() as http:
        assert (await http.get("/v1/models")).status_code == 200
        await to_thread(keys.create, Key(name="tutors"))
        async with asyncio.timeout(PATIENCE):
            while (await http.get("/v1/models")).status_code != 401:  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.05)
        await to_thread(keys.revoke, "tutors")  # the last key that is taken away opens nothing
    async with gateway(served=False, database=keys.database) as running, running.http() as http:
        assert (await http.get("/v1/models")).status_code == 401


@pytest.mark.parametrize(
    "arguments",
    [
        ["--host", "nowhere.invalid", "--engine", "simulated", "--database", ":memory:"],
        ["--engine", "nothing"],
        ["--engine", "simulated", "--engine", "simulated"],
        ["--drain", "0"],
        ["--database", "/nowhere/at/all.sqlite", "--engine", "simulated"],
    ],
    ids=str,
)
def test_bad_settings_end_the_command_with_2(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, ["gateway", "--port", "0", *arguments])
    assert done.exit_code == 2, done.output
    assert "error: " in done.stderr


# Limits


async def test_a_key_has_so_many_searches_at_a_time(keys: KeyStore) -> None:
    secret = keys.create(Key(name="tutors", concurrency=2))
    other = keys.create(Key(name="other"))
    async with (
        gateway(served=False, keys=keys, speed=1, searches=3) as running,
        running.http(secret) as http,
        running.http(other) as more,
    ):
        for _ in range(2):
            assert (await http.post("/v1/searches", json=ASKED)).status_code == 202
        refused = await http.post(PATH, json=ASKED)
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.json()["error"]["code"] == "concurrency_exceeded"
        assert (await more.post("/v1/searches", json=ASKED)).status_code == 202
        full = await more.post(PATH, json=ASKED)
        assert (full.status_code, full.json()["error"]["code"]) == (503, "overloaded")
        more.headers["Authorization"] = (
            f"Bearer {await to_thread(keys.create, Key(name='seer', metrics=True))}"
        )
        metrics = (await more.get("/metrics")).text
        assert 'spex_gateway_refused_total{code="concurrency_exceeded",key="tutors"} 1.0' in metrics
        assert "spex_gateway_searches_running 3.0" in metrics


async def test_tokens_beyond_the_budget_are_a_429_until_the_window_has_passed(
    keys: KeyStore,
) -> None:
    secret = keys.create(Key(name="tutors", tokens=10, window_seconds=1000))
    async with gateway(served=False, keys=keys) as running, running.http(secret) as http:
        assert (await http.post(PATH, json=ASKED)).status_code == 200
        refused = await http.post(PATH, json=ASKED)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "tokens_exceeded")
        assert 980 <= int(refused.headers["Retry-After"]) <= 1001
        assert refused.json()["error"]["type"] == "rate_limit_error"


async def test_beyond_the_budget_of_waste_searches_no_longer_run_ahead(keys: KeyStore) -> None:
    secret = keys.create(Key(name="tutors", waste=1))
    async with gateway(served=False, keys=keys) as running, running.http(secret) as http:
        first = (await http.post(PATH, json=ASKED)).json()["spex"]
        second = (await http.post(PATH, json=ASKED)).json()["spex"]
    assert first["ledger"]["wasted_tokens"] > 0 == second["ledger"]["launched"]
    assert first["tree_sha256"] == second["tree_sha256"]


async def test_charges_outlive_the_process(keys: KeyStore) -> None:
    secret = keys.create(Key(name="tutors", tokens=10))
    for status in (200, 429):
        async with (
            gateway(served=False, keys=keys) as running,
            running.http(secret) as http,
        ):
            assert (await http.post(PATH, json=ASKED)).status_code == status


async def test_a_database_has_one_gateway(tmp_path: Path) -> None:
    database = str(tmp_path / "gateway.sqlite")
    async with gateway(served=False, database=database):
        with pytest.raises(SettingsError, match="another gateway has it"):
            await open_database(database).__aenter__()
    async with gateway(served=False, database=database) as running, running.http() as http:
        assert (await http.get("/readyz")).status_code == 200


# What the operator sees


async def test_metrics_have_keys_of_their_own(keys: KeyStore) -> None:
    path = keys.database
    command = ["gateway", "key", "create", "prometheus", "--metrics", "--database", path]
    seer = CliRunner().invoke(app, command).stdout.strip()
    secret = keys.create(Key(name="tutors"))
    listed = CliRunner().invoke(app, ["gateway", "key", "list", "--database", path]).stdout
    assert " prometheus: /metrics;" in listed.splitlines()[0]

    async def ask(key: str | None, method: str, where: str) -> int:
        async with running.http(key) as http:
            return (await http.request(method, where, json=ASKED)).status_code

    async with gateway(served=False, keys=keys) as running:
        answers = {key: await ask(key, "GET", "/metrics") for key in (None, secret, seer)}
        assert answers == {None: 401, secret: 403, seer: 200}
        for method, where in (("POST", PATH), ("GET", "/v1/models"), ("GET", "/v1/searches")):
            assert await ask(seer, method, where) == 403
        assert running.engine.decoded_tokens == 0
        assert await ask(None, "GET", "/healthz") == await ask(None, "GET", "/readyz") == 200
    async with gateway(served=False, keys=keys, open_metrics=True) as running:
        assert await ask(None, "GET", "/metrics") == 200
    async with gateway(served=False) as running:  # where anybody may ask, anybody may look
        assert await ask(None, "GET", "/metrics") == 200


async def test_logs_are_json_and_have_no_prompt(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    private = "my grandmother's recipe"
    body = {**ASKED, "messages": [{"role": "user", "content": f"{private}: 5 + 7?"}]}
    async with gateway(served=False) as running, running.http() as http:
        assert (await http.post(PATH, json=body)).status_code == 200
        await http.get("/healthz")
    ours = [record for record in caplog.records if record.name.startswith("spex_agents")]
    lines: list[dict[str, Any]] = [json.loads(JsonLines().format(record)) for record in ours]
    assert [line["event"] for line in lines] == ["search begins", "search ends", "request"]
    assert lines[1]["state"] == "done"
    assert lines[1]["useful_tokens"] > 0
    assert (lines[2]["status"], lines[2]["key"]) == (200, "anyone")
    assert lines[2]["search"] == lines[0]["search"]
    whole = "\n".join(JsonLines().format(record) for record in caplog.records)
    assert private not in whole
    assert private in JsonLines(prompts=True).format(ours[0])


def test_an_exceptions_message_is_a_prompts_too() -> None:
    try:
        raise ValueError("thought 'my secret' is bad")
    except ValueError as error:
        told = {"name": "spex_agents", "msg": "failed", "exc_info": (ValueError, error, None)}
        record = logging.makeLogRecord(told)
    assert "secret" not in JsonLines().format(record)
    assert json.loads(JsonLines().format(record))["error"] == "ValueError"
    assert "secret" in JsonLines(prompts=True).format(record)


async def test_metrics_account_for_every_token() -> None:
    async with gateway(served=False) as running, running.http() as http:
        await asyncio.gather(*(http.post(PATH, json=ASKED) for _ in range(3)))
        page = (await http.get("/metrics")).text
        figures = dict(line.rsplit(" ", 1) for line in page.splitlines() if line[:1] != "#")
        tokens = sum(
            float(figures[f'spex_gateway_tokens_total{{key="anyone",kind="{kind}"}}'])
            for kind in ("useful", "wasted")
        )
        assert tokens == running.engine.decoded_tokens
        done = 'spex_gateway_searches_total{engine="spex",policy="rebase",state="done"}'
        assert figures[done] == "3.0"
        assert figures[f'spex_gateway_requests_total{{route="{PATH}",status="200"}}'] == "3.0"
        assert figures['spex_gateway_engine_requests{engine="spex",state="running"}'] == "0.0"
        first = "spex_gateway_time_to_first_token_seconds"
        assert figures[f'{first}_count{{engine="spex",policy="rebase"}}'] == "3.0"
        assert any(name.startswith("spex_gateway_build_info{") for name in figures)
        assert float(figures["process_resident_memory_bytes"]) > 1e6


async def test_a_search_is_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    async with gateway(served=False) as running, running.http() as http:
        done = (await http.post(PATH, json=ASKED)).json()["spex"]
    spans = exporter.get_finished_spans()
    (search,) = [span for span in spans if span.name == "spex.search"]
    told = search.attributes or {}
    assert (told["spex.search"], told["spex.key"]) == (done["id"], "anyone")
    assert told["spex.wasted_tokens"] == done["ledger"]["wasted_tokens"]
    thoughts = [span for span in spans if span.name == "spex.thought"]
    assert {span.parent and span.parent.span_id for span in thoughts} == {search.context.span_id}
    outcomes = [(span.attributes or {})["spex.outcome"] for span in thoughts]
    assert outcomes.count("hit") == done["ledger"]["hits"] > 0
    assert QUESTION[0]["content"] not in str([span.to_json() for span in spans])


async def test_a_gateway_that_asks_for_keys_and_has_none_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = KeyStore(str(tmp_path / "gateway.sqlite"))
    async with gateway(served=False, keys=keys):
        assert "spex gateway key create" in caplog.text
    caplog.clear()
    keys.create(Key(name="tutors"))
    async with gateway(served=False, keys=keys):
        assert "spex gateway key create" not in caplog.text


async def test_the_list_of_keys_tells_what_is_used_of_a_window(tmp_path: Path) -> None:
    path = str(tmp_path / "gateway.sqlite")
    keys = KeyStore(path)
    secret = keys.create(Key(name="tutors", tokens=100_000))
    async with gateway(served=False, keys=keys) as running, running.http(secret) as http:
        ledger = (await http.post(PATH, json=ASKED)).json()["spex"]["ledger"]
    used = int(ledger["useful_tokens"] + ledger["wasted_tokens"])
    listed = CliRunner().invoke(app, ["gateway", "key", "list", "--database", path]).stdout
    assert f"100000 tokens in 3600 s ({used} used)," in listed
    assert used > 0
