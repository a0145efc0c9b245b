"""Streams as servers send them in the wild, replayed."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from scripted_server import Answer, ScriptedServer, scripted_server
from writing import events

from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.openai.dialects import OPENAI
from spex_agents.engines.openai.engine import OpenAIEngine
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.errors import EngineError
from spex_agents.search.tree import Thought

PROMPT = Prompt((Message("user", "2 + 2?"),))


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with scripted_server() as server:
        yield server


def said(text: object, **rest: object) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, **rest}]}


FINISH = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
TEXT = (said("It is"), said(" 4."))


async def write(
    server: ScriptedServer, *answers: Answer, asked: Request | None = None, **settings: Any
) -> Thought:
    server.script.extend(answers)
    logprobs = settings.pop("logprobs", False)
    sampling = Sampling(stop=("\n",), top_k=0, logprobs=logprobs)
    given = {"dialect": OPENAI, "retries": 0, **settings}
    async with OpenAIEngine(server.url, model="tiny", **given) as engine:
        return await engine.generate(
            PROMPT, asked or Request(id="run/0", seed=7), sampling=sampling, max_tokens=8
        )


@pytest.mark.parametrize(
    ("chunks", "tokens"),
    [
        ((*TEXT, {**FINISH, "usage": None}), 2),
        ((*TEXT, {**FINISH, "usage": {}}), 2),
        ((*TEXT, {**FINISH, "usage": {"completion_tokens": None}}), 2),
        ((*TEXT, {**FINISH, "usage": {"prompt_tokens": 3}}), 2),
        ((*TEXT, {**FINISH, "usage": {"completion_tokens": 4}}), 4),
        ((None, *TEXT, FINISH), 2),
        (({}, *TEXT, FINISH), 2),
        (({"choices": None}, *TEXT, FINISH), 2),
        (({"choices": []}, *TEXT, FINISH), 2),
        (({"choices": [None]}, *TEXT, FINISH), 2),
        (({"choices": [{"delta": None}]}, *TEXT, FINISH), 2),
        ((said(None), said(""), *TEXT, FINISH), 2),
        (("ok", 3, *TEXT, FINISH), 2),
        ((*TEXT, FINISH, {"choices": [], "usage": {"completion_tokens": 5}}), 5),
        ((said([{"type": "text", "text": "It is 4."}]), FINISH), 1),
    ],
    ids=lambda it: None if isinstance(it, int) else json.dumps(it)[:60],
)
async def test_a_stream_of_that_shape_is_read(
    server: ScriptedServer, chunks: tuple[object, ...], tokens: int
) -> None:
    thought = await write(server, Answer(raw=events(*chunks)))
    assert (thought.text, thought.tokens, thought.ends) == ("It is 4.", tokens, True)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        *((word, "stop") for word in ("stop", "STOP", "eos_token", "end_turn", "stop_sequence")),
        *((word, "length") for word in ("length", "max_tokens", "MAX_TOKENS", "model_length")),
    ],
)
async def test_a_finish_reason_means_what_the_server_means(
    server: ScriptedServer, reason: str, finish: str
) -> None:
    thought = await write(server, Answer(raw=events(*TEXT, said("", finish_reason=reason))))
    assert thought.finish == finish


@pytest.mark.parametrize("reason", ["error", "insufficient_system_resource"])
async def test_a_finish_that_is_the_servers_failure_is_tried_again(
    server: ScriptedServer, reason: str
) -> None:
    failed = Answer(raw=events(*TEXT, said("", finish_reason=reason)))
    asked = Request(id="run/0", seed=7)
    thought = await write(server, failed, asked=asked, retries=1, retry_wait=0)
    assert (thought.text, asked.tokens) == ("It is 4.", 6)


@pytest.mark.parametrize("begun", ["", events(*TEXT, end="")], ids=["none", "two"])
async def test_comments_are_no_tokens(server: ScriptedServer, begun: str) -> None:
    silent = Answer(raw=begun or ": processing\n\n", then="comments")
    with pytest.raises(EngineError, match=r"no token came in 0\.(5|02) s.*raise timeout="):
        await write(server, silent, timeout=0.5 if not begun else 60, token_timeout=0.02)
    await server.until_live(0)


async def test_tokens_that_keep_coming_have_no_time_limit(server: ScriptedServer) -> None:
    comments = ": keep-alive\n\n" * 3
    body = "".join(comments + events(said("a"), end="") for _ in range(4))
    thought = await write(server, Answer(raw=body + events(FINISH)))
    assert thought.text == "aaaa"


async def test_a_server_that_ignores_the_cap_is_cut_off(server: ScriptedServer) -> None:
    endless = Answer(tokens=("go",) * 50, then="hang")
    thought = await write(server, endless)
    assert (thought.text, thought.finish) == ("go" * 8, "length")
    await server.until_live(0)


async def test_a_token_without_log_probability_is_left_out_of_them(server: ScriptedServer) -> None:
    def entry(token: str, logprob: float | None) -> dict[str, Any]:
        return {"content": [{"token": token, "logprob": logprob, "top_logprobs": None}]}

    chunks = (
        said("It", logprobs=entry("It", -0.5)),
        said(" is", logprobs=entry(" is", None)),
        said(" 4", logprobs=None),
        said(".", logprobs=entry(".", -1)),
    )
    thought = await write(server, Answer(raw=events(*chunks, FINISH)), logprobs=True)
    assert thought.logprobs == (-0.5, -1.0)


async def test_a_body_that_lingers_after_its_end_is_not_waited_for(server: ScriptedServer) -> None:
    thought = await write(server, Answer(raw=events(*TEXT, FINISH), then="hang"))
    assert thought.text == "It is 4."
    await server.until_live(0)


async def test_an_end_without_done_is_waited_for_shortly(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spex_agents.engines.openai.stream.LINGER_SECONDS", 0.02)
    for then in ("hang", "comments"):
        answer = Answer(raw=events(*TEXT, FINISH, end=""), then=then)
        assert (await write(server, answer)).text == "It is 4."


async def test_a_plain_answer_in_place_of_a_stream_is_read(server: ScriptedServer) -> None:
    message = {"role": "assistant", "content": "It is 4."}
    answer = {
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"completion_tokens": 5, "prompt_tokens": 9},
    }
    for raw in (json.dumps(answer), json.dumps(answer, indent=2)):
        asked = Request(id="run/0", seed=7)
        thought = await write(server, Answer(raw=raw), asked=asked)
        assert (thought.text, thought.tokens, thought.ends) == ("It is 4.", 5, True)
        assert (asked.tokens, asked.prompt_tokens) == (5, 9)


async def test_a_text_with_foreign_line_separators_is_whole(server: ScriptedServer) -> None:
    chunk = json.dumps(said("one\u2028two\x85three"), ensure_ascii=False)
    thought = await write(server, Answer(raw=f"data: {chunk}\r\n\r\n" + events(FINISH)))
    assert thought.text == "one\u2028two\x85three"


async def test_an_error_that_is_a_mere_text_is_told(server: ScriptedServer) -> None:
    raw = events({"error": "out of memory"})
    with pytest.raises(EngineError, match="out of memory"):
        await write(server, Answer(raw=raw))


async def test_nothing_of_the_environment_reaches_a_server(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "leaked")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Team: leaked")
    with caplog.at_level(logging.INFO):
        await write(server, Answer(), api_key="secret")
    (headers,) = server.headers
    assert headers["authorization"] == "Bearer secret"
    assert "leaked" not in str(headers)
    assert "secret" not in caplog.text
