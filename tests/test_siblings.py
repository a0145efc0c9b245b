"""Thoughts of one prompt that go as one request, where their seeds are worth nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from fastapi.responses import JSONResponse, StreamingResponse
from scripted_server import Answer, ScriptedServer, scripted_server

from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.openai.engine import OpenAIEngine
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.errors import EngineError
from spex_agents.rewards import Verifier
from spex_agents.search import Limits, TotBfs
from spex_agents.search.tree import Thought
from spex_agents.speculation import SearchConfig, Speculation, solve

PROMPT = Prompt((Message("user", "2 + 2?"),))
SAMPLING = Sampling(top_k=0)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with scripted_server() as server:
        yield server


def engine(server: ScriptedServer, **settings: Any) -> OpenAIEngine:
    given = {"dialect": "mistral", "retries": 1, "retry_wait": 0, **settings}
    return OpenAIEngine(server.url, model="tiny", **given)


def events(*chunks: object) -> str:
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


def piece(index: int, text: str = "", finish: str | None = None) -> dict[str, Any]:
    delta = {"content": text} if text else {}
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


USAGE = {"choices": [], "usage": {"completion_tokens": 12, "prompt_tokens": 9}}


def three(*, usage: bool = True) -> Answer:
    chunks = [piece(0, "It"), piece(1, "So"), piece(2, "4"), piece(0, " is 4.")]
    ends = [piece(number, finish="stop") for number in (2, 0, 1)]
    return Answer(raw=events(*chunks, *ends, *([USAGE] if usage else [])))


async def write(
    opened: OpenAIEngine, number: int, *, demanded: bool = True, prompt: Prompt = PROMPT
) -> tuple[Thought, Request]:
    asked = Request(id=f"run/0.{number}", seed=number, demanded=demanded)
    thought = await opened.generate(prompt, asked, sampling=SAMPLING, max_tokens=8)
    return thought, asked


async def write_all(
    opened: OpenAIEngine, numbers: Sequence[int] = (0, 1, 2), **how: Any
) -> list[tuple[Thought, Request] | EngineError]:
    found: dict[int, tuple[Thought, Request] | EngineError] = {}

    async def one(number: int) -> None:
        try:
            found[number] = await write(opened, number, **how)
        except EngineError as error:
            found[number] = error

    async with anyio.create_task_group() as tasks:
        for number in numbers:
            tasks.start_soon(one, number)
    return [found[number] for number in numbers]


async def test_what_is_asked_for_in_one_turn_is_one_request(server: ScriptedServer) -> None:
    server.script.append(three())
    async with engine(server) as opened:
        found = [one for one in await write_all(opened) if not isinstance(one, EngineError)]
    assert [thought.text for thought, _ in found] == ["It is 4.", "So", "4"]
    (body,) = server.bodies
    assert body["n"] == 3
    assert "stop" not in body
    assert sum(asked.prompt_tokens for _, asked in found) == 9
    assert sum(asked.tokens for _, asked in found) == 12


async def test_the_next_turn_is_another_request(server: ScriptedServer) -> None:
    server.script.extend([three(), three()])
    async with engine(server) as opened:
        for _ in range(2):
            await write_all(opened)
    assert [body["n"] for body in server.bodies] == [3, 3]


@pytest.mark.parametrize(
    "settings",
    [{"dialect": "openai"}, {"dialect": "deepseek"}, {"dialect": "vllm", "exactness": "unseeded"}],
    ids=["seeded", "no-choices", "own-server"],
)
async def test_elsewhere_each_is_asked_for_alone(
    server: ScriptedServer, settings: dict[str, Any]
) -> None:
    async with engine(server, **settings) as opened:
        await write_all(opened)
    assert ["n" in body for body in server.bodies] == [False] * 3


async def test_a_host_that_takes_no_seeds_any_more_is_asked_for_several(
    server: ScriptedServer,
) -> None:
    server.script.append(Answer(status=400, said="Unknown parameter: 'seed'"))
    async with engine(server, dialect="openai") as opened:
        await write(opened, 0)
        server.script.append(three())
        await write_all(opened)
    assert ["n" in body for body in server.bodies] == [False, False, True]


async def test_guesses_go_alone_because_they_may_be_retracted(server: ScriptedServer) -> None:
    async with engine(server) as opened:
        await write_all(opened, demanded=False)
        await write(opened, 5)
    assert ["n" in body for body in server.bodies] == [False] * 4


async def test_other_prompts_are_no_siblings(server: ScriptedServer) -> None:
    other = Prompt((Message("user", "3 + 3?"),))
    async with engine(server) as opened, anyio.create_task_group() as tasks:
        tasks.start_soon(write, opened, 0)
        tasks.start_soon(lambda: write(opened, 1, prompt=other))
    assert ["n" in body for body in server.bodies] == [False, False]


async def test_each_ends_at_its_own_delimiter_and_the_stream_at_the_last(
    server: ScriptedServer,
) -> None:
    chunks = (piece(0, "It\nis"), piece(1, "So"), piece(0, " 4"), piece(1, ".\nThen"))
    raw = events(*chunks).removesuffix("data: [DONE]\n\n")
    server.script.append(Answer(raw=raw, then="hang"))
    async with engine(server) as opened:
        found = await write_all(opened, (0, 1))
    await server.until_live(0)
    thoughts = [one[0] for one in found if not isinstance(one, EngineError)]
    assert [(thought.text, thought.finish) for thought in thoughts] == [
        ("It", "step"),
        ("So.", "step"),
    ]
    spent = sum(one[1].tokens for one in found if not isinstance(one, EngineError))
    assert spent == 4  # what came after the first one's step is paid, too


async def test_whose_thought_is_whole_does_not_wait_for_the_others(server: ScriptedServer) -> None:
    raw = events(piece(0, "It"), piece(1, "So", "stop")).removesuffix("data: [DONE]\n\n")
    server.script.append(Answer(raw=raw, then="hang"))
    async with engine(server) as opened, anyio.create_task_group() as tasks:
        tasks.start_soon(write, opened, 0)
        found = []

        async def second() -> None:
            found.append((await write(opened, 1))[0].text)
            tasks.cancel_scope.cancel()

        tasks.start_soon(second)
    assert found == ["So"]
    await server.until_live(0)


async def test_a_sample_that_is_filtered_costs_its_own_path_alone(server: ScriptedServer) -> None:
    ends = (piece(0, finish="stop"), piece(1, finish="content_filter"), piece(2, finish="stop"))
    server.script.append(Answer(raw=events(piece(0, "It"), piece(2, "4"), *ends)))
    async with engine(server) as opened:
        first, filtered, last = await write_all(opened)
    assert isinstance(filtered, EngineError)
    assert "content_filter" in str(filtered)
    assert not isinstance(first, EngineError)
    assert not isinstance(last, EngineError)
    assert len(server.bodies) == 1


async def test_a_host_that_sends_one_of_several_is_asked_for_the_others_and_no_more(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with engine(server) as opened:
        found = await write_all(opened)
        await write_all(opened)
    assert not any(isinstance(one, EngineError) for one in found)
    assert ["n" in body for body in server.bodies] == [True] + [False] * 5
    assert "each thought's prompt is paid for" in caplog.text


async def test_a_host_that_refuses_several_is_asked_for_each(server: ScriptedServer) -> None:
    server.script.append(Answer(status=400, said="n must be 1 for this model"))
    async with engine(server) as opened:
        found = await write_all(opened)
    assert not any(isinstance(one, EngineError) for one in found)
    assert ["n" in body for body in server.bodies] == [True, False, False, False]


async def test_a_stream_that_breaks_is_asked_for_again_where_none_was_whole(
    server: ScriptedServer,
) -> None:
    server.script.extend([Answer(then="drop"), three()])
    async with engine(server) as opened:
        found = await write_all(opened)
    assert not any(isinstance(one, EngineError) for one in found)
    assert [body["n"] for body in server.bodies] == [3, 3]


async def test_whoever_is_missing_when_a_stream_breaks_asks_alone(server: ScriptedServer) -> None:
    server.script.append(Answer(raw=events(piece(0, "It"), piece(1, "So", "stop"))))
    async with engine(server) as opened:
        found = await write_all(opened)
    texts = [one[0].text for one in found if not isinstance(one, EngineError)]
    assert texts == ["It is 4.", "So", "It is 4."]
    assert ["n" in body for body in server.bodies] == [True, False, False]


async def test_an_error_for_all_is_told_to_all(server: ScriptedServer) -> None:
    error = JSONResponse({"error": {"message": "Insufficient Balance"}}, 402)
    server.script.append(Answer(response=error))
    async with engine(server) as opened:
        found = await write_all(opened)
    assert all(isinstance(one, EngineError) and "billing" in str(one) for one in found)
    assert len(server.bodies) == 1


@pytest.mark.parametrize("gone", [0, 1])
async def test_a_sibling_that_is_cancelled_leaves_the_others_theirs(
    server: ScriptedServer, gone: int
) -> None:
    cancelled = anyio.Event()

    async def stream() -> AsyncIterator[str]:
        yield events(piece(0, "It"), piece(1, "So")).removesuffix("data: [DONE]\n\n")
        await cancelled.wait()
        yield events(piece(1, " what"), piece(0, " is 4.", "stop"))

    server.script.append(Answer(response=StreamingResponse(stream())))
    requests = [Request(id=f"run/0.{number}", seed=number) for number in (0, 1)]
    scopes = [anyio.CancelScope(), anyio.CancelScope()]
    texts: dict[int, str] = {}

    async def one(opened: OpenAIEngine, number: int) -> None:
        with scopes[number]:
            thought = await opened.generate(
                PROMPT, requests[number], sampling=SAMPLING, max_tokens=8
            )
            texts[number] = thought.text

    async with engine(server) as opened, anyio.create_task_group() as tasks:
        for number in (0, 1):
            tasks.start_soon(one, opened, number)
        with anyio.fail_after(30):
            while sum(one.tokens for one in requests) < 2:  # noqa: ASYNC110 (it is not told)
                await anyio.sleep(0.001)
        scopes[gone].cancel()
        await anyio.lowlevel.checkpoint()
        cancelled.set()
    assert texts == {1 - gone: "It is 4."}
    assert requests[gone].tokens == 1
    assert requests[1 - gone].tokens == (5 if gone == 0 else 3)  # alone anew; or for both


async def by_length(question: str, steps: Sequence[str]) -> float:
    return len("".join(steps)) % 10 / 10


@pytest.mark.parametrize("speculation", [None, Speculation()])
async def test_a_search_pays_for_its_prompts_once(
    server: ScriptedServer, speculation: Speculation | None
) -> None:
    server.default = Answer(tokens=("It", " is 4.", "\n"), usage=2)
    server.several = True
    async with engine(server) as opened:
        config = SearchConfig(
            engine=opened,
            policy=TotBfs(width=3, keep=2),
            reward=Verifier(by_length, pure=True),
            limits=Limits(depth=3),
            termination=None,
            speculation=speculation,
        )
        found = await solve(config, "What is 2 + 2?")
    asked = sum(body.get("n", 1) for body in server.bodies)
    assert len(found.tree) <= asked
    assert max(body.get("n", 1) for body in server.bodies) >= 3  # like texts are one prompt
    assert len(server.bodies) < asked
