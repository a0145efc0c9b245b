"""Hosts that limit how much they are asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from scripted_server import Answer, ScriptedServer, scripted_server

from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.calls.pace import Pace, retry_after
from spex_agents.engines.calls.retries import Retries
from spex_agents.engines.openai.engine import OpenAIEngine
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.errors import EngineError, SettingsError
from spex_agents.search.tree import Thought

PROMPT = Prompt((Message("user", "2 + 2?"),))


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with scripted_server() as server:
        yield server


def engine(server: ScriptedServer, **settings: Any) -> OpenAIEngine:
    given = {"retries": 0, "retry_wait": 0.001, **settings}
    return OpenAIEngine(server.url, model="tiny", dialect="any", **given)


async def write(opened: OpenAIEngine, name: str = "run/0", *, demanded: bool = True) -> Thought:
    asked = Request(id=name, seed=7, demanded=demanded)
    return await opened.generate(PROMPT, asked, sampling=Sampling(top_k=0), max_tokens=8)


def limited(status: int = 429, **headers: str) -> Answer:
    return Answer(status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})


DATES = {"date": "Sun, 29 Nov 2026 17:00:00 GMT", "retry-after": "Sun, 29 Nov 2026 17:00:06 GMT"}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "6"}, 6),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        (DATES, 6),
        ({"retry-after": "Sun, 29 Nov 2020 17:00:06 GMT"}, 0),
        ({"retry-after": "1m 2.5s"}, 62.5),
        ({"retry-after": "20s"}, 20),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({**DATES, "retry-after": "Sun, 29 Nov 2026 17:00:06"}, 6),
        ({**DATES, "retry-after": "2026-11-29T17:00:06Z"}, 6),
        ({"retry-after": "1500000000"}, 0),
        ({}, None),
    ],
)
def test_a_wait_is_read_in_each_of_its_forms(headers: dict[str, str], seconds: Any) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("Rate limit reached. Please try again in 1m2.5s. Visit ...", 62.5),
        ("Please try again in 250ms.", 0.25),
        ('{"@type": "RetryInfo", "retryDelay": "17s"}', 17),
        ("Please retry in 12.5 minutes.", None),
        ("Please try again in a while.", None),
    ],
)
def test_a_wait_is_read_from_what_a_host_says(said: str, seconds: Any) -> None:
    assert retry_after({}, said) == seconds


@pytest.mark.parametrize("status", [429, 529])
async def test_a_host_that_says_how_long_to_wait_uses_up_no_tries(
    server: ScriptedServer, status: int
) -> None:
    server.script.extend([limited(status, retry_after_ms="20")] * 5)
    async with engine(server) as opened:
        assert (await write(opened)).text == "It is 4."
    assert len(server.ids) == 6


async def test_one_refusal_pauses_all_requests(server: ScriptedServer) -> None:
    server.script.append(limited(retry_after_ms="300"))
    async with engine(server) as opened, anyio.create_task_group() as tasks:
        tasks.start_soon(write, opened, "run/0")
        with anyio.fail_after(5):
            while not opened._client.pace.paused:  # noqa: ASYNC110 (it tells nobody)
                await anyio.sleep(0.001)
        for index in range(1, 5):
            tasks.start_soon(write, opened, f"run/{index}")
        await anyio.sleep(0.05)
        assert server.ids == ["run/0"]
    assert sorted(server.ids[1:]) == ["run/0~1", "run/1", "run/2", "run/3", "run/4"]


async def test_a_host_that_wants_more_patience_than_there_is_ends_it_at_once(
    server: ScriptedServer,
) -> None:
    server.default = limited(retry_after="3600")
    async with engine(server, retries=3, patience=10) as opened:
        with pytest.raises(EngineError, match=r"wants 3600 s without requests: raise patience="):
            await write(opened)
    assert len(server.ids) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=429, error_fields={"code": "insufficient_quota"}),
        Answer(status=429, error_fields={"type": "insufficient_quota"}),
        Answer(status=402),
    ],
)
async def test_a_quota_that_is_used_up_is_not_tried_again(
    server: ScriptedServer, answer: Answer
) -> None:
    server.default = answer
    async with engine(server, retries=3) as opened:
        with pytest.raises(EngineError, match="used up: see the provider's billing"):
            await write(opened)
    assert len(server.ids) == 1


async def test_a_host_tells_what_it_allows(server: ScriptedServer) -> None:
    server.default = Answer(
        headers={
            "x-ratelimit-limit-requests": "500",
            "x-ratelimit-remaining-requests": "498",
            "x-ratelimit-reset-requests": "240ms",
            "x-ratelimit-limit-tokens": "30000",
            "x-ratelimit-remaining-tokens": "29900",
            "x-ratelimit-reset-tokens": "0.2s",
        }
    )
    async with engine(server) as opened:
        assert opened.features.requests_per_minute is None
        await write(opened)
        assert opened.features.requests_per_minute == pytest.approx(500)
        assert opened.features.tokens_per_minute == pytest.approx(30_000)


async def test_a_key_is_never_in_an_error(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="httpx")  # which tells every address that is asked
    server.default = Answer(status=401, said="Incorrect API key provided: s3cr3t-key")
    url = server.url.replace("http://", "http://me:passw0rd@")
    async with OpenAIEngine(url, model="tiny", dialect="any", api_key="s3cr3t-key") as opened:
        with pytest.raises(EngineError, match="Incorrect API key") as caught:
            await write(opened)
    assert caught.value.__cause__ is None
    said = f"{caught.value} {opened.name} {caplog.text}"
    assert "[the key]" in said
    assert "s3cr3t" not in said
    assert "passw0rd" not in said


def test_what_a_minute_allows_is_spent_evenly_and_demanded_requests_first() -> None:
    pace = Pace(requests=60)

    async def spend() -> tuple[float, float, float]:
        begun = anyio.current_time()
        for index in range(31):  # half of a minute's is kept
            await pace.turn(Request(id=f"guess/{index}", seed=0, demanded=False), 10)
        guessed = anyio.current_time() - begun
        for index in range(30):
            await pace.turn(Request(id=f"run/{index}", seed=0), 10)
        demanded = anyio.current_time() - begun
        await pace.turn(Request(id="run/more", seed=0), 10)
        return guessed, demanded, anyio.current_time() - begun

    guessed, demanded, more = run_virtual(spend())
    assert 1 <= guessed < 1.3
    assert demanded == guessed
    assert 2 <= more < 2.5


def test_tokens_of_a_minute_count_as_well() -> None:
    pace = Pace(tokens=6000)

    async def spend() -> float:
        await pace.turn(Request(id="run/0", seed=0), 5000)
        await pace.turn(Request(id="run/1", seed=0), 3000)
        return anyio.current_time()

    assert run_virtual(spend()) == pytest.approx(20, abs=0.5)


def test_waits_differ_by_request_and_not_by_run() -> None:
    async def waited(key: str) -> float:
        async def fail(number: int) -> None:
            raise ConnectionError

        begun = anyio.current_time()
        with pytest.raises(ConnectionError):
            await Retries(times=3, wait=1).run(fail, transient=lambda _: True, key=key)
        return anyio.current_time() - begun

    waits = [run_virtual(waited(key)) for key in ("run/0", "run/1", "run/0")]
    assert waits[0] == waits[2] != waits[1]
    assert all(5 < wait <= 7 for wait in waits)


@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute"])
def test_a_limit_is_above_zero(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}=0: must be above 0"):
        OpenAIEngine("http://127.0.0.1:1/v1", **{name: 0})  # type: ignore[arg-type]
