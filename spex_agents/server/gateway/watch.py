"""Counts and logs every request."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spex_agents.server.gateway.errors import explain, stopping
from spex_agents.server.gateway.metrics import Metrics

logger = logging.getLogger(__name__)

NOBODY = 499
"""Of requests whose client went before it was answered; nginx's, for the log."""

STATE = ("key", "search", "client", "request_id")

QUIET = ("/healthz", "/readyz", "/metrics")


class Watch:
    """Around all else.

    Args:
        app: What comes after.
        metrics: Asked for at each request: there are none before the application is open.
    """

    def __init__(self, app: ASGIApp, *, metrics: Callable[[], Metrics]) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.monotonic()
        status = NOBODY

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            try:
                await self.app(scope, receive, watched)
            except asyncio.CancelledError:  # the gateway stops, and has waited long enough
                if status == NOBODY:
                    idempotent = "idempotency-key" in Headers(scope=scope)
                    error = stopping(idempotent=idempotent)
                    await error.response()(scope, receive, watched)
                raise
            except Exception as error:
                logger.exception("unforeseen")
                if status != NOBODY:
                    raise  # the answer has begun: all that is left is to break it off
                await explain(error).response()(scope, receive, watched)
        finally:
            seconds = time.monotonic() - began
            route = getattr(scope.get("route"), "path", "none")
            self.metrics().answered(route, status, seconds)
            if route not in QUIET:
                logger.info(
                    "request",
                    extra={
                        "method": scope["method"],
                        "route": route,
                        "status": status,
                        "seconds": round(seconds, 3),
                        **{name: scope.get("state", {}).get(name) for name in STATE},
                    },
                )
