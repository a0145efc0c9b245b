"""Keeps from the routes who has no key, and what is too large, too slow or too deep."""

from __future__ import annotations

from collections.abc import Callable, Collection
from ipaddress import ip_address
from urllib.parse import urlsplit
from uuid import uuid4

import anyio
from anyio.to_thread import run_sync
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spex_agents.server.gateway.bodies import LARGE, check_structure
from spex_agents.server.gateway.errors import ApiError
from spex_agents.server.gateway.keyring import Keyring
from spex_agents.server.gateway.offences import Offences

REQUEST_ID = "X-Request-Id"

_OPEN = ("/healthz", "/readyz", "/openapi.json")
_METHODS = "GET, HEAD, POST, DELETE, OPTIONS"
_DROPPED = 4_000_000
"""Bytes beyond the largest body that are read and dropped: who is cut off while sending may not get
to read why."""
_SHOWN = 100
"""Characters of a header that an error tells again."""
_OFFENCES = (400, 401, 403, 408, 413)


class Guard:
    """Checks the key, then the head, then the body, before anything is parsed; marks the answers.

    Answers are what their type says, to browsers too, and those with content are kept by no cache.
    Each has an id, the client's own if it sent one. A HEAD is answered as the GET would be.

    Args:
        app: What comes after.
        keys: Whose requests are let in; asked for at each request: there are none before the
            application is open.
        open_paths: Further paths that need no key.
        hosts: Names by which a gateway that asks for no key may be addressed, if not by any: a page
            of a browser on this machine that gives its own name this machine's address would else
            be let in.
        body_bytes: The largest body.
        body_seconds: Time for it to arrive.
        offences: Where refused requests are counted, and those of who sends many delayed.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Callable[[], Keyring],
        open_paths: Collection[str],
        hosts: Collection[str],
        body_bytes: int,
        body_seconds: float,
        offences: Offences,
    ) -> None:
        self.app = app
        self.keys = keys
        self.open_paths = (*_OPEN, *open_paths)
        self.hosts = hosts
        self.body_bytes = body_bytes
        self.body_seconds = body_seconds
        self.offences = offences

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        headers = Headers(scope=scope)
        state["request_id"] = _request_id(headers)
        state["client"] = client = _client(scope)

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] in _OFFENCES and await self.offences.slow_down(client):
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
                found = MutableHeaders(scope=message)
                found[REQUEST_ID] = state["request_id"]
                found["X-Content-Type-Options"] = "nosniff"
                found.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self._check_head(scope, headers)
            if scope["method"] == "OPTIONS":
                await Response(status_code=204, headers={"Allow": _METHODS})(scope, receive, marked)
                return
            body = await self._read(receive)
            if body is None:
                return
            if len(body) > LARGE:
                await run_sync(check_structure, body)
            else:
                check_structure(body)
        except ApiError as error:
            response = error.response()
            response.headers["Connection"] = "close"  # the rest of the body is not read
            await response(scope, receive, marked)
            return
        given = False
        answered = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return {"type": "http.disconnect"} if answered else await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def head_alone(message: Message) -> None:
            nonlocal answered
            if not answered:
                await marked(message)
            answered = True

        if scope["method"] == "HEAD":
            await self.app({**scope, "method": "GET"}, replay, head_alone)
            await send({"type": "http.response.body"})
        else:
            await self.app(scope, replay, marked)

    async def _check_head(self, scope: Scope, headers: Headers) -> None:
        """The key, then the head."""
        self._check_host(headers.get("host", ""))
        if scope["method"] == "OPTIONS":
            return
        path = scope["path"]
        page = path.startswith("/v1/searches/") and path.endswith("/view")
        if path not in self.open_paths and not page:
            key = await self.keys().find(headers.get("authorization"))
            scope["state"]["caller"] = key
            scope["state"]["key"] = key.name
        declared = headers.get("content-length", "0")
        most = self.body_bytes + (0 if "expect" in headers else _DROPPED)
        if declared.isdigit() and int(declared) > most:
            raise self._too_large()

    def _check_host(self, given: str) -> None:
        if not self.hosts or not self.keys().open:
            return
        try:
            known = urlsplit(f"//{given}").hostname in self.hosts
        except ValueError:
            known = False
        if not known:
            raise ApiError(
                403,
                f"Host={given[:_SHOWN]!r}: a gateway without keys is for "
                f"{', '.join(self.hosts)} only",
                code="wrong_host",
            )

    async def _read(self, receive: Receive) -> bytes | None:
        """The body; None if the client went away."""
        parts = bytearray()
        size = 0
        try:
            with anyio.fail_after(self.body_seconds):
                while (message := await receive())["type"] == "http.request":
                    size += len(message.get("body", b""))
                    over = not message.get("more_body", False)
                    if size > self.body_bytes + (0 if over else _DROPPED):
                        raise self._too_large()
                    if size <= self.body_bytes:
                        parts += message.get("body", b"")
                    if over:
                        return bytes(parts)
        except TimeoutError as error:
            raise ApiError(
                408, f"body: did not arrive in {self.body_seconds:g} s", code="body_timeout"
            ) from error
        return None

    def _too_large(self) -> ApiError:
        return ApiError(413, f"body: larger than {self.body_bytes} bytes", code="body_too_large")


def _client(scope: Scope) -> str:
    """The address that a request comes from; who is trusted to forward it may say anything."""
    given: str = (scope.get("client") or ("", 0))[0]
    try:
        return str(ip_address(given.partition("%")[0]))  # a zone may be any text
    except ValueError:
        return "unknown"


def _request_id(headers: Headers) -> str:
    given = headers.get(REQUEST_ID, "")
    known = 0 < len(given) <= 128 and given.isascii() and given.isprintable()
    return given if known else f"req_{uuid4().hex}"
