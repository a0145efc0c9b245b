"""OpenAI's chat protocol, spoken by a script: what a provider's own client is tried against."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from langchain_core.messages import AIMessage, convert_to_messages
from langchain_openai import ChatOpenAI
from pydantic import SecretStr
from scripted_server import serve

from examples.agents.models import Says


def openai_at(address: str, model: str = "gpt-5-mini") -> ChatOpenAI:
    """A client of one's own: else all clients of an address share one, loops or not."""
    return ChatOpenAI(
        base_url=address,
        api_key=SecretStr("none"),
        model=model,
        max_retries=0,
        http_async_client=httpx.AsyncClient(),
    )


@asynccontextmanager
async def provider(
    says: Says, *, heard: list[Any] | None = None, reason: str | None = None
) -> AsyncIterator[str]:
    """A server's address. To the same messages it says one thing after the other, in turn.

    Streams tell their usage where they are asked to, as OpenAI's do.

    Args:
        says: What it says.
        heard: Where the requests' bodies are put.
        reason: Why its replies end, in place of their own reason.
    """
    app = FastAPI()
    asked: Counter[str] = Counter()

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        body = await request.json()
        if heard is not None:
            heard.append(body)
        key = json.dumps(body["messages"], sort_keys=True)
        choices = says(convert_to_messages(body["messages"]))
        said = choices[asked[key] % len(choices)]
        asked[key] += 1
        why = reason or ("tool_calls" if said.tool_calls else "stop")
        if not body.get("stream"):
            return JSONResponse(_whole(said, why))
        tells = (body.get("stream_options") or {}).get("include_usage")
        return _streamed(said, why, [USAGE] if tells else [])

    async with serve(app) as address:
        yield f"{address}/v1"


USAGE = {"prompt_tokens": 60, "completion_tokens": 12, "total_tokens": 72}


def _message(said: AIMessage) -> dict[str, Any]:
    calls = [
        {
            "index": index,
            "id": call["id"],
            "type": "function",
            "function": {"name": call["name"], "arguments": json.dumps(call["args"])},
        }
        for index, call in enumerate(said.tool_calls)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": str(said.text) or None}
    return {**message, "tool_calls": calls} if calls else message


def _whole(said: AIMessage, reason: str) -> dict[str, Any]:
    choice = {"index": 0, "message": _message(said), "finish_reason": reason}
    return {**_head("chat.completion"), "choices": [choice], "usage": USAGE}


def _streamed(said: AIMessage, reason: str, usage: Sequence[Mapping[str, int]]) -> Response:
    head = _head("chat.completion.chunk")
    parts = [
        *({**head, "choices": [{"index": 0, "delta": delta}]} for delta in _deltas(said)),
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
        *({**head, "choices": [], "usage": one} for one in usage),
    ]
    events = [f"data: {json.dumps(part)}\n\n" for part in parts]
    return Response("".join([*events, "data: [DONE]\n\n"]), media_type="text/event-stream")


def _deltas(said: AIMessage) -> Iterator[dict[str, Any]]:
    """A message in pieces; of a call first its name, then its arguments."""
    whole = _message(said)
    calls = whole.pop("tool_calls", ())
    yield whole
    for call in calls:
        function = call["function"]
        yield {"tool_calls": [{**call, "function": {**function, "arguments": ""}}]}
        arguments = {"arguments": function["arguments"]}
        yield {"tool_calls": [{"index": call["index"], "function": arguments}]}


def _head(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": "gpt-5-mini"}
