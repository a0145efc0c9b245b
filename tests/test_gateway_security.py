"""What docs/security.md says of the gateway."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateways import ASKED, gateway
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spex_agents.engines.openai.engine import OpenAIEngine
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import EngineError
from spex_agents.rewards.checking.arithmetic import evaluate
from spex_agents.search import Thought
from spex_agents.server.gateway.keys import Key, KeyStore
from spex_agents.server.gateway.logs import JsonLines

PATH = "/v1/chat/completions"
RECIPE = "my grandmother's recipe"


def saying(content: Any, **more: Any) -> dict[str, Any]:
    return {**ASKED, "messages": [{"role": "user", "content": content}], **more}


@pytest.fixture
def keys(tmp_path: Path) -> KeyStore:
    return KeyStore(str(tmp_path / "gateway.sqlite"))


class Quoting(SimulatedEngine):
    """Fails, and quotes the prompt and its own address in saying so."""

    error: type[Exception] = EngineError

    async def generate(self, prompt: Prompt, *args: Any, **more: Any) -> Thought:
        said = prompt.messages[-1].content
        raise self.error(f"http://spex:hunter2@10.0.0.5/v1 cannot read {said}")


# What is told to whom


@pytest.mark.parametrize("error", [EngineError, ValueError])
async def test_no_log_and_no_span_has_a_prompt_when_a_search_fails(
    error: type[Exception], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    monkeypatch.setattr(Quoting, "error", error)
    caplog.set_level(logging.INFO)
    async with gateway(served=False, engine=Quoting()) as running, running.http() as http:
        for stream in (False, True):
            told = await http.post(PATH, json=saying(RECIPE, stream=stream))
            assert "hunter2" not in told.text
            assert "engine_failed" in told.text
    lines = [JsonLines().format(record) for record in caplog.records]
    failed = [line for line in map(json.loads, lines) if line["event"] == "search failed"]
    assert [line["error"] for line in failed] == ["EngineError"] * 2
    assert "grandmother" not in "\n".join(lines)
    spans = exporter.get_finished_spans()
    assert [span.status.description for span in spans if span.name == "spex.search"] == [
        "EngineError"
    ] * 2
    assert "grandmother" not in str([span.to_json() for span in spans])


async def test_clients_read_neither_an_engines_address_nor_the_operators_settings(
    caplog: pytest.LogCaptureFixture,
) -> None:
    away = OpenAIEngine("http://127.0.0.1:9/v1", retries=0)  # nobody listens there
    caplog.set_level(logging.INFO)
    async with gateway(served=False, more={"away": away}) as running, running.http() as http:
        told = await http.post(PATH, json={**ASKED, "model": "away/rebase-4"})
    error = told.json()["error"]
    assert (told.status_code, error["code"]) == (502, "engine_failed")
    assert error["message"].startswith("the engine cannot be reached")
    assert [secret for secret in ("127.0.0.1", ":9", "=") if secret in error["message"]] == []
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records]
    (start,) = [line for line in lines if line["event"] == "engine does not answer"]
    (failed,) = [line for line in lines if line["event"] == "search failed"]
    assert (start["engine"], lines.index(start) < lines.index(failed)) == ("away", True)
    for said in (start["said"], failed["message"]):
        assert "http://127.0.0.1:9/v1 cannot be reached" in said
        assert "correct --engine" in said


async def test_the_log_tells_once_that_an_engine_does_not_answer_and_once_that_it_does_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Loading(SimulatedEngine):
        loading = True

        async def check(self) -> None:
            if self.loading:
                raise EngineError("it loads")

    caplog.set_level(logging.INFO)
    engine = Loading()
    async with gateway(served=False, engine=engine) as running:
        await running.parts.checks.ask_engines()
        engine.loading = False
        for _ in range(2):
            await running.parts.checks.ask_engines()
    told = [record for record in caplog.records if record.name.endswith("readiness")]
    assert [(record.levelname, record.msg) for record in told] == [
        ("WARNING", "engine does not answer"),
        ("INFO", "engine answers again"),
    ]


async def test_what_nobody_foresaw_is_told_to_the_log_alone_and_without_its_words(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def begin(*_: object, **__: object) -> None:
        raise RuntimeError(RECIPE)

    async with gateway(served=False) as running:
        monkeypatch.setattr(running.parts.searches, "begin", begin)
        assert running.app is not None
        transport = httpx.ASGITransport(running.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            told = await http.post(PATH, json=ASKED)
    assert (told.status_code, told.json()["error"]["message"]) == (500, "internal error")
    lines = "\n".join(JsonLines().format(record) for record in caplog.records)
    assert "RuntimeError" in lines
    assert "grandmother" not in lines


async def test_what_other_packages_log_is_cut_to_what_quotes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fails() -> None:
        raise ValueError(RECIPE)

    task = asyncio.ensure_future(fails())
    await asyncio.wait([task])
    assert task.exception() is not None
    # asyncio puts an exception that nobody has awaited into its message.
    asyncio.get_running_loop().call_exception_handler({"message": "never awaited", "future": task})
    logging.getLogger("other").error("%s?", RECIPE, extra={"said": RECIPE})
    lines = [JsonLines().format(record) for record in caplog.records]
    assert [json.loads(line)["event"] for line in lines] == ["never awaited", "%s?"]
    assert "grandmother" not in "\n".join(lines)
    whole = [JsonLines(prompts=True).format(record) for record in caplog.records]
    assert all("grandmother" in line for line in whole)


async def test_a_key_in_the_address_opens_nothing_and_is_not_logged(
    keys: KeyStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    secret = keys.create(Key(name="tutors"))
    async with gateway(served=False, keys=keys) as running, running.http() as http:
        for path in ("/v1/models", "/v1/searches", f"/v1/searches/{secret}"):
            answer = await http.get(path, params={"api_key": secret, "access_token": secret})
            assert answer.status_code == 401
        assert (await http.get(f"/{secret}")).status_code == 401
        async with running.http(secret) as known:
            assert (await known.get("/v1/models")).status_code == 200
            assert (await known.get("/v1/searches/none")).status_code == 404
    whole = "\n".join(JsonLines(prompts=True).format(record) for record in caplog.records)
    assert '"request"' in whole
    ours = [line for line in whole.splitlines() if '"logger": "httpx"' not in line]  # the test's
    assert secret not in "\n".join(ours)


async def test_answers_are_what_they_say_and_are_kept_by_no_cache() -> None:
    async with gateway(served=False) as running, running.http() as http:
        done = await http.post(PATH, json=ASKED)
        path = f"/v1/searches/{done.headers['X-Spex-Search-Id']}"
        for where in (path, f"{path}/events", f"{path}/view", "/v1/models", "/v1/searches/none"):
            answer = await http.get(where)
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cache-Control"] == "no-store"
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert "server" not in answer.headers
        page = await http.get(f"{path}/view")
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        for kept in ("localStorage", "sessionStorage", "cookie", "indexedDB"):  # a reader's key
            assert kept not in page.text
        assert "5 + 7" not in page.text  # it has nothing of the search until its reader's key has
        for where in ("/docs", "/redoc"):  # pages that would run what another site serves
            assert (await http.get(where)).status_code == 404


# Who is let in


async def test_without_a_key_nothing_is_answered_but_what_has_nothing_of_anybody(
    keys: KeyStore,
) -> None:
    keys.create(Key(name="tutors"))
    told = {}
    async with gateway(served=False, keys=keys) as running, running.http() as http:
        assert running.app is not None
        for path, operations in running.app.openapi()["paths"].items():
            for method in operations:
                where = path.replace("{model}", "spex/rebase").replace("{id}", "0")
                told[path, method] = (await http.request(method, where, json=ASKED)).status_code
    free = {("/healthz", "get"), ("/readyz", "get"), ("/v1/searches/{id}/view", "get")}
    assert {where for where, status in told.items() if status == 200} == free
    assert {told[where] for where in told.keys() - free} == {401}
    assert len(told) > 9


async def test_without_keys_only_who_names_this_machine_is_answered() -> None:
    hosts = ("localhost", "127.0.0.1", "::1")
    async with gateway(served=False, hosts=hosts) as running, running.http() as http:
        for host, status in (
            ("localhost:8080", 200),
            ("127.0.0.1", 200),
            ("[::1]:8080", 200),
            ("rebound.example:8080", 403),
            ("localhost.rebound.example", 403),
            ("[", 403),
            ("", 403),
        ):
            answer = await http.get("/v1/models", headers={"Host": host})
            assert answer.status_code == status, host


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_a_page_of_another_site_cannot_begin_a_search(kind: str | None) -> None:
    """What a browser sends without asking first is no JSON; what is, it asks about in vain."""
    async with gateway(served=False) as running, running.http() as http:
        headers = {"Origin": "https://other.example", **({"Content-Type": kind} if kind else {})}
        for path in (PATH, "/v1/searches"):
            answer = await http.post(path, content=json.dumps(ASKED), headers=headers)
            assert answer.status_code == 400
            asked = {**headers, "Access-Control-Request-Method": "POST"}
            allowed = await http.options(path, headers=asked)
            assert "Access-Control-Allow-Origin" not in allowed.headers
        assert running.engine.decoded_tokens == 0


def test_a_key_is_looked_up_by_its_hash_alone(keys: KeyStore) -> None:
    """So nothing that can be timed depends on how much of a guess is right."""
    secret = keys.create(Key(name="tutors"))
    (known,) = keys.all()
    assert re.fullmatch("[0-9a-f]{64}", known.key.sha256)
    assert len(secret.removeprefix("sk-spex-")) == 43  # 256 bits


# What is sent


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * 900_000, "items"),
        (b'{"model": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "items"),
        (b'{"model": ' + b"[" * 100 + b"]" * 100 + b"}", "nested deeper than 64"),
        (b'{"seed": ' + b"9" * 100_000 + b"}", "parsing"),
        (b'{"model": "\xff"}', "parsing"),
        (json.dumps(saying("\ud800 5 + 7?")).encode(), "messages.0.content: must be text"),
        (json.dumps(saying("\0 5 + 7?")).encode(), "messages.0.content: must be text"),
        (json.dumps(saying("5 + 7?", temperature=float("nan"))).encode(), "temperature"),
    ],
    ids=[
        "deep",
        "deep and whole",
        "too deep",
        "long number",
        "no utf-8",
        "surrogate",
        "nul",
        "nan",
    ],
)
async def test_bodies_made_to_break_a_parser_are_refused(content: bytes, words: str) -> None:
    async with gateway(served=False) as running, running.http() as http:
        headers = {"Content-Type": "application/json"}
        answer = await http.post(PATH, content=content, headers=headers)
        assert answer.status_code == 400
        assert words in answer.json()["error"]["message"]
        assert running.engine.decoded_tokens == 0


async def test_no_request_makes_the_gateway_fetch_an_address() -> None:
    inside = "http://169.254.169.254/latest"
    image = [{"type": "image_url", "image_url": {"url": inside}}]
    async with gateway(served=False) as running, running.http() as http:
        for body, param in (
            (saying(image), "messages.0.content.0.image_url.url"),
            ({**ASKED, "model": f"{inside}/rebase-4"}, "model"),
            ({**ASKED, "spex": {"engine": inside}}, "spex.engine"),
            ({**ASKED, "spex": {"reward": f"{inside}:score"}}, "spex.reward"),
        ):
            answer = await http.post(PATH, json=body)
            assert answer.status_code in (400, 404)
            assert answer.json()["error"]["param"] == param


async def test_what_looks_like_sql_is_text(keys: KeyStore, tmp_path: Path) -> None:
    database = tmp_path / "gateway.sqlite"
    attack = "x'); DROP TABLE spex_searches; --"
    secret = keys.create(Key(name=attack))
    async with (
        gateway(served=False, keys=keys, database=str(database)) as running,
        running.http(secret) as http,
    ):
        same = {"Idempotency-Key": attack}
        done = await http.post(PATH, json=saying(f"{attack} 5 + 7?"), headers=same)
        assert done.status_code == 200
        assert (await http.get(f"/v1/searches/{attack}")).status_code == 404
        (found,) = (await http.get("/v1/searches")).json()["data"]
        assert done.headers["X-Spex-Search-Id"] == found["id"]
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT owner FROM spex_searches").fetchall() == [(attack,)]
    connection.close()


@pytest.mark.parametrize(
    "text", ["__import__('os').system('true')", "9**9**9", "(1).__class__", "1e999999", "[0]*10**9"]
)
def test_the_calculator_knows_four_operations(text: str) -> None:
    assert evaluate(text)[0] is None
