"""What a gateway tells its operator: readiness, faults of storage, the right statuses."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateways import ASKED, gateway
from printed import ROOT
from scripted_server import scripted_server
from sqlalchemy import text
from test_docs_tables import named, table

from spex_agents.engines.openai.engine import OpenAIEngine
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import EngineUnavailable
from spex_agents.server.gateway import readiness
from spex_agents.server.gateway.keys import Key, KeyStore
from spex_agents.server.gateway.logs import JsonLines
from spex_agents.server.gateway.metrics import Metrics
from spex_agents.server.gateway.watch import Watch

PATH = "/v1/chat/completions"


class Unreachable(SimulatedEngine):
    async def load(self) -> Any:
        raise EngineUnavailable("nobody at http://10.0.0.5:30000")


async def test_health_and_readiness_and_draining() -> None:
    async with gateway(served=False) as running, running.http() as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()["engines"]) == (200, {"spex": "ok"})
        running.parts.searches.runs.leaving = True
        assert (await http.get("/readyz")).json()["reasons"] == ["draining"]
        assert (await http.post(PATH, json=ASKED)).status_code == 200  # unready, but there still
        running.parts.searches.runs.draining = True
        refused = await http.post(PATH, json=ASKED)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "6")
        same = await http.post(PATH, json=ASKED, headers={"Idempotency-Key": "1"})
        assert "with the same Idempotency-Key" in same.json()["error"]["message"]
        assert "with an Idempotency-Key, so that another" in refused.json()["error"]["message"]


async def test_a_request_that_is_cut_off_by_the_stop_is_told_so() -> None:
    begun = asyncio.Event()
    sent: list[Any] = []

    async def never(*_: object) -> Any:
        begun.set()
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "headers": [(b"idempotency-key", b"1")]}
    request = asyncio.create_task(Watch(never, metrics=Metrics)(scope, never, send))
    await begun.wait()
    request.cancel()
    await asyncio.wait([request])
    assert request.cancelled()
    error = json.loads(sent[1]["body"])["error"]
    assert (sent[0]["status"], error["code"]) == (503, "stopping")
    assert "with the same Idempotency-Key" in error["message"]


async def test_one_engine_of_several_that_is_away_is_told_and_the_others_serve() -> None:
    async with (
        gateway(served=False, more={"far": Unreachable()}) as running,
        running.http() as http,
    ):
        found = await http.get("/readyz")
        assert found.status_code == 200
        assert found.json()["engines"] == {"spex": "ok", "far": "unready"}
    async with gateway(served=False, engine=Unreachable()) as running, running.http() as http:
        found = await http.get("/readyz")
        assert (found.status_code, found.json()["reasons"]) == (503, ["spex: EngineUnavailable"])


async def test_the_figures_tell_which_engines_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 0)
    far = Unreachable()
    async with gateway(served=False, more={"far": far}) as running, running.http() as http:

        async def up(engine: str) -> str:
            page = (await http.get("/metrics")).text
            (found,) = re.findall(
                rf'^spex_gateway_engine_up{{engine="{engine}"}} (.*)$', page, re.M
            )
            return str(found)

        assert (await up("spex"), await up("far")) == ("1.0", "0.0")
        monkeypatch.setattr(Unreachable, "load", SimulatedEngine.load)
        assert await up("far") == "1.0"


def test_every_figure_has_a_row_with_its_labels() -> None:
    rows = table(ROOT / "docs" / "gateway.md", "figure of `/metrics`, `spex_gateway_...`")
    told = {name: set(named(row[1:2])) for row in rows for name in named(row[:1])}
    metrics = [one for one in vars(Metrics()).values() if hasattr(one, "_labelnames")]
    found = {
        name: set(one._labelnames)
        for one in metrics
        for name in [next(iter(one.describe())).name.removeprefix("spex_gateway_")]
    }
    assert {name.removesuffix("_total") for name in told} == {*found, "build_info"}
    for name, labels in found.items():
        assert labels <= told.get(name, told.get(f"{name}_total", set())), name


async def test_an_openai_compatible_server_that_is_away_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 0)
    async with scripted_server() as server:
        far = OpenAIEngine(server.url)
        async with gateway(served=False, more={"far": far}) as running, running.http() as http:
            assert (await http.get("/readyz")).json()["engines"]["far"] == "ok"
    gone = OpenAIEngine(server.url)
    async with gateway(served=False, more={"far": gone}) as running, running.http() as http:
        assert (await http.get("/readyz")).json()["engines"]["far"] == "unready"


async def test_who_asks_often_costs_the_engines_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 3600)
    asked = 0

    class Counting(SimulatedEngine):
        async def load(self) -> Any:
            nonlocal asked
            asked += 1
            return await super().load()

    async with gateway(served=False, engine=Counting()) as running, running.http() as http:
        for _ in range(20):
            assert (await http.get("/readyz")).status_code == 200
        assert asked <= 2


async def _fill(running: Any) -> None:
    """As SQLite says it, and at the same places, where the disk has no room."""
    database = running.parts.searches.database
    pages = (await database.execute(text("PRAGMA page_count"))).scalar()
    await database.execute(text(f"PRAGMA max_page_count = {pages}"))


async def test_a_full_disk_is_named_and_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = KeyStore(str(tmp_path / "gateway.sqlite"))
    secret = keys.create(Key(name="tutors"))
    long = {**ASKED, "messages": [{"role": "user", "content": "What is 5 + 7? " * 2000}]}
    async with gateway(served=False, keys=keys) as running, running.http(secret) as http:
        assert (await http.post(PATH, json=ASKED)).status_code == 200
        await _fill(running)
        decoded = running.engine.decoded_tokens
        answer = await http.post(PATH, json=long)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_full")
        assert "disk is full" in answer.json()["error"]["message"]
        assert str(tmp_path) not in answer.text
        assert running.engine.decoded_tokens == decoded
        assert (await http.get("/v1/models")).status_code == 200  # who reads is let in


async def test_what_cannot_be_written_to_is_unready(tmp_path: Path) -> None:
    async with (
        gateway(served=False, database=str(tmp_path / "gateway.sqlite")) as running,
        running.http() as http,
    ):
        await running.parts.searches.database.execute(text("PRAGMA query_only = ON"))
        found = await http.get("/readyz")
        assert found.status_code == 503
        assert found.json()["reasons"] == ["storage: storage_read_only"]


async def test_what_nobody_foresaw_is_counted_as_500(monkeypatch: pytest.MonkeyPatch) -> None:
    async def begin(*_: object, **__: object) -> None:
        raise RuntimeError("unforeseen")

    async with gateway() as running, running.http() as http:
        monkeypatch.setattr(running.parts.searches, "begin", begin)
        answer = await http.post(PATH, json=ASKED)
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
        page = (await http.get("/metrics")).text
    assert f'spex_gateway_requests_total{{route="{PATH}",status="500"}} 1.0' in page
    assert 'status="499"' not in page


async def test_an_access_log_has_client_key_and_ids_and_no_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    keys = KeyStore(str(tmp_path / "gateway.sqlite"))
    secret = keys.create(Key(name="tutors"))
    async with gateway(keys=keys) as running, running.http(secret) as http:
        answer = await http.post(PATH, json=ASKED, headers={"X-Request-Id": "mine-7"})
        assert answer.headers["X-Request-Id"] == "mine-7"
        other = await http.get("/v1/models")
        assert other.headers["X-Request-Id"].startswith("req_")
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records]
    line = next(line for line in lines if line["event"] == "request" and line["route"] == PATH)
    assert line["client"] == "127.0.0.1"
    assert (line["key"], line["request_id"]) == ("tutors", "mine-7")
    assert line["search"] == answer.headers["X-Spex-Search-Id"]
    assert "5 + 7" not in json.dumps(lines)


def test_the_log_tells_settings_as_options_and_how_connections_fail() -> None:
    def line(name: str, message: str, *values: object, **extra: object) -> Any:
        record = logging.LogRecord(name, logging.WARNING, "", 0, message, values, None)
        vars(record).update(extra)
        return json.loads(JsonLines().format(record))

    away = "http://gpu7/v1 cannot be reached, tried once: start the server there, or correct "
    found = line("spex_agents.server", "engine does not answer", said=f"{away}base_url=")
    assert found["said"] == f"{away}--engine"
    pool = line("psycopg.pool", "reconnection in pool %r failed after %s sec", "pool-1", 1.0)
    assert pool["event"] == "reconnection in pool 'pool-1' failed after 1.0 sec"
    assert line("psycopg", "asked %s", "Why?")["event"] == "asked %s"


async def test_errors_have_no_addresses_of_what_is_inside() -> None:
    class Telling(SimulatedEngine):
        async def generate(self, *_: Any, **__: Any) -> Any:
            raise EngineUnavailable(
                "http://key@10.0.0.5:30000/v1 and gpu7:30000 refuse connections"
            )

    async with gateway(served=False, engine=Telling()) as running, running.http() as http:
        answer: httpx.Response = await http.post(PATH, json=ASKED)
        assert answer.status_code == 502
        for inner in ("10.0.0.5", "30000", "gpu7", "key@"):
            assert inner not in answer.text
        assert "refuse connections" in answer.json()["error"]["message"]
