"""Runs a gateway until it is told to stop, and lets its searches end first."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from spex_agents.errors import SettingsError

if TYPE_CHECKING:  # a parent of workers begins without these, which take seconds
    from fastapi import FastAPI

    from spex_agents.server.gateway.access import Parts
    from spex_agents.server.gateway.hosting import Hosting

CLOSING_SECONDS = 15
"""What clients may take, after the searches have ended, to read the rest of their answers."""

MOST_HEAD_BYTES = 65_536

IDLE_SECONDS = 75
"""How long a connection is kept without a request: longer than clients and proxies keep theirs
(httpx 5 s, load balancers 60 s), for one that both give up at a time loses the next request."""

BEAT_SECONDS = 0.5


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


class Connection(HttpToolsProtocol):
    """uvicorn's, which closes what begins no request in time, or sends its head too slowly."""

    head_seconds: float
    _late: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._late = self.loop.call_later(self.head_seconds, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._late is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._late is None:  # a further request of this connection
            self._late = self.loop.call_later(self.head_seconds, self.transport.close)

    def on_headers_complete(self) -> None:
        self._in_time()
        super().on_headers_complete()

    def _in_time(self) -> None:
        self._head_bytes = 0
        if self._late is not None:
            self._late.cancel()
            self._late = None


class Server(uvicorn.Server):
    """uvicorn, which on SIGTERM becomes unready, then drains the searches, and stops accepting.

    At first, for `Hosting.unready_seconds`, it takes requests as before: whoever asks ``/readyz``
    has the time to send the next ones elsewhere. A second signal, or SIGINT, ends that. A further
    SIGINT ends the draining: what runs still is put off.

    Args:
        app: Of `create_gateway`.
        ready: Called once requests are accepted.
    """

    def __init__(self, app: FastAPI, *, ready: Callable[[], None] | None = None) -> None:
        self._hosting: Hosting = app.state.hosting
        seconds = {"head_seconds": self._hosting.head_seconds}
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                http=type("Connection", (Connection,), seconds),
                ws="none",
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=CLOSING_SECONDS,
            )
        )
        self._app = app
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._ready is not None:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        parts: Parts | None = getattr(self._app.state, "parts", None)
        if parts is not None and sig == signal.SIGTERM and not parts.searches.runs.leaving:
            parts.searches.runs.leaving = True
            loop = asyncio.get_running_loop()  # which may be anywhere when a signal comes
            seconds = self._hosting.unready_seconds
            loop.call_soon_threadsafe(loop.call_later, seconds, self._leave, sig, frame)
            return
        self._leave(sig, frame)
        if parts is not None and self.force_exit:
            asyncio.get_running_loop().call_soon_threadsafe(parts.searches.put_off)

    def _leave(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        parts: Parts = self._app.state.parts
        await parts.searches.drain()  # first: uvicorn waits for clients, not for searches
        await super().shutdown(sockets)
        if self.force_exit:  # by which uvicorn means not to
            await self.lifespan.shutdown()


def serve(
    app: FastAPI,
    sockets: list[socket.socket],
    *,
    ready: Callable[[], None] | None = None,
    beat: Callable[[], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        app: Of `create_gateway`.
        sockets: Where requests come in; they are closed.
        ready: Called once requests are accepted.
        beat: Called by the event loop as often as it can, twice a second at most.

    Raises:
        SettingsError: The application could not be opened.
    """
    server = Server(app, ready=ready)

    async def run() -> None:
        beating = None if beat is None else asyncio.create_task(_beat(beat))
        try:
            await server.serve(sockets)
        finally:
            if beating is not None:
                beating.cancel()

    try:
        asyncio.run(run())
    except SystemExit as error:  # so uvicorn says that the application did not open
        raise getattr(app.state, "refused", error) from error
    finally:
        for listening in sockets:
            listening.close()


async def _beat(beat: Callable[[], None]) -> None:
    while True:
        beat()
        await asyncio.sleep(BEAT_SECONDS)
