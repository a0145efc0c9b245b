"""OpenAI's client and LangChain's against a gateway in front of the small model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx
import openai
import pytest
from gateways import Running, gateway
from langchain_core.messages import AIMessageChunk
from langchain_openai import ChatOpenAI
from processes import PATIENCE
from pydantic import SecretStr

from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.embedded.engine import EmbeddedEngine
from spex_agents.engines.prompts import PromptTemplate

pytestmark = [pytest.mark.model, pytest.mark.slow]

MODEL = "small/rebase-3"
QUESTION = "What is 2 + 3?"
MESSAGES: Any = [{"role": "user", "content": QUESTION}]
BRIEF = {"spex": {"depth": 3, "step_tokens": 24, "seed": 0}}
LONG = {"spex": {"depth": 40, "width": 6, "step_tokens": 200, "path_tokens": 1500}}


@pytest.fixture
async def engine() -> EmbeddedEngine:
    return EmbeddedEngine(slots=6)


@pytest.fixture
async def running(engine: EmbeddedEngine) -> AsyncIterator[Running]:
    async with gateway(more={"small": engine}) as running:
        yield running


def chat(running: Running, body: dict[str, Any]) -> ChatOpenAI:
    return ChatOpenAI(
        base_url=f"{running.url}/v1",
        api_key=SecretStr("none"),
        model=MODEL,
        max_retries=0,
        http_async_client=httpx.AsyncClient(),
        stream_usage=True,
        extra_body=body,
    )


async def stopped(running: Running, engine: EmbeddedEngine) -> str:
    """Wait until the engine has nothing to do; return what has become of the search."""
    async with asyncio.timeout(PATIENCE):
        while running.parts.searches.runs.searches:  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.01)
    load = await engine.load()
    assert (load.running, load.waiting) == (0, 0)
    async with running.http() as http:
        (search,) = (await http.get("/v1/searches")).json()["data"]
    assert search["ledger"]["aborts"] > 0
    return str(search["state"])


async def test_both_clients_get_the_same_answer_whole_and_in_pieces(
    running: Running, engine: EmbeddedEngine
) -> None:
    asked = Request(id="count", seed=0)
    prompt = PromptTemplate().prompt(QUESTION, ())
    await engine.generate(prompt, asked, sampling=Sampling(), max_tokens=1)
    async with running.client() as client:
        whole = await client.chat.completions.create(
            model=MODEL, messages=MESSAGES, extra_body=BRIEF
        )
        content, reasoning, usage = "", "", None
        async for chunk in await client.chat.completions.create(
            model=MODEL,
            messages=MESSAGES,
            stream=True,
            stream_options={"include_usage": True},
            extra_body=BRIEF,
        ):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                content += choice.delta.content or ""
                reasoning += (choice.delta.model_extra or {}).get("reasoning_content") or ""
    message = whole.choices[0].message
    assert message.content == content != ""
    assert (message.model_extra or {})["reasoning_content"] == reasoning
    assert reasoning.startswith("[0] ")
    for told in (whole.usage, usage):
        assert told is not None
        assert told.prompt_tokens == asked.prompt_tokens
        assert told.completion_tokens > 0
        assert told.total_tokens == told.prompt_tokens + told.completion_tokens
    model = chat(running, BRIEF)
    try:
        answer = await model.ainvoke(QUESTION)
        parts = [part async for part in model.astream(QUESTION)]
    finally:
        await model.root_async_client.close()
    streamed = parts[0]
    for part in parts[1:]:
        streamed += part
    assert isinstance(streamed, AIMessageChunk)
    assert answer.content == streamed.content == content
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] == asked.prompt_tokens
    assert streamed.usage_metadata is not None
    assert streamed.usage_metadata["output_tokens"] > 0
    details = answer.usage_metadata["output_token_details"]
    assert details["reasoning"] == answer.usage_metadata["output_tokens"]


async def test_a_stream_that_openais_client_closes_leaves_the_engine_idle(
    running: Running, engine: EmbeddedEngine
) -> None:
    async with running.client() as client:
        stream = await client.chat.completions.create(
            model=MODEL, messages=MESSAGES, stream=True, extra_body=LONG
        )
        async for chunk in stream:
            if "reasoning_content" in (chunk.choices[0].delta.model_extra or {}):
                break
        await stream.close()
    assert await stopped(running, engine) == "suspended"


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_call_that_langchain_gives_up_leaves_the_engine_idle(
    running: Running, engine: EmbeddedEngine, stream: bool
) -> None:
    model = chat(running, LONG)

    async def ask() -> None:
        if not stream:
            await model.ainvoke(QUESTION)
            return
        parts: Any = model.astream(QUESTION)
        async with aclosing(parts):
            async for _ in parts:
                pass

    asking = asyncio.create_task(ask())
    async with asyncio.timeout(PATIENCE):
        while (await engine.load()).running < 3:  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.01)
    asking.cancel()
    await asyncio.wait([asking])
    await model.root_async_client.close()
    assert await stopped(running, engine) == "suspended"


async def test_what_the_clients_ask_in_vain_is_an_error_that_they_know(running: Running) -> None:
    async with running.client() as client:
        ask = client.chat.completions.create
        with pytest.raises(openai.NotFoundError, match="among spex, small"):
            await ask(model="gpt-5", messages=MESSAGES)
        too_long: Any = [{"role": "user", "content": "word " * 5000}]
        with pytest.raises(openai.BadRequestError, match="context=2048") as failed:
            await ask(model=MODEL, messages=too_long)
        assert failed.value.code == "context_length_exceeded"
        with pytest.raises(openai.APIError, match="context=2048"):
            async for _ in await ask(model=MODEL, messages=too_long, stream=True):
                pass
