"""Keeps from the routes what is too large, too slow, or meant for somebody else."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spex_agents.server.gateway.errors import ApiError


class Guard:
    """Reads a request's body within limits before anything else does, and marks the answers.

    Answers are what their type says, to browsers too, and those with content are kept by no cache.

    Args:
        app: What comes after.
        hosts: Names by which the gateway may be addressed, if not by any: a page of a browser on
            this machine that gives its own name this machine's address would else be let in.
        body_bytes: The largest body.
        body_seconds: Time for it to arrive.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Collection[str], body_bytes: int, body_seconds: float
    ) -> None:
        self.app = app
        self.hosts = hosts
        self.body_bytes = body_bytes
        self.body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self._check_host(scope)
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

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self.app(scope, replay, marked)

    def _check_host(self, scope: Scope) -> None:
        if not self.hosts:
            return
        given = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        try:
            known = urlsplit(f"//{given}").hostname in self.hosts
        except ValueError:
            known = False
        if not known:
            raise ApiError(
                403,
                f"Host={given!r}: a gateway without keys is for {', '.join(self.hosts)} only",
                code="wrong_host",
            )

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
