"""Keeps bodies that are too large or too slow from the routes."""

from __future__ import annotations

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spex_agents.server.gateway.errors import ApiError


class Guard:
    """Reads a request's body within limits before anything else does.

    Args:
        app: What comes after.
        body_bytes: The largest body.
        body_seconds: Time for it to arrive.
    """

    def __init__(self, app: ASGIApp, *, body_bytes: int, body_seconds: float) -> None:
        self.app = app
        self.body_bytes = body_bytes
        self.body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
        except ApiError as error:
            response = error.response()
            response.headers["Connection"] = "close"  # the rest of the body is not read
            await response(scope, receive, send)
            return
        if body is None:
            return
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body; None if the client went away."""
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.body_bytes:
            raise self._too_large()
        parts = bytearray()
        try:
            with anyio.fail_after(self.body_seconds):
                while (message := await receive())["type"] == "http.request":
                    parts += message.get("body", b"")
                    if len(parts) > self.body_bytes:
                        raise self._too_large()
                    if not message.get("more_body", False):
                        return bytes(parts)
        except TimeoutError as error:
            raise ApiError(
                408, f"body: did not arrive in {self.body_seconds:g} s", code="body_timeout"
            ) from error
        return None

    def _too_large(self) -> ApiError:
        return ApiError(413, f"body: larger than {self.body_bytes} bytes", code="body_too_large")
