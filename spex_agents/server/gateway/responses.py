"""OpenAI's responses: the accepted thoughts are a reasoning item, the answer is a message."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import count
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from spex_agents.server.gateway.access import Caller, Gateway
from spex_agents.server.gateway.answering import ANSWERS, answer
from spex_agents.server.gateway.bodies import JsonRoute
from spex_agents.server.gateway.chat import IdempotencyKey
from spex_agents.server.gateway.completions import failure, line_of, reasoning_of
from spex_agents.server.gateway.inputs import Items, messages_in
from spex_agents.server.gateway.messages import Data, Text
from spex_agents.server.gateway.requests import ChatRequest, Count, JsonSchema, SearchChoices
from spex_agents.server.gateway.response_items import reasoning_item, said_items, saying
from spex_agents.server.gateway.search import Search
from spex_agents.server.gateway.streaming import PING, sent_event
from spex_agents.server.gateway.tools import MOST_TOOLS
from spex_agents.server.gateway.usage import usage_of

router = APIRouter(route_class=JsonRoute)


class TextFormat(BaseModel):
    type: Literal["text", "json_object", "json_schema"] = "text"
    name: Text = "answer"
    schema_: Annotated[dict[str, Any], Data] | None = Field(default=None, alias="schema")


class TextSettings(BaseModel):
    format: TextFormat = TextFormat()


class ResponseRequest(BaseModel):
    """A response; nothing is stored for later ones, so each has its whole conversation."""

    model: Text
    input: Text | Items
    instructions: Text | None = None
    stream: bool = False
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_output_tokens: Count | None = None
    text: TextSettings = TextSettings()
    tools: Annotated[list[Any], Field(max_length=MOST_TOOLS), Data] | None = None
    tool_choice: Annotated[Any, Data] = None
    parallel_tool_calls: bool | None = None
    previous_response_id: None = None
    background: Literal[False] | None = None
    spex: SearchChoices = SearchChoices()

    def as_chat(self) -> ChatRequest:
        """The same as a chat completion.

        Raises:
            ApiError: An item of the input is none of the protocol's.
        """
        kind, wanted = self.text.format.type, None
        if kind == "json_schema":
            schema = JsonSchema(name=self.text.format.name, schema=self.text.format.schema_ or {})
            wanted = {"type": kind, "json_schema": schema.model_dump(by_alias=True)}
        elif kind == "json_object":
            wanted = {"type": kind}
        return ChatRequest.model_validate(
            {
                "model": self.model,
                "messages": messages_in(self.input, self.instructions),
                "stream": self.stream,
                "temperature": self.temperature,
                "top_p": self.top_p,
                "max_completion_tokens": self.max_output_tokens,
                "response_format": wanted,
                "tools": self.tools,
                "tool_choice": self.tool_choice,
                "parallel_tool_calls": self.parallel_tool_calls,
                "spex": self.spex,
            }
        )


class ResponseObject(BaseModel):
    """OpenAI's, as far as a search has something to say."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    model: str
    output: list[dict[str, Any]]
    error: dict[str, Any] | None = None
    incomplete_details: dict[str, str] | None = None
    instructions: None = None
    metadata: dict[str, str] = {}
    parallel_tool_calls: bool = False
    temperature: float | None = None
    tool_choice: str = "none"
    tools: list[Any] = []
    top_p: float | None = None
    usage: dict[str, Any] | None = None
    spex: dict[str, Any]


@router.post(
    "/v1/responses",
    response_model=ResponseObject,
    responses=ANSWERS,
)
async def respond(
    body: ResponseRequest,
    request: Request,
    key: Caller,
    gateway: Gateway,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Search for the answer."""
    return await answer(
        request,
        gateway,
        key,
        body.as_chat(),
        idempotency=idempotency_key,
        whole=_whole,
        pieces=lambda searches: _pieces(searches[0], gateway.hosting.ping_seconds),
    )


async def _whole(searches: Sequence[Search]) -> ResponseObject:
    (search,) = searches
    thought = await reasoning_of(search)
    return _response(search, [reasoning_item(search, thought), *said_items(search)])


async def _pieces(search: Search, ping_seconds: float) -> AsyncIterator[str]:
    numbers = count()

    def event(kind: str, **data: Any) -> str:
        whole = {"type": kind, "sequence_number": next(numbers), **data}
        return sent_event(whole, event=kind)

    begun = _response(search, []).model_dump()
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    thinking = {"item_id": f"rs_{search.id}", "output_index": 0, "summary_index": 0}
    yield event("response.output_item.added", output_index=0, item=reasoning_item(search, None))
    part = {"type": "summary_text", "text": ""}
    yield event("response.reasoning_summary_part.added", **thinking, part=part)
    thought = ""
    async for told in search.events.follow(ping_seconds=ping_seconds):
        if told is None:
            yield PING
        elif told[1].get("status") == "accepted":
            thought += (line := line_of(told[1]))
            yield event("response.reasoning_summary_text.delta", **thinking, delta=line)
    if (error := failure(search)) is not None:
        failed = _response(search, []).model_copy(
            update={"status": "failed", "error": {"code": "server_error", **error.body()["error"]}}
        )
        yield event("response.failed", response=failed.model_dump())
        return
    yield event("response.reasoning_summary_text.done", **thinking, text=thought)
    whole = {"type": "summary_text", "text": thought}
    yield event("response.reasoning_summary_part.done", **thinking, part=whole)
    yield event("response.output_item.done", output_index=0, item=reasoning_item(search, thought))
    for index, item in enumerate(said_items(search), 1):
        for kind, data in saying(item):
            yield event(kind, output_index=index, **data)
    done = _response(search, [reasoning_item(search, thought), *said_items(search)])
    yield event(f"response.{done.status}", response=done.model_dump())


def _response(search: Search, output: list[dict[str, Any]]) -> ResponseObject:
    ended = search.result is not None and output
    short = ended and (search.result or {})["finish_reason"] == "length"
    usage = usage_of([search]) if ended else None
    return ResponseObject(
        id=f"resp_{search.id}",
        created_at=int(search.created),
        status="incomplete" if short else "completed" if ended else "in_progress",
        model=search.request.model,
        output=output,
        incomplete_details={"reason": "max_output_tokens"} if short else None,
        temperature=search.request.temperature,
        top_p=search.request.top_p,
        usage=None
        if usage is None
        else {
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": usage.completion_tokens},
            "total_tokens": usage.total_tokens,
        },
        spex=search.summary(),
    )
