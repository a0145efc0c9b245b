"""Starts SGLang for a policy and a reward model, keeps all up, and leaves nothing behind."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import tenacity
from anyio.abc import Process

from spex_agents.errors import EngineError, SettingsError, SpexError
from spex_agents.server.cpu.device import has_cuda
from spex_agents.server.launch.plan import Servers, Status, Worker, plan
from spex_agents.server.launch.settings import Serving, check_installed
from spex_agents.server.launch.worker_process import last_lines, running, until_ready

SETTLED = 600.0
"""Seconds a server must have been ready for its restarts to be counted from zero again."""


class _WorkerDied(EngineError):
    """It was ready, and may be again."""


@asynccontextmanager
async def serve(
    serving: Serving, *, changed: Callable[[Worker], None] = lambda worker: None
) -> AsyncIterator[Servers]:
    """Serve while the block runs, which begins when all servers are ready.

    A server that dies is restarted with growing waits; SGLang itself ends one that hangs. When
    the block or this process ends, by whatever cause, so do all processes of the servers (on
    Linux; call it from the main thread, whose end counts as that of the process).

    Args:
        serving: What to serve.
        changed: Called with a worker whenever its status has changed.

    Raises:
        SettingsError: SGLang is missing, a port is taken, or the memory does not suffice.
        EngineError: A server did not become ready, or died once too often.
    """
    check_installed(
        sglang=serving.policy is not None or serving.reward is not None, router=serving.routed
    )
    servers = plan(serving)
    try:
        async with anyio.create_task_group() as tasks:
            for worker in servers.models:
                tasks.start_soon(_keep_up, worker, serving, changed)
                if has_cuda():  # each counts its memory from what it finds free
                    await worker.ready.wait()
            for worker in servers.models:
                await worker.ready.wait()
            if servers.router is not None:  # it looks for late workers only now and then
                tasks.start_soon(_keep_up, servers.router, serving, changed)
                await servers.router.ready.wait()
            yield servers
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise _first(group) from None


async def _keep_up(worker: Worker, serving: Serving, changed: Callable[[Worker], None]) -> None:
    """Run `worker` again and again.

    Raises:
        EngineError: It never became ready, or died once too often.
    """

    def enter(status: Status) -> None:
        worker.status = status
        changed(worker)

    def count_restart(_: object = None) -> None:
        worker.restarts += 1
        enter(Status.WAITING)

    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(_WorkerDied),
        stop=tenacity.stop_after_attempt(serving.restarts + 1),
        wait=tenacity.wait_exponential(multiplier=serving.restart_wait, max=60),
        sleep=anyio.sleep,
        before_sleep=count_restart,
        reraise=True,
    )
    try:
        while True:  # a round ends when a worker dies that had settled
            await retrying(_live, worker, serving, enter)
            count_restart()
    finally:
        enter(Status.STOPPED)


async def _live(worker: Worker, serving: Serving, enter: Callable[[Status], None]) -> None:
    """One life of a server; returns if it had settled when it died.

    Raises:
        EngineError: It died.
    """
    try:
        argv = worker.command()
    except SettingsError as error:
        if worker.ready.is_set():  # the dead server's memory may not be free yet
            raise _WorkerDied(str(error)) from error
        raise
    async with running(
        argv, env=worker.env, log=worker.log, stop_timeout=serving.stop_timeout
    ) as process:
        worker.pid, worker.started = process.pid, anyio.current_time()
        try:
            enter(Status.STARTING)
            if not await _becomes_ready(process, worker, serving.start_timeout):
                raise _death(worker, process.returncode, serving.start_timeout)
            enter(Status.READY)
            worker.ready.set()
            ready_since = anyio.current_time()
            code = await process.wait()
            if anyio.current_time() - ready_since < SETTLED:
                raise _death(worker, code, math.inf)
        finally:
            worker.pid = None


async def _becomes_ready(process: Process, worker: Worker, patience: float) -> bool:
    """Whether the server is ready before it dies or `patience` seconds are over."""
    ready = False
    with anyio.move_on_after(patience):
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                await process.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch)
            await until_ready(f"{worker.url}{worker.health}")
            ready = process.returncode is None
            tasks.cancel_scope.cancel()
    return ready


def _death(worker: Worker, code: int | None, timeout: float) -> EngineError:
    how = f"was not ready after {timeout:g} s" if code is None else f"died with exit code {code}"
    kind = _WorkerDied if worker.ready.is_set() else EngineError
    log = "\n  ".join(last_lines(worker.log, 8))
    return kind(f"{worker.program} ({worker.name}) {how}; {worker.log} ends:\n  {log}")


def _first(error: BaseException) -> BaseException:
    """The error itself, out of the groups it came in."""
    while isinstance(error, BaseExceptionGroup):
        # the block's own error says more than that of a server
        own = error.subgroup(lambda each: not isinstance(each, SpexError))
        error = (own or error).exceptions[0]
    return error
