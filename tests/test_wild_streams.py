"""Odd shapes of streams and of errors, as servers and the proxies before them send them."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from scripted_server import Answer, ScriptedServer, scripted_server
from writing import DONE, events

from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.openai.engine import OpenAIEngine
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.errors import EngineError, EngineUnavailable, PromptTooLong
from spex_agents.search.tree import Thought

PROMPT = Prompt((Message("system", "Be brief."), Message("user", "2 + 2?")))
PAGE = (
    "<html><head><title>Gone</title><style>h1 {color: red}</style></head>"
    "<body><h1>502 Bad Gateway</h1><!-- padding --><hr>nginx</body></html>"
)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with scripted_server() as server:
        yield server


def says(finish: str | None = None, **delta: object) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


FINE = events(
    says(content="It is"),
    says(content=" 4."),
    says("stop"),
    {"choices": [], "usage": {"completion_tokens": 5, "prompt_tokens": 9}},
)


async def write(server: ScriptedServer, *answers: Answer, **settings: Any) -> Thought:
    server.script.extend(answers)
    given = {"dialect": "any", "retries": 1, "retry_wait": 0, "model": "tiny", **settings}
    async with OpenAIEngine(server.url, **given) as engine:
        asked = Request(id="run/0", seed=7)
        return await engine.generate(PROMPT, asked, sampling=Sampling(top_k=0), max_tokens=8)


@pytest.mark.parametrize(
    "raw",
    [
        FINE.replace("\n", "\r\n"),
        FINE.replace("\n", "\r"),
        FINE.replace("data: ", "data:"),
        FINE.removesuffix(DONE),
        FINE.removesuffix(DONE).rstrip(),
        ": hello\n\nretry: 10\n\n" + FINE.replace("data: {", "event: message\nid: 1\ndata: {"),
        FINE.replace('"choices": [{', '"choices":\ndata: [{'),
        f"\ufeff{FINE}",
        f"data: keep-alive\n\ndata: [PING]\n\n{FINE}",
        FINE.replace("[DONE]", "[done]"),
        FINE.replace(DONE, "").replace("data: ", "").replace("\n\n", "\n"),
        FINE.replace('"index": 0', '"index": "0"'),
        FINE.replace('"completion_tokens": 5', '"completion_tokens": "5"'),
        FINE.replace('"finish_reason": null', '"finish_reason": "null"'),
    ],
    ids=[
        "crlf", "cr", "no-space", "no-done", "no-end", "fields", "several-lines", "bom", "alive",
        "done", "bare-lines", "index", "usage", "null",
    ],
)  # fmt: skip
async def test_a_stream_is_read_in_each_of_its_forms(server: ScriptedServer, raw: str) -> None:
    thought = await write(server, Answer(raw=raw))
    assert (thought.text, thought.tokens, thought.finish) == ("It is 4.", 5, "stop")
    assert len(server.bodies) == 1


async def test_a_character_that_comes_in_halves_is_whole(server: ScriptedServer) -> None:
    raw = events(says(content="It is \ud83d"), says(content="\ude00."), says("stop"))
    assert (await write(server, Answer(raw=raw))).text == "It is \U0001f600."


async def test_a_stream_may_be_compressed(server: ScriptedServer) -> None:
    headers = {"content-encoding": "gzip", "content-type": "text/event-stream"}
    body = gzip.compress(FINE.encode())
    thought = await write(server, Answer(response=Response(body, headers=headers)))
    assert thought.text == "It is 4."


@pytest.mark.parametrize(
    ("delta", "reasoning"),
    [
        ({"reasoning": "Hm."}, "Hm."),
        ({"content": "", "reasoning_content": "Hm."}, "Hm."),
        ({"thinking": "Hm."}, "Hm."),
        ({"reasoning": "Hm.", "reasoning_details": [{"text": "Hm."}]}, "Hm."),
        ({"content": "", "reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]}, "Hm."),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]}, "Hm."),
        ({"content": [{"type": "thinking", "thinking": "Hm."}]}, "Hm."),
        ({"tool_calls": [{"index": 0, "function": {"name": "add", "arguments": "{}"}}]}, ""),
    ],
    ids=["vllm", "sglang", "ollama", "openrouter", "minimax", "mistral", "anthropic", "tool"],
)
async def test_reasoning_is_read_from_every_field(
    server: ScriptedServer, delta: dict[str, Any], reasoning: str
) -> None:
    raw = events(says(**delta), says(content=[{"type": "text", "text": "It is 4."}]), says("stop"))
    thought = await write(server, Answer(raw=raw), thinking="keep")
    assert (thought.text, thought.reasoning) == ("It is 4.", reasoning)


async def test_a_refusal_is_what_the_model_says(server: ScriptedServer) -> None:
    thought = await write(server, Answer(raw=events(says(refusal="I cannot."), says("stop"))))
    assert thought.text == "I cannot."


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("COMPLETE", "stop"), ("end_turn", "stop"), ("MAX_TOKENS", "length"), ("eos", "stop")],
)
async def test_ends_have_many_names(server: ScriptedServer, reason: str, finish: str) -> None:
    thought = await write(server, Answer(raw=events(says(content="It is 4."), says(reason))))
    assert thought.finish == finish


@pytest.mark.parametrize(
    "raw",
    [
        events(says(content="It"), {"object": "error", "message": "no memory", "code": 500}),
        events(says(content="It"), end="") + '{"error": "no memory"}\n\n' + DONE,
        'event: error\ndata: {"message": "no memory"}\n\n',
        'event: error\ndata: {"type": "error", "error": {"message": "no memory"}}\n\n',
        events({"detail": "no memory"}),
        json.dumps({"error": {"message": "no memory", "code": 502}}),
        json.dumps({"error": "no memory"}, indent=1),
        json.dumps({"choices": [], "error": {"message": "no memory"}}),
        json.dumps([{"error": {"message": "no memory"}}]),
        events({"error": {"message": "no memory"}, **says("error", content="")}),
        events({"choices": [{"index": 0, "delta": {}, "error": {"message": "no memory"}}]}),
    ],
    ids=[
        "old-vllm", "ollama", "event", "anthropic", "fastapi", "openrouter", "plain", "no-choices",
        "gemini", "openrouter-late", "openrouter-choice",
    ],
)  # fmt: skip
async def test_an_error_in_place_of_a_chunk_is_told_and_tried_again(
    server: ScriptedServer, raw: str
) -> None:
    failing = Answer(raw=raw)
    with pytest.raises(EngineError, match="no memory"):
        await write(server, failing, failing)
    assert len(server.bodies) == 2
    assert (await write(server, failing)).text == "It is 4."


async def test_what_a_stream_refuses_is_learnt_from(server: ScriptedServer) -> None:
    error = {"message": "min_p is not supported", "code": 400}
    await write(server, Answer(raw=events({"error": error})), dialect="vllm")
    assert ["min_p" in body for body in server.bodies] == [True, False]


@pytest.mark.parametrize(
    ("code", "kind"),
    [("context_length_exceeded", PromptTooLong), ("insufficient_quota", EngineUnavailable)],
)
async def test_what_no_other_try_changes_is_not_tried_again_within_a_stream(
    server: ScriptedServer, code: str, kind: type[EngineError]
) -> None:
    with pytest.raises(kind, match="No more"):
        await write(server, Answer(raw=events({"error": {"message": "No more", "code": code}})))
    assert len(server.bodies) == 1


async def test_a_page_in_place_of_a_stream_is_quoted(server: ScriptedServer) -> None:
    login = Answer(response=HTMLResponse(PAGE))
    with pytest.raises(EngineError, match=r"answers no completion: '<html><head><title>Gone"):
        await write(server, login, login)


async def test_of_a_page_that_tells_an_error_the_text_is_told(server: ScriptedServer) -> None:
    page = Answer(response=HTMLResponse(PAGE, 500))
    with pytest.raises(
        EngineError, match=r"answered 500 \(Error code: 500 - 502 Bad Gateway nginx"
    ):
        await write(server, page, page)


@pytest.mark.parametrize(
    "body",
    [
        {"error": "the queue is full", "error_type": "overloaded"},
        {"detail": "the queue is full"},
        [{"error": {"code": 500, "message": "the queue is full"}}],
    ],
    ids=["tgi", "fastapi", "gemini"],
)
async def test_an_error_is_told_wherever_an_answer_has_it(
    server: ScriptedServer, body: object
) -> None:
    full = Answer(response=JSONResponse(body, 500))
    with pytest.raises(EngineError, match="the queue is full"):
        await write(server, full, full)


async def test_a_redirection_that_loses_what_was_asked_is_told(server: ScriptedServer) -> None:
    server.app.get("/v2/chat")(lambda: JSONResponse({"detail": "Method Not Allowed"}, 405))
    with pytest.raises(EngineError, match="redirects to /v2/chat: correct base_url"):
        await write(server, Answer(response=RedirectResponse("/v2/chat", 301)))


async def test_a_redirection_that_keeps_it_is_followed(server: ScriptedServer) -> None:
    again = Answer(response=RedirectResponse("/v1/chat/completions", 307))
    assert (await write(server, again)).text == "It is 4."


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, {"message": "Please check your plan", "type": "exceeded_current_quota_error"}),
        (400, {"message": "Your credit balance is too low to access the Anthropic API."}),
        (402, {"message": "Insufficient Balance"}),
        (403, {"message": "no", "code": "billing_not_active"}),
    ],
)
async def test_used_up_money_ends_a_search_at_every_host(
    server: ScriptedServer, status: int, error: dict[str, Any]
) -> None:
    with pytest.raises(EngineUnavailable, match="used up: see the provider's billing"):
        await write(server, Answer(response=JSONResponse({"error": error}, status)))
    assert len(server.bodies) == 1
