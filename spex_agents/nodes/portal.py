"""The event loop of synchronous runs."""

from __future__ import annotations

import asyncio
import atexit
import os
from concurrent.futures import Future
from threading import Lock, Thread

import anyio._backends._asyncio  # noqa: F401 (else a fork may come while a search imports it)
from anyio.from_thread import BlockingPortal


def portal() -> BlockingPortal:
    """The event loop of all synchronous runs, in a thread that lives as long as the process.

    One for all, because searches on the same engine share its budget; and one that stays, because
    an engine's connections belong to the loop that opened them. A forked process has none of its
    parent's threads, and starts another.
    """
    return _the_portal.get()


class _Portal:
    def __init__(self) -> None:
        self._starting = Lock()
        self._running: tuple[BlockingPortal, Thread] | None = None

    def get(self) -> BlockingPortal:
        with self._starting:
            if self._running is None:
                started: Future[BlockingPortal] = Future()
                thread = Thread(target=_run, args=(started,), name="spex-agents", daemon=True)
                thread.start()
                self._running = started.result(), thread
            return self._running[0]

    def close(self) -> None:
        if self._running is not None:
            portal, thread = self._running
            portal.call(portal.stop, True)
            thread.join()

    def forget(self) -> None:
        """After a fork: the thread is the parent's."""
        self._starting, self._running = Lock(), None


def _run(started: Future[BlockingPortal]) -> None:
    try:
        asyncio.run(_serve(started))
    except BaseException as error:
        if started.done():
            raise
        started.set_exception(error)  # or whoever waits for the portal would wait for ever


async def _serve(started: Future[BlockingPortal]) -> None:
    async with BlockingPortal() as portal:
        started.set_result(portal)
        await portal.sleep_until_stopped()


_the_portal = _Portal()
atexit.register(_the_portal.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_the_portal.forget)
