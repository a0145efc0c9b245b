"""Whose KV a full cache gives up first: of retracted thoughts, then of guesses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from asking import TAG
from launching import launch

from spex_agents.engines.calls.retries import Retries
from spex_agents.engines.sglang.client import SGLangClient
from spex_agents.engines.sglang.protocol import DEMANDED, END, SPECULATIVE

CACHE = 2048
"""Tokens."""

PREFIX = list(range(100, 300))
"""What all thoughts of a search share."""


def tail(first: int) -> list[int]:
    """The rest of a prompt, unlike any other."""
    return list(range(first, first + 200))


@pytest.fixture(scope="module")
def full(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A random model with a small cache."""
    logs = tmp_path_factory.mktemp("full")
    flags = ("--", "--max-total-tokens", str(CACHE))
    with launch(logs, "--policy", str(tiny), *flags) as launched:
        yield launched.ready()["policy"]["url"]


@pytest.fixture
async def client(full: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=full, timeout=60, trust_env=False) as opened:
        (await opened.post("/flush_cache")).raise_for_status()
        yield opened


async def cached(client: httpx.AsyncClient, prompt: list[int], *, priority: int) -> int:
    """Compute a prompt, and one token after it; returns how much of it was cached already."""
    body = {
        "input_ids": prompt,
        "sampling_params": {"max_new_tokens": 1, "temperature": 0},
        "priority": priority,
    }
    answer = (await client.post("/generate", json=body)).raise_for_status().json()
    return int(answer["meta_info"]["cached_tokens"])


async def retracted(client: httpx.AsyncClient, prompt: list[int], tokens: int) -> list[int]:
    """Write a guess, abort it after some tokens, and return what it had written."""
    server = SGLangClient(str(client.base_url), api_key=None, timeout=60, retries=Retries())
    rid = f"{TAG}{len(prompt)}-{tokens}/thought-1{END}"
    body = {
        "input_ids": prompt,
        "sampling_params": {"max_new_tokens": 1000, "temperature": 0, "ignore_eos": True},
        "priority": SPECULATIVE,
        "rid": rid,
        "stream": True,
    }
    await server.info()
    written: dict[str, Any] = {}
    asked = False
    async with client.stream("POST", "/generate", json=body) as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data: {"):
                written = json.loads(line.removeprefix("data: "))
            if not asked and written and written["meta_info"]["completion_tokens"] >= tokens:
                asked = True
                await server.send("abort", rid)
    await server.aclose()
    assert written["meta_info"]["finish_reason"]["type"] == "abort"
    output: list[int] = written["output_ids"]
    assert len(output) >= tokens
    return output


async def test_retracted_thoughts_go_before_guesses_and_these_before_demanded_ones(
    client: httpx.AsyncClient,
) -> None:
    demanded, guessed = PREFIX + tail(1000), PREFIX + tail(2000)
    assert await cached(client, demanded, priority=DEMANDED) == 0
    assert await cached(client, guessed, priority=SPECULATIVE) == len(PREFIX)
    lost = PREFIX + [99] + await retracted(client, [*PREFIX, 99], 300)  # used last of all
    in_use = len(PREFIX) + 400 + len(lost) - len(PREFIX)

    # Somebody needs what is free and a little more: the retracted thought's output.
    await cached(client, list(range(5000, 5000 + CACHE - in_use + 100)), priority=DEMANDED)
    # One token more than a prompt is asked for, since the last one is always computed.
    assert await cached(client, [*demanded, 7], priority=DEMANDED) >= len(demanded)
    assert await cached(client, [*guessed, 7], priority=SPECULATIVE) >= len(guessed)
    assert await cached(client, lost, priority=SPECULATIVE) <= len(PREFIX) + 1


async def test_guesses_go_before_older_demanded_thoughts(client: httpx.AsyncClient) -> None:
    demanded, guessed = PREFIX + tail(1000), PREFIX + tail(2000)
    await cached(client, demanded, priority=DEMANDED)
    await cached(client, guessed, priority=SPECULATIVE)
    in_use = len(PREFIX) + 400
    await cached(client, list(range(5000, 5000 + CACHE - in_use + 100)), priority=DEMANDED)
    assert await cached(client, [*demanded, 7], priority=DEMANDED) >= len(demanded)
    assert await cached(client, [*guessed, 7], priority=SPECULATIVE) == len(PREFIX)


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [(1200, 300), (200, 1400)],
    ids=["at admission", "while both run"],
)
async def test_a_guess_gives_way_where_the_cache_is_too_small_for_both(
    client: httpx.AsyncClient, prompt: int, tokens: int
) -> None:
    """Of the two the guess is older, has more tokens and is nearer to its end."""
    guess = {
        "input_ids": PREFIX,
        "sampling_params": {"max_new_tokens": 1200, "temperature": 0, "ignore_eos": True},
        "priority": SPECULATIVE,
        "rid": f"{TAG}{prompt}/0/thought-1{END}",
        "stream": True,
    }
    demanded = {
        "input_ids": list(range(5000, 5000 + prompt)),
        "sampling_params": {"max_new_tokens": tokens, "temperature": 0, "ignore_eos": True},
        "priority": DEMANDED,
        "rid": f"{TAG}{prompt}/1/thought-1{END}",
    }
    assert prompt + tokens + len(PREFIX) + 1200 > CACHE
    asked: dict[str, Any] = {}
    written: dict[str, Any] = {}
    began = anyio.Event()

    async def guessing() -> None:
        async with client.stream("POST", "/generate", json=guess) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data: {"):
                    written.update(json.loads(line.removeprefix("data: ")))
                    if written["meta_info"]["completion_tokens"] >= 300:
                        began.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(guessing)
        await began.wait()
        answer = await client.post("/generate", json=demanded, timeout=300)
        asked.update(answer.raise_for_status().json())
        assert asked["meta_info"]["completion_tokens"] == tokens
        assert written["meta_info"]["completion_tokens"] < 1200
    assert written["meta_info"]["completion_tokens"] == 1200  # it goes on where it was
