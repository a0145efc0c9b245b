"""Counts and logs every request."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spex_agents.server.gateway.metrics import Metrics

logger = logging.getLogger(__name__)

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
        status = 499  # nobody was there to answer

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
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
                        "key": scope.get("state", {}).get("key"),
                        "search": scope.get("state", {}).get("search"),
                    },
                )
