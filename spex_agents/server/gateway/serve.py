"""Runs a gateway until it is told to stop, and lets its searches end first."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from spex_agents.errors import SettingsError
from spex_agents.server.gateway.access import Parts

CLOSING_SECONDS = 15.0
"""What clients may take, after the searches have ended, to read the rest of their answers."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at a port; 0 for a free one.

    Raises:
        SettingsError: It is taken, or not allowed.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise SettingsError(f"host={host!r}, port={port}: cannot listen: {error}") from error


class Server(uvicorn.Server):
    """uvicorn, which on a signal stops accepting at once and drains the searches.

    Args:
        app: Of `create_gateway`.
        drain_seconds: Time for the searches to end.
        ready: Called once requests are accepted.
    """

    def __init__(
        self, app: FastAPI, *, drain_seconds: float, ready: Callable[[], None] | None = None
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=round(drain_seconds + CLOSING_SECONDS),
            )
        )
        self._app = app
        self._ready = ready
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._ready is not None:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        parts: Parts | None = getattr(self._app.state, "parts", None)
        if parts is not None:
            parts.searches.runs.draining = True
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        parts: Parts = self._app.state.parts
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(parts.searches.runs.drain())  # so the clients' streams end, too
            await super().shutdown(sockets)


def serve(
    app: FastAPI,
    sockets: list[socket.socket],
    *,
    drain_seconds: float,
    ready: Callable[[], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        SettingsError: The application could not be opened.
    """
    server = Server(app, drain_seconds=drain_seconds, ready=ready)
    try:
        asyncio.run(server.serve(sockets))
    except SystemExit as error:  # so uvicorn says that the application did not open
        raise getattr(app.state, "refused", error) from error
    finally:
        for listening in sockets:
            listening.close()
