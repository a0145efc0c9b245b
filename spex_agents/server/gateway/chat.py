"""OpenAI's models and chat completions: each of these is a search."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from spex_agents.server.gateway.access import Caller, Gateway, errors
from spex_agents.server.gateway.bodies import JsonRoute
from spex_agents.server.gateway.completions import Completion, chunks, completion_of, failure
from spex_agents.server.gateway.requests import ChatRequest
from spex_agents.server.gateway.streaming import EventStream, gone, while_there

SEARCH_ID = "X-Spex-Search-Id"

router = APIRouter(route_class=JsonRoute)

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


@router.get("/v1/models", responses=errors(401, 403))
async def models(_: Caller, gateway: Gateway) -> ModelList:
    """All engines and policies; any other size works as well: ``spex/rebase-8``."""
    return ModelList(
        data=[
            ModelCard(id=name, owned_by=name.partition("/")[0])
            for name in gateway.searches.catalogue.names()
        ]
    )


@router.get("/v1/models/{model:path}", responses=errors(401, 403, 404))
async def model(model: str, _: Caller, gateway: Gateway) -> ModelCard:
    """One model, if there is such an engine and policy."""
    gateway.searches.catalogue.find(model)
    return ModelCard(id=model, owned_by=model.partition("/")[0])


@router.post(
    "/v1/chat/completions",
    response_model=Completion,
    responses={
        200: {"content": {"text/event-stream": {}}},
        **errors(400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504),
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
            lambda: chunks(search, usage=usage, ping_seconds=gateway.hosting.ping_seconds),
            attended=search.attended(),
            headers=headers,
        )
    with search.attended():
        if not await while_there(request, search.events.over):
            return gone()
    if (error := failure(search)) is not None:
        response = error.response()
    else:
        response = JSONResponse((await completion_of(search)).model_dump())
    response.headers.update(headers)
    return response
