"""Searches through providers' own chat models, on servers that stream as these do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from processes import PATIENCE
from pydantic import SecretStr
from scripted_server import Answer, scripted_server, serve

from spex_agents.engines import base
from spex_agents.engines.chat_model import ChatModelEngine
from spex_agents.engines.chat_requests import messages_of
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.errors import EngineError, EngineUnavailable
from spex_agents.rewards import Calculator
from spex_agents.search import Limits, Rebase
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.result import Result
from spex_agents.speculation.solving import solve

MARK = {"type": "ephemeral"}
STEPS = ("2 + 2 = 4.\nSo it is 4.", "The answer is \\boxed{4}.")
USAGE = {"input_tokens": 5, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 4}


class Messages:
    """Anthropic's endpoint: it reasons, then says a step, then the answer."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.url = ""
        self.app = FastAPI()
        self.app.post("/v1/messages")(self._answer)

    async def _answer(self, request: Request) -> Any:
        body = await request.json()
        self.bodies.append(body)
        if "temperature" in body:
            said = "temperature: may only be set to 1 when thinking is enabled."
            error = {"type": "invalid_request_error", "message": said}
            return JSONResponse({"type": "error", "error": error}, status_code=400)
        told = STEPS[len(body["messages"]) > 1]
        return StreamingResponse(self._stream(told), media_type="text/event-stream")

    async def _stream(self, text: str) -> AsyncIterator[str]:
        message: dict[str, Any] = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "content": [],
        }
        message |= {"model": "claude", "stop_reason": None, "stop_sequence": None}
        yield _event("message_start", message={**message, "usage": {**USAGE, "output_tokens": 1}})
        blocks: list[tuple[dict[str, str], dict[str, str]]] = [
            (
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": "Two, two.\nThe answer is 5."},
            ),
            ({"type": "text", "text": ""}, {"type": "text_delta", "text": text}),
        ]
        for index, (block, delta) in enumerate(blocks):
            yield _event("content_block_start", index=index, content_block=block)
            yield _event("content_block_delta", index=index, delta=delta)
            yield _event("content_block_stop", index=index)
        ended = {"stop_reason": "end_turn", "stop_sequence": None}
        yield _event("message_delta", delta=ended, usage={**USAGE, "output_tokens": 24})
        yield _event("message_stop")


def _event(kind: str, **data: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n"


@asynccontextmanager
async def anthropic() -> AsyncIterator[Messages]:
    server = Messages()
    async with serve(server.app) as address:
        server.url = address.removesuffix("/v1")
        yield server


async def search(model: Any) -> Result:
    config = SearchConfig(
        engine=ChatModelEngine(model),
        policy=Rebase(width=2),
        reward=Calculator(),
        limits=Limits(depth=3),
    )
    with anyio.fail_after(60):
        return await solve(config, "What is 2 + 2?")


def marked(turn: Mapping[str, Any]) -> bool:
    content = turn["content"]
    return isinstance(content, list) and content[-1].get("cache_control") == MARK


async def test_a_reasoning_model_of_anthropic_is_searched_by_default_and_prompts_marked() -> None:
    async with anthropic() as server:
        model = ChatAnthropic(
            model_name="claude",
            api_key=SecretStr("none"),
            base_url=server.url,
            max_retries=0,
            timeout=PATIENCE,
            stop=None,
        )
        result = await search(model)
        request = base.Request(id="run/0", seed=1)
        prompt = Prompt((Message("user", "2 + 2?"),), reply="2 + 2 = 4.")
        sampling = base.Sampling()
        await ChatModelEngine(model).generate(prompt, request, sampling=sampling, max_tokens=64)
    assert result.answer == "4"
    assert result.tree.thought((0,)).text == "2 + 2 = 4."
    assert not result.failures
    taken = [body for body in server.bodies if "temperature" not in body]
    assert 1 <= len(server.bodies) - len(taken) <= 3  # at once, and of a second engine
    for body in taken:
        assert marked(body["messages"][0])
        if len(body["messages"]) > 1:
            _, path, asking = body["messages"]
            assert (path["role"], marked(path), marked(asking)) == ("assistant", True, False)
    assert (request.prompt_tokens, request.cached_tokens) == (39, 30)
    assert 0 < result.ledger.cached_tokens < result.ledger.sent_tokens


async def test_a_host_that_says_how_long_to_wait_pauses_all_calls(
    caplog: pytest.LogCaptureFixture,
) -> None:
    later = Answer(status=429, said="Rate limit reached", headers={"retry-after-ms": "80"})
    async with scripted_server() as server:
        server.script.extend([later] * 6)  # more often than there are tries
        server.default = Answer(tokens=("The answer is \\boxed{4}.",))
        model = ChatOpenAI(
            model="gpt-5-mini", api_key=SecretStr("none"), base_url=server.url, max_retries=0
        )
        assert (await search(model)).answer == "4"
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warned == ["chat-model/gpt-5-mini limits its callers: all of its calls wait 0.08 s"]


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(401, "check the provider's key"), (404, "check the model's name"), (400, "correct the")],
)
async def test_a_refusal_says_what_to_do_and_not_to_try_again(status: int, remedy: str) -> None:
    async with scripted_server() as server:
        server.default = Answer(status=status, said="scripted")
        model = ChatOpenAI(
            model="gpt-5-mini", api_key=SecretStr("none"), base_url=server.url, max_retries=0
        )
        with pytest.raises(EngineError, match=remedy) as caught:
            await search(model)
    assert "retry_on" not in str(caught.value)


async def test_a_quota_that_is_used_up_is_not_waited_for() -> None:
    error = {"code": "insufficient_quota", "type": "insufficient_quota"}
    spent = Answer(status=429, headers={"retry-after-ms": "80"}, error_fields=error)
    async with scripted_server() as server:
        server.default = spent
        model = ChatOpenAI(
            model="gpt-5-mini", api_key=SecretStr("none"), base_url=server.url, max_retries=0
        )
        with pytest.raises(EngineUnavailable, match="limits and billing"):
            await search(model)
    assert len(server.bodies) <= 2


def test_no_more_prompts_are_marked_than_anthropic_takes() -> None:
    text = {"type": "text", "text": "See.", "cache_control": MARK}
    source = HumanMessage([text, text, text])
    prompt = Prompt((Message("user", "See.", source),), reply="So")
    assert messages_of(prompt, "Go on.", marks=True)[:2] == messages_of(prompt, "Go on.")[:2]
    plain = Prompt((Message("user", "2 + 2?"),), reply="So")
    question, path, _ = messages_of(plain, "Go on.", marks=True)
    for message, said in ((question, "2 + 2?"), (path, "So")):
        assert message.content == [{"type": "text", "text": said, "cache_control": MARK}]


async def test_a_reasoning_model_of_openai_is_searched_by_default() -> None:
    said = "Unsupported value: 'temperature' does not support 0.8 with this model."
    refuses = Answer(status=400, said=said, error_fields={"param": "temperature"})
    async with scripted_server() as server:
        server.script.append(refuses)
        server.default = Answer(tokens=("2 + 2", " = 4. ", "The answer is \\boxed{4}."))
        model = ChatOpenAI(
            model="gpt-5-mini", api_key=SecretStr("none"), base_url=server.url, max_retries=0
        )
        result = await search(model)
    assert result.answer == "4"
    assert "temperature" in server.bodies[0]
    assert any("temperature" not in body for body in server.bodies)
