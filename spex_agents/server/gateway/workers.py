"""A gateway of several processes on one machine: one address, one database, a core for each."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.sharedctypes import RawValue
from socket import socket
from types import FrameType
from typing import TYPE_CHECKING, Any

from prometheus_client.multiprocess import mark_process_dead

from spex_agents.errors import SettingsError, SpexError
from spex_agents.server.gateway.logs import log_to_stderr
from spex_agents.server.gateway.metrics import TOGETHER
from spex_agents.server.gateway.serve import serve

if TYPE_CHECKING:
    from fastapi import FastAPI

logger = logging.getLogger(__name__)

RESTART_SECONDS = 1.0
"""How long a worker that has died is missed at least: one that cannot live shall cost little."""

SILENCE_SECONDS = 30.0
"""How long the event loop of a worker may stand still until it is killed."""

START_SECONDS = 180.0
"""The same of one that has not begun: it loads its modules first."""

LOOK_SECONDS = 1.0

_SPAWN = get_context("spawn")
_STOP = (signal.SIGTERM, signal.SIGINT)


class Workers:
    """Processes that serve at one socket until SIGTERM or SIGINT, which each of them gets.

    One that dies is replaced; its searches are gone on with by the others, as those of any gateway
    on the same database. One whose event loop stands still is killed first. If their parent dies,
    they stop as if it had been told to.

    Args:
        make_app: Makes the application, in each of them; can be pickled.
        listening: Where requests come in; it is closed.
        number: How many.
        log_prompts: As of `log_to_stderr`.
    """

    def __init__(
        self,
        make_app: Callable[[], FastAPI],
        listening: socket,
        *,
        number: int,
        log_prompts: bool,
    ) -> None:
        self._make_app = make_app
        self._listening = listening
        self._number = number
        self._log_prompts = log_prompts
        self._alive: dict[Any, Connection] = {}
        self._pulses: dict[Any, _Pulse] = {}
        self._beginning: set[Any] = set()
        self._woken, self._wake = _SPAWN.Pipe(duplex=False)
        self._stopping = False
        self._refused: str | None = None

    def serve(self, *, ready: Callable[[], None]) -> None:
        """Serve, and call `ready` once all of them take requests.

        Raises:
            SettingsError: The application could not be opened.
        """
        before = {one: signal.signal(one, self._stop) for one in _STOP}
        with tempfile.TemporaryDirectory(prefix="spex-metrics-") as together:
            os.environ[TOGETHER] = together
            try:
                self._serve(ready, together)
            finally:
                del os.environ[TOGETHER]
                self._listening.close()
                for one, handler in before.items():
                    signal.signal(one, handler)
        if self._refused is not None:
            raise SettingsError(self._refused)

    def _serve(self, ready: Callable[[], None], together: str) -> None:
        for _ in range(self._number):
            self._begin()
        begun = False
        while self._alive:
            sentinels = (one.sentinel for one in self._alive)
            found = wait([self._woken, *sentinels, *self._told()], timeout=LOOK_SECONDS)
            if self._woken in found:
                self._woken.recv()
            for process in [one for one in self._beginning if self._alive[one] in found]:
                self._hear(process, begun=begun)
            if not (begun or self._beginning or self._stopping):
                begun = True
                ready()
            for process in [one for one in self._alive if one.sentinel in found]:
                self._end(process, together, begun=begun)
            self._kill_silent()
            if self._stopping:
                self._listening.close()  # else who connects would wait for nobody

    def _told(self) -> list[Connection]:
        return [self._alive[process] for process in self._beginning]

    def _begin(self) -> None:
        here, there = _SPAWN.Pipe(duplex=False)
        beats = RawValue(ctypes.c_ulong, 0)
        process = _SPAWN.Process(
            target=_work, args=(self._make_app, self._listening, self._log_prompts, there, beats)
        )
        process.start()
        there.close()
        self._alive[process] = here
        self._pulses[process] = _Pulse(beats)
        self._beginning.add(process)
        if self._stopping:  # it has missed that
            process.terminate()

    def _hear(self, process: Any, *, begun: bool) -> None:
        """Hear that a worker is ready, or why it is not."""
        self._beginning.discard(process)
        with suppress(EOFError):
            if (why := self._alive[process].recv()) is not None:
                logger.error("a worker could not begin", extra={"pid": process.pid, "why": why})
                if not begun:
                    self._refuse(why)

    def _end(self, process: Any, together: str, *, begun: bool) -> None:
        process.join()
        self._alive.pop(process).close()
        del self._pulses[process]
        self._beginning.discard(process)
        mark_process_dead(process.pid, together)  # type: ignore[no-untyped-call]
        if self._stopping:
            return
        logger.error("a worker died", extra={"pid": process.pid, "exit": process.exitcode})
        if not begun:
            self._refuse(f"a worker ended with {process.exitcode} before it was ready")
            return
        time.sleep(RESTART_SECONDS)
        if not self._stopping:
            self._begin()

    def _kill_silent(self) -> None:
        for process, pulse in self._pulses.items():
            if (silent := pulse.silent()) > (SILENCE_SECONDS if pulse.begun else START_SECONDS):
                logger.error("a worker hangs", extra={"pid": process.pid, "seconds": silent})
                process.kill()

    def _refuse(self, why: str) -> None:
        self._refused = self._refused or why
        self._stop(signal.SIGTERM, None)

    def _stop(self, sig: int, _: FrameType | None) -> None:
        """Let each worker stop as it would alone; a second signal spares them the time for that."""
        self._stopping = True
        self._wake.send(None)
        for process in list(self._alive):
            with suppress(ProcessLookupError):
                os.kill(process.pid, sig)


class _Pulse:
    """Whether a worker's event loop goes round, by the count that it keeps in shared memory.

    A look is worth `LOOK_SECONDS` at most, so that a machine or a parent that was put to sleep does
    not take its workers for dead when it wakes. A pipe would fill up meanwhile, and stop them.
    """

    def __init__(self, beats: Any) -> None:
        self.begun = False
        self._beats = beats
        self._last = beats.value
        self._silent = 0.0
        self._looked = time.monotonic()

    def silent(self) -> float:
        """For how many seconds there was no beat."""
        now, before, self._looked = time.monotonic(), self._looked, time.monotonic()
        self._silent += min(now - before, LOOK_SECONDS)
        if (beats := self._beats.value) != self._last:
            self.begun, self._last, self._silent = True, beats, 0.0
        return self._silent


def _work(
    make_app: Callable[[], FastAPI],
    listening: socket,
    log_prompts: bool,
    told: Connection,
    beats: Any,
) -> None:
    os.setpgid(0, 0)  # a terminal's Ctrl-C is for the parent, which passes it on
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    log_to_stderr(prompts=log_prompts)

    def beat() -> None:
        beats.value += 1

    try:
        serve(make_app(), [listening], ready=lambda: told.send(None), beat=beat)
    except SpexError as error:
        told.send(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        pass


def _stop_with_parent() -> None:
    parent = parent_process()
    assert parent is not None  # noqa: S101 (narrowing: it is a child)
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
