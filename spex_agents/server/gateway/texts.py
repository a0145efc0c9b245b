"""OpenAI's older completions: a prompt is a question, and its answer a text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from spex_agents.server.gateway.access import Caller, Gateway
from spex_agents.server.gateway.answering import ANSWERS, answer
from spex_agents.server.gateway.bodies import JsonRoute
from spex_agents.server.gateway.chat import IdempotencyKey
from spex_agents.server.gateway.completions import failure
from spex_agents.server.gateway.messages import ChatMessage, Text
from spex_agents.server.gateway.requests import (
    MOST_CHOICES,
    MOST_STOPS,
    ChatRequest,
    Count,
    SearchChoices,
    Seed,
    StreamOptions,
)
from spex_agents.server.gateway.search import Search
from spex_agents.server.gateway.streaming import PING, sent_event
from spex_agents.server.gateway.usage import Usage, usage_of

router = APIRouter(route_class=JsonRoute)


class TextRequest(BaseModel):
    """A completion: one prompt, as text."""

    model: Text
    prompt: Text | Annotated[list[Text], Field(min_length=1, max_length=1)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: Seed | None = None
    max_tokens: Count | None = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    stop: Text | Annotated[list[Text], Field(max_length=MOST_STOPS)] | None = None
    spex: SearchChoices = SearchChoices()

    def as_chat(self) -> ChatRequest:
        """The same as a chat completion."""
        prompt = self.prompt if isinstance(self.prompt, str) else self.prompt[0]
        same = {name: getattr(self, name) for name in type(self).model_fields if name != "prompt"}
        return ChatRequest(messages=[ChatMessage(role="user", content=prompt)], **same)


class TextChoice(BaseModel):
    text: str
    index: int
    logprobs: None = None
    finish_reason: Literal["stop", "length"]


class TextCompletion(BaseModel):
    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage
    spex: dict[str, Any]


@router.post(
    "/v1/completions",
    response_model=TextCompletion,
    responses=ANSWERS,
)
async def complete(
    body: TextRequest,
    request: Request,
    key: Caller,
    gateway: Gateway,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Search for the answer to a prompt."""
    usage = body.stream_options is not None and body.stream_options.include_usage
    return await answer(
        request,
        gateway,
        key,
        body.as_chat(),
        idempotency=idempotency_key,
        whole=_whole,
        pieces=lambda searches: _pieces(searches, usage, gateway.hosting.ping_seconds),
    )


async def _whole(searches: Sequence[Search]) -> TextCompletion:
    return TextCompletion(
        **_head(searches),
        choices=[
            TextChoice(
                index=index,
                text=search.content,
                finish_reason=(search.result or {})["finish_reason"],
            )
            for index, search in enumerate(searches)
        ],
        usage=usage_of(searches),
        spex=searches[0].summary(),
    )


async def _pieces(
    searches: Sequence[Search], usage: bool, ping_seconds: float
) -> AsyncIterator[str]:
    for index, search in enumerate(searches):
        async for told in search.events.follow(ping_seconds=ping_seconds):
            if told is None:
                yield PING
        if (error := failure(search)) is not None:
            yield sent_event(error.body())
            return
        finish = (search.result or {})["finish_reason"]
        choice = TextChoice(index=index, text=search.content, finish_reason=finish)
        more = {"usage": None} if usage else {}
        yield sent_event({**_head(searches), "choices": [choice.model_dump()], **more})
    if usage:
        told_usage = usage_of(searches).model_dump()
        yield sent_event({**_head(searches), "choices": [], "usage": told_usage})
    yield sent_event("[DONE]")


def _head(searches: Sequence[Search]) -> dict[str, Any]:
    first = searches[0]
    return {
        "id": f"cmpl-{first.id}",
        "object": "text_completion",
        "created": int(first.created),
        "model": first.request.model,
    }
