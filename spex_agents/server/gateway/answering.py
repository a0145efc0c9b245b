"""Answers a request by its searches, whole or in pieces, in the form of any of OpenAI's routes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from spex_agents.server.gateway.access import Parts, errors
from spex_agents.server.gateway.completions import failure
from spex_agents.server.gateway.errors import ApiError
from spex_agents.server.gateway.keys import Key
from spex_agents.server.gateway.requests import ChatRequest
from spex_agents.server.gateway.search import Search
from spex_agents.server.gateway.streaming import EventStream, gone, while_there

SEARCH_ID = "X-Spex-Search-Id"

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}},
    **errors(400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504),
}
"""What such a route answers, for its description."""

Whole: TypeAlias = Callable[[Sequence[Search]], Awaitable[BaseModel]]
Pieces: TypeAlias = Callable[[Sequence[Search]], AsyncIterator[str]]


async def answer(
    request: Request,
    parts: Parts,
    key: Key,
    body: ChatRequest,
    *,
    idempotency: str | None,
    whole: Whole,
    pieces: Pieces,
) -> Response:
    """Search for the answers; a client that goes away suspends its searches.

    Args:
        request: As it came.
        parts: Of the gateway.
        key: Whose request.
        body: What is asked.
        idempotency: Its Idempotency-Key.
        whole: The answer of searches that are done.
        pieces: The answer of searches while they run, as server-sent events.

    Raises:
        ApiError: It is refused.
    """
    searches = await _begin(parts, key, body, idempotency)
    request.state.search = searches[0].id
    headers = {SEARCH_ID: searches[0].id}
    if body.stream:
        return EventStream(lambda: pieces(searches), attended=_attended(searches), headers=headers)

    async def all_over() -> None:
        for search in searches:
            await search.events.over()

    with _attended(searches):
        if not await while_there(request, all_over):
            return gone()
    response: Response
    if (error := next(filter(None, map(failure, searches)), None)) is not None:
        response = error.response()
    else:
        response = JSONResponse((await whole(searches)).model_dump(by_alias=True))
    response.headers.update(headers)
    return response


async def _begin(
    parts: Parts, key: Key, body: ChatRequest, idempotency: str | None
) -> list[Search]:
    most = min(key.concurrency, parts.hosting.searches)
    if (count := body.n or 1) > most:  # which no later time would let in
        raise ApiError(
            400, f"n={count}: must be at most {most}, the searches at a time of this key", param="n"
        )
    searches: list[Search] = []
    try:
        for index in range(count):
            named = idempotency if idempotency is None or not index else f"{idempotency}#{index}"
            searches.append(await parts.searches.begin(key, body, idempotency=named, index=index))
    except Exception:
        with _attended(searches):  # nobody waits for those that have begun
            pass
        raise
    return searches


@contextmanager
def _attended(searches: Sequence[Search]) -> Iterator[None]:
    with ExitStack() as stack:
        for search in searches:
            stack.enter_context(search.attended())
        yield
