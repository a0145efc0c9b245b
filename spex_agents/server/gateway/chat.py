"""OpenAI's models and chat completions: each of these is a search."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Request
from fastapi.responses import Response
from pydantic import BaseModel

from spex_agents.server.gateway.access import Caller, Gateway, errors
from spex_agents.server.gateway.answering import ANSWERS, answer
from spex_agents.server.gateway.bodies import JsonRoute
from spex_agents.server.gateway.completions import Completion, chunks, completion_of
from spex_agents.server.gateway.requests import ChatRequest
from spex_agents.server.gateway.search import Search

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
    responses=ANSWERS,
)
async def complete(
    body: ChatRequest,
    request: Request,
    key: Caller,
    gateway: Gateway,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Search for the answer; a client that goes away suspends the search."""
    hosting = gateway.hosting

    def pieces(searches: Sequence[Search]) -> AsyncIterator[str]:
        progress = body.spex.progress
        return chunks(
            searches,
            usage=body.stream_options is not None and body.stream_options.include_usage,
            progress=hosting.progress if progress is None else progress,
            ping_seconds=hosting.ping_seconds,
        )

    return await answer(
        request,
        gateway,
        key,
        body,
        idempotency=idempotency_key,
        whole=completion_of,
        pieces=pieces,
    )
