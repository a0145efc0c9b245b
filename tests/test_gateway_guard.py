"""What is refused before it is read, and what that costs everybody else."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import pytest
from gateways import ASKED, gateway
from hypothesis import given
from hypothesis import strategies as st
from processes import PATIENCE

from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.server.gateway import offences
from spex_agents.server.gateway.app import create_gateway
from spex_agents.server.gateway.bodies import MOST_DEPTH, MOST_ITEMS, check_structure
from spex_agents.server.gateway.errors import ApiError
from spex_agents.server.gateway.keys import Key, KeyStore
from spex_agents.server.gateway.logs import JsonLines
from spex_agents.server.gateway.offences import Offences
from spex_agents.server.gateway.serve import Server

PATH = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def keys(tmp_path: Path) -> KeyStore:
    return KeyStore(str(tmp_path / "gateway.sqlite"))


async def test_the_key_goes_before_the_body(keys: KeyStore) -> None:
    secret = keys.create(Key(name="tutors"))
    async with gateway(served=False, keys=keys, body_bytes=5000) as running:
        bodies = (b"{bad", b"x" * 6000, b"[" * 3000, b"")
        async with running.http() as http:
            told = [(await http.post(PATH, content=body, headers=JSON)) for body in bodies]
            assert [answer.status_code for answer in told] == [401] * 4
        async with running.http(secret) as http:
            told = [(await http.post(PATH, content=body, headers=JSON)) for body in bodies]
            assert [answer.status_code for answer in told] == [400, 413, 400, 400]


async def test_a_body_that_is_too_large_is_read_to_its_end_so_that_its_sender_reads_why() -> None:
    async with gateway(served=False, body_bytes=5000) as running:
        for headers in ([], [(b"content-length", b"9000")]):
            left = [b"x" * 3000] * 3
            sent: list[Any] = []

            async def receive(left: list[bytes] = left) -> Any:
                return {"type": "http.request", "body": left.pop(), "more_body": bool(left)}

            async def send(message: Any, left: list[bytes] = left, sent: list[Any] = sent) -> None:
                sent.append((message, len(left)))

            scope = {
                "type": "http",
                "method": "POST",
                "path": PATH,
                "query_string": b"",
                "headers": [(b"host", b"localhost"), *headers],
            }
            assert running.app is not None
            await running.app(scope, receive, send)
            assert [(sent[0][0]["status"], sent[0][1])] == [(413, 0)]


async def test_without_a_key_the_body_is_not_even_received(keys: KeyStore) -> None:
    keys.create(Key(name="tutors"))
    async with gateway(keys=keys) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", _port(running.url))
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n"
        writer.write(head.encode())  # and no body
        assert b" 401 " in await reader.readline()
        assert b"connection: close" in (await reader.read()).lower()
        writer.close()


@pytest.mark.parametrize(
    "sent", [b"", b"GET /healthz HTT", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"]
)
async def test_connections_that_ask_for_nothing_are_closed(sent: bytes) -> None:
    async with gateway(head_seconds=0.1) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", _port(running.url))
        writer.write(sent)
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionResetError):  # it was closed before it had read that
                assert await reader.read() == b""
        writer.close()


async def test_a_head_without_an_end_is_not_kept() -> None:
    async with gateway(head_seconds=3600) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", _port(running.url))
        writer.write(b"GET /healthz HTTP/1.1\r\n")
        async with asyncio.timeout(PATIENCE):
            try:
                for number in range(200):
                    writer.write(f"X-{number}: {'x' * 1000}\r\n".encode())
                    await writer.drain()
                assert await reader.read() == b""
            except ConnectionError:
                pass
        writer.close()


EXPENSIVE = {
    "lists": b"[" + b"[]," * 300_000 + b"[]]",
    "messages": json.dumps({**ASKED, "messages": [{}] * 40_000}).encode(),
    "parts": json.dumps(
        {**ASKED, "messages": [{"role": "user", "content": [{}] * 40_000}]}
    ).encode(),
    "tools": json.dumps(
        {**ASKED, "tools": [{"type": "function", "function": {"name": "x"}}] * 4_000}
    ).encode(),
    "strings": b"[" + b'"",' * 300_000 + b'""]',
}


@pytest.mark.parametrize("name", EXPENSIVE)
async def test_what_is_cheap_to_send_is_cheap_to_refuse(name: str) -> None:
    """Measured against an honest body of the same size, so that the machine does not matter."""
    honest = {**ASKED, "messages": [{"role": "user", "content": "x" * len(EXPENSIVE[name])}]}
    seconds: dict[str, list[float]] = {"honest": [], "expensive": []}
    async with gateway(served=False, speed=2000) as running, running.http() as http:
        for _ in range(3):
            for kind, body in (
                ("honest", json.dumps({**honest, "temperature": "hot"}).encode()),
                ("expensive", EXPENSIVE[name]),
            ):
                began = time.perf_counter()
                answer = await http.post(PATH, content=body, headers=JSON)
                seconds[kind].append(time.perf_counter() - began)
                assert answer.status_code == 400
    assert min(seconds["expensive"]) < 10 * min(seconds["honest"]) + 0.05


_PLAIN: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
)


@given(_PLAIN)
def test_structure_within_bounds_passes_whatever_its_strings_have(value: Any) -> None:
    check_structure(json.dumps(value).encode())
    check_structure(json.dumps(value, ensure_ascii=False).encode())


@given(st.integers(1, 200), st.text())
def test_structure_beyond_bounds_is_found_behind_any_string(depth: int, text: str) -> None:
    body: Any = text
    for _ in range(depth):
        body = {text: body}
    if depth <= MOST_DEPTH:
        check_structure(json.dumps(body).encode())
    else:
        with pytest.raises(ApiError, match="nested deeper"):
            check_structure(json.dumps(body).encode())
    with pytest.raises(ApiError, match="items"):
        check_structure(json.dumps([text] + [1] * (MOST_ITEMS + 1)).encode())


HOSTILE = {
    "long": b"x" * 4000,
    "escapes": b"\x1b[2J",
    "not ASCII": "día".encode("latin-1"),
    "delete": b"a\x7f",
    "tab": b"a\tb",
    "zone": b"fe80::1%" + b"z" * 4000,
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_headers_say_is_checked_before_it_is_logged_or_told_again(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    value = HOSTILE[name]
    served = name not in ("escapes", "delete")  # which the server lets nowhere
    caplog.set_level(logging.INFO)
    names = ("X-Request-Id", "X-Forwarded-For", "Idempotency-Key", "Last-Event-ID", "Host")
    sent = [(each.encode(), value) for each in names]
    async with gateway(served=served) as running, running.http() as http:
        answer = await http.get("/v1/searches/none/events", headers=sent)
        kind = (b"Content-Type", b"application/json")
        posted = await http.post(PATH, content=b"{}", headers=[*sent, kind])
    for each in (answer, posted):
        assert len(each.text) < 1000
        assert each.headers["X-Request-Id"].startswith("req_")
        assert all(len(kept) < 200 for kept in each.headers.values())
    lines = [JsonLines().format(record) for record in caplog.records]
    told = [json.loads(line) for line in lines if '"request"' in line]
    assert [line["status"] for line in told] == [answer.status_code, posted.status_code]
    expected = "fe80::1" if name == "zone" else "unknown"
    for line in told:
        assert line["client"] == ("127.0.0.1" if not served else expected)
        assert line["request_id"].startswith("req_")
    assert max(map(len, lines)) < 1000


async def test_the_longest_id_of_a_request_is_kept_and_a_longer_one_is_not() -> None:
    async with gateway(served=False) as running, running.http() as http:
        for size, kept in ((128, True), (129, False)):
            given = "i" * size
            answer = await http.get("/v1/models", headers={"X-Request-Id": given})
            assert (answer.headers["X-Request-Id"] == given) is kept


async def test_a_wrong_host_is_told_again_in_part() -> None:
    async with gateway(served=False, hosts=("localhost",)) as running, running.http() as http:
        answer = await http.get("/v1/models", headers={"Host": "x" * 8000})
        assert (answer.status_code, len(answer.text) < 500) == (403, True)


async def test_a_proxy_that_forwards_a_word_does_not_spare_it_the_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[str] = []
    monkeypatch.setattr(Offences, "count", lambda _, address: counted.append(address))
    async with gateway(served=True) as running, running.http() as http:
        for word in ("one", "two", "192.0.2.7", "[2001:db8::1]:80"):
            await http.post(PATH, content=b"{bad", headers={"X-Forwarded-For": word, **JSON})
    assert counted == ["unknown", "unknown", "192.0.2.7", "2001:db8::1"]


def test_refusals_are_counted_by_address_and_by_the_network_of_ipv6() -> None:
    now = 0.0
    counted = Offences(1, clock=lambda: now)
    assert [counted.count("::1:2:3:4:5"), counted.count("::1:9:9:9:9")] == [False, True]
    assert not counted.count("192.0.2.1")
    now = offences.WINDOW_SECONDS
    assert not counted.count("::1:2:3:4:5")


@pytest.mark.slow
@pytest.mark.alone
async def test_a_hundred_bad_clients_do_not_slow_a_good_one(keys: KeyStore) -> None:
    """The median latency of a good client's searches, alone and beside them.

    Beside them this process computes all the time: its time on a processor is that of a machine
    with nothing else to do.
    """
    secret = keys.create(Key(name="good"))
    refused = 0
    bodies = (b"{bad", EXPENSIVE["lists"], json.dumps(ASKED).encode())

    async def bad(number: int, http: httpx.AsyncClient) -> None:
        nonlocal refused
        while True:
            body = bodies[number % len(bodies)]
            with_key = {"Authorization": "Bearer sk-spex-wrong"} if number % 2 else {}
            try:
                answer = await http.post(PATH, content=body, headers={**JSON, **with_key})
            except httpx.TransportError:  # closed while it still sends
                await asyncio.sleep(0)
                continue
            assert answer.status_code == 401
            refused += 1

    async def good(times: int, clock: Callable[[], float]) -> float:
        seconds = []
        async with running.http(secret) as http:
            for seed in range(times):
                began = clock()
                answer = await http.post(PATH, json={**ASKED, "seed": seed})
                seconds.append(clock() - began)
                assert answer.status_code == 200
        return median(seconds)

    async with gateway(keys=keys, speed=20) as running:
        alone = await good(5, time.perf_counter)
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=running.url, timeout=PATIENCE, limits=limits) as http:
            crowd = [asyncio.create_task(bad(number, http)) for number in range(100)]
            beside = await good(5, time.process_time)
            for task in crowd:
                task.cancel()
            await asyncio.wait(crowd)
    assert refused > 50
    print(f"alone {alone:.3f} s, beside a hundred bad clients {beside:.3f} s")
    assert beside < 2 * alone


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def test_an_idle_connection_is_kept_for_longer_than_clients_and_proxies_keep_theirs() -> None:
    server = Server(create_gateway({"spex": SimulatedEngine()}, database=":memory:"))
    of_clients = httpx.Limits().keepalive_expiry or 0
    assert server.config.timeout_keep_alive > max(of_clients, 60)
