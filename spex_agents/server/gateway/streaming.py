"""Answers that come in pieces, and clients that go away before the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, aclosing, nullcontext
from json import dumps
from typing import Any

import anyio
from fastapi import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

PING = ": ping\n\n"


def sent_event(data: Any, *, event: str | None = None, identity: str | None = None) -> str:
    r"""A server-sent event.

    Example:
        >>> sent_event({"reward": 0.5}, identity="1.1")
        'id: 1.1\ndata: {"reward":0.5}\n\n'
    """
    text = data if isinstance(data, str) else dumps(data, separators=(",", ":"))
    head = "" if identity is None else f"id: {identity}\n"
    head += "" if event is None else f"event: {event}\n"
    return f"{head}data: {text}\n\n"


class EventStream(StreamingResponse):
    """Server-sent events, until they end or the client goes away, whichever is first.

    A client that has gone is noticed at once, not with the next event: Starlette's own response
    would wait for that.

    Args:
        events: Made anew; closed when the client goes.
        attended: Entered while the client is there.
        headers: Of the response.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: Callable[[], AsyncIterator[str]],
        *,
        attended: AbstractContextManager[None] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self._events = events
        self._attended = attended or nullcontext()
        quiet = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(_nothing(), headers={**quiet, **(headers or {})})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def stream() -> None:
            events: Any = self._events()
            async with aclosing(events):
                self.body_iterator = events
                await self.stream_response(send)

        with self._attended:
            await _while_there(receive, stream)


async def _nothing() -> AsyncIterator[str]:
    return
    yield


async def while_there(request: Request, work: Callable[[], Awaitable[None]]) -> bool:
    """Do `work` as long as the client is there; return whether it was to the end."""
    return await _while_there(request.receive, work)


async def _while_there(receive: Receive, work: Callable[[], Awaitable[None]]) -> bool:
    done = False
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        try:
            await work()
            done = True
        except OSError:  # the connection broke while something was sent
            pass
        tasks.cancel_scope.cancel()
    return done


def gone() -> Response:
    """For a client that is not there any more; the status is nginx's, for the log."""
    return Response(status_code=499)
