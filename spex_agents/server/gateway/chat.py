"""OpenAI's chat completions: a search's progress as reasoning, then its answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from spex_agents.server.gateway.access import Caller, Gateway, errors
from spex_agents.server.gateway.errors import ApiError
from spex_agents.server.gateway.requests import ChatRequest, asked_in
from spex_agents.server.gateway.search import Search
from spex_agents.server.gateway.searches import stopping
from spex_agents.server.gateway.streaming import PING, EventStream, gone, sent_event, while_there

SEARCH_ID = "X-Spex-Search-Id"

CHARACTERS = 4
"""Of a token, about, where the engine does not count the prompt's."""

router = APIRouter()

IdempotencyKey = Annotated[
    str | None,
    Header(
        max_length=255,
        description="A request with the same key and body is the same search: what is known of it "
        "is told at once, and a suspended one goes on where it was.",
    ),
]


class ModelCard(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelCard]


class AssistantMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    reasoning_content: str
    refusal: None = None


class Choice(BaseModel):
    index: int = 0
    message: AssistantMessage
    finish_reason: Literal["stop", "length"]
    logprobs: None = None


class PromptDetails(BaseModel):
    estimated: bool = Field(
        default=False, description="The engine does not count them: a token for four characters."
    )


class CompletionDetails(BaseModel):
    reasoning_tokens: int
    accepted_prediction_tokens: int = Field(description="Begun early, and asked for later.")
    rejected_prediction_tokens: int = Field(
        description="Decoded for nothing; not among the completion's."
    )


class Usage(BaseModel):
    """OpenAI's: the question's prompt, once, and all tokens that the search took."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


class Completion(BaseModel):
    """OpenAI's, and under `spex` what else is known of the search."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    spex: dict[str, Any]


@router.get("/v1/models", responses=errors(401))
async def models(_: Caller, gateway: Gateway) -> ModelList:
    """All engines and policies; any other size works as well: ``spex/rebase-8``."""
    return ModelList(
        data=[
            ModelCard(id=name, owned_by=name.partition("/")[0])
            for name in gateway.searches.catalogue.names()
        ]
    )


@router.get("/v1/models/{model:path}", responses=errors(401, 404))
async def model(model: str, _: Caller, gateway: Gateway) -> ModelCard:
    """One model, if there is such an engine and policy."""
    gateway.searches.catalogue.find(model)
    return ModelCard(id=model, owned_by=model.partition("/")[0])


@router.post(
    "/v1/chat/completions",
    response_model=Completion,
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
        **errors(400, 401, 404, 408, 413, 422, 429, 500, 502, 503, 504),
    },
)
async def complete(
    body: ChatRequest,
    request: Request,
    key: Caller,
    gateway: Gateway,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Search for the answer; a client that goes away suspends the search."""
    search = await gateway.searches.begin(key, body, idempotency=idempotency_key)
    request.state.search = search.id
    headers = {SEARCH_ID: search.id}
    if body.stream:
        usage = body.stream_options is not None and body.stream_options.include_usage
        return EventStream(
            lambda: _chunks(search, usage=usage, ping_seconds=gateway.hosting.ping_seconds),
            attended=search.attended(),
            headers=headers,
        )
    with search.attended():
        if not await while_there(request, search.over):
            return gone()
    if (error := failure(search)) is not None:
        response = error.response()
    else:
        response = JSONResponse(await _completion(search))
    response.headers.update(headers)
    return response


def failure(search: Search) -> ApiError | None:
    """What a client is told of a search that does not run any more and has no answer."""
    if search.state == "suspended":
        return stopping()
    return search.error


async def _completion(search: Search) -> dict[str, Any]:
    result = search.result or {}
    reasoning = [
        _line(told[1])
        async for told in search.events(ping_seconds=60)
        if told is not None and told[1].get("status") == "accepted"
    ]
    return Completion(
        id=f"chatcmpl-{search.id}",
        created=int(search.created),
        model=search.request.model,
        choices=[
            Choice(
                message=AssistantMessage(
                    content=result["content"], reasoning_content="".join(reasoning)
                ),
                finish_reason=result["finish_reason"],
            )
        ],
        usage=usage_of(search),
        spex=search.summary(),
    ).model_dump()


async def _chunks(search: Search, *, usage: bool, ping_seconds: float) -> AsyncIterator[str]:
    def chunk(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        whole = {
            "id": f"chatcmpl-{search.id}",
            "object": "chat.completion.chunk",
            "created": int(search.created),
            "model": search.request.model,
            "choices": [] if delta is None else [choice],
            **({"usage": None} if usage else {}),
            **more,
        }
        return sent_event(whole)

    yield chunk({"role": "assistant", "content": ""})
    async for told in search.events(ping_seconds=ping_seconds):
        if told is None:
            yield PING
        elif told[1].get("status") == "accepted":
            yield chunk({"reasoning_content": _line(told[1])})
    if (error := failure(search)) is not None:
        yield sent_event(error.body())
        return
    result = search.result or {}
    yield chunk({"content": result["content"]})
    yield chunk({}, result["finish_reason"], spex=search.summary())
    if usage:
        yield chunk(None, usage=usage_of(search).model_dump())
    yield sent_event("[DONE]")


def usage_of(search: Search) -> Usage:
    """What a search has cost, as OpenAI tells it."""
    spent = search.spent
    asked = asked_in(search.request.messages)
    prompt, details = spent.prompt_tokens, PromptDetails()
    if not prompt:
        text = "".join(turn.content for turn in asked.template.prompt(asked.question, ()).messages)
        prompt, details = -(-len(text) // CHARACTERS), PromptDetails(estimated=True)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=spent.useful_tokens,
        total_tokens=prompt + spent.useful_tokens,
        prompt_tokens_details=details,
        completion_tokens_details=CompletionDetails(
            reasoning_tokens=spent.useful_tokens,
            accepted_prediction_tokens=spent.hit_tokens,
            rejected_prediction_tokens=spent.wasted_tokens,
        ),
    )


def _line(event: Any) -> str:
    return f"[{event['id']}] {event['text']}\n"
