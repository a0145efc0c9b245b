"""The searches themselves: begun in the background, looked at, watched, forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel
from starlette.responses import HTMLResponse, StreamingResponse

from spex_agents.server.gateway.access import Caller, Gateway, errors
from spex_agents.server.gateway.bodies import JsonRoute
from spex_agents.server.gateway.chat import IdempotencyKey
from spex_agents.server.gateway.errors import ApiError
from spex_agents.server.gateway.events import END, ENDED, Place
from spex_agents.server.gateway.requests import ChatRequest
from spex_agents.server.gateway.search import Search
from spex_agents.server.gateway.streaming import PING, EventStream, sent_event
from spex_agents.view import live_page

router = APIRouter(prefix="/v1/searches", route_class=JsonRoute)


class SearchError(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class SearchView(BaseModel):
    """A search; `answer` to `tree_sha256` are null until it is done."""

    id: str
    object: str = "search"
    created: int
    model: str
    state: str
    seconds: float
    answer: str | None
    content: str | None
    finish_reason: str | None
    stopped: str | None
    tree_sha256: str | None
    error: SearchError | None
    ledger: dict[str, int | float]


class TreeRow(BaseModel):
    id: str
    path: list[int]
    text: str
    tokens: int
    ends: bool
    reward: float | None


class WholeSearch(SearchView):
    question: str
    tree: list[TreeRow]


class SearchList(BaseModel):
    """A page, as OpenAI's lists have it: `last_id` is the next one's `after`."""

    object: str = "list"
    data: list[SearchView]
    first_id: str | None
    last_id: str | None
    has_more: bool


@router.post(
    "",
    status_code=202,
    responses=errors(400, 401, 403, 404, 408, 413, 422, 429, 503),
)
async def begin(
    body: ChatRequest,
    key: Caller,
    gateway: Gateway,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> SearchView:
    """Begin a search that runs on without a client; `stream` is passed over."""
    search = await gateway.searches.begin(key, body, idempotency=idempotency_key, background=True)
    response.headers["Location"] = f"/v1/searches/{search.id}"
    return SearchView(**search.summary())


@router.get("", responses=errors(400, 401, 403, 404))
async def latest(
    key: Caller,
    gateway: Gateway,
    *,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[str | None, Query(max_length=64)] = None,
    order: Literal["asc", "desc"] = "desc",
    before: Annotated[str | None, Query(include_in_schema=False)] = None,
) -> SearchList:
    """The key's own searches, the latest first (`desc`): a page, which may come after one."""
    if before is not None:
        raise ApiError(
            400,
            "before: pages are walked forward here: leave it out, and take `after` with the other "
            "`order`",
            param="before",
        )
    searches, more = await gateway.searches.latest(key, limit, after, ascending=order == "asc")
    data = [SearchView(**search.summary()) for search in searches]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return SearchList(data=data, first_id=first, last_id=last, has_more=more)


@router.get("/{id}", responses=errors(401, 403, 404))
async def look(id: str, key: Caller, gateway: Gateway) -> WholeSearch:  # noqa: A002 (in the path)
    """A search with its question and its committed tree."""
    search = await gateway.searches.find(key, id)
    whole = await gateway.searches.whole(search)
    return WholeSearch(**whole, question=search.request.asked.question)


@router.delete("/{id}", status_code=204, responses=errors(401, 403, 404))
async def forget(id: str, key: Caller, gateway: Gateway) -> None:  # noqa: A002 (in the path)
    """End a search if it runs, and forget it: its question, its tree and its answer."""
    await gateway.searches.forget(key, id)


@router.get(
    "/{id}/events",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/event-stream": {}}},
        204: {"description": "All has been told: do not come back."},
        **errors(400, 401, 403, 404),
    },
)
async def events(
    id: str,  # noqa: A002 (in the path)
    key: Caller,
    gateway: Gateway,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> Response:
    """What happens in a search, from its first thought on, or from the last event told.

    Watching a search does not keep it running.
    """
    search = await gateway.searches.find(key, id)
    if last_event_id == END and search.state in ENDED:
        return Response(status_code=204)
    after = Place.parse(last_event_id) if last_event_id not in (None, "", END) else Place()
    return EventStream(lambda: _events(search, after, gateway.hosting.ping_seconds))


@router.get("/{id}/view", response_class=HTMLResponse)
async def view(id: str) -> HTMLResponse:  # noqa: A002 (in the path)
    """A page that shows a search while it runs: without anything of it, so without a key.

    The page asks for the search and its events itself, with the key that its reader gives it.
    """
    page = live_page()
    headers = {
        "Content-Security-Policy": f"{page.policy}; frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(page.html, headers=headers)


async def _events(search: Search, after: Place, ping_seconds: float) -> AsyncIterator[str]:
    async for told in search.events.follow(after, ping_seconds=ping_seconds):
        if told is None:
            yield PING
            continue
        place, event = told
        identity = None if place is None else str(place)
        if event["type"] == "search" and event["state"] in ENDED:
            identity = END
        yield sent_event(event, event=event["type"], identity=identity)
