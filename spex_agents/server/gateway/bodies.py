"""Bodies of requests: how much structure they may have, and who reads those that are large."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine
from typing import Any

from anyio.to_thread import run_sync
from fastapi import Request, Response
from fastapi.routing import APIRoute

from spex_agents.server.gateway.errors import ApiError

LARGE = 64 * 1024
"""Bytes from which on a body is looked at in a thread, not in the loop of all the others."""

MOST_DEPTH = 64
MOST_ITEMS = 50_000

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def check_structure(body: bytes) -> None:
    """Refuse JSON that is cheap to send and dear to parse; what is no JSON is left to the parser.

    Raises:
        ApiError: It is nested too deeply, or has too many items.

    Example:
        >>> check_structure(b'{"messages": [{"role": "user", "content": "[[[["}]}')
        >>> check_structure(b"[" * 100)
        Traceback (most recent call last):
        spex_agents.server.gateway.errors.ApiError: body: nested deeper than 64 levels
    """
    strings = body.count(b'"') - body.count(b'\\"')
    if strings > 4 * MOST_ITEMS:
        raise _too_many()
    bare = _STRING.sub(b"", body)
    if bare.count(b",") + bare.count(b"[") + bare.count(b"{") > MOST_ITEMS:
        raise _too_many()
    depth = 0
    for bracket in bare.translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > MOST_DEPTH:
            raise ApiError(
                400, f"body: nested deeper than {MOST_DEPTH} levels", code="body_too_deep"
            )


def _too_many() -> ApiError:
    return ApiError(
        400, f"body: has more than {MOST_ITEMS} items in its lists", code="body_too_long"
    )


class _JsonRequest(Request):
    async def json(self) -> Any:
        body = await self.body()
        return await run_sync(json.loads, body) if len(body) > LARGE else json.loads(body)


class JsonRoute(APIRoute):
    """A route whose large bodies are parsed in a thread."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As FastAPI has it, but for the request's class."""
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return handler
