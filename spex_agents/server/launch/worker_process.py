"""The processes of one SGLang server: started, watched until ready, and stopped to the last."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, STDOUT

import anyio
import httpx
from anyio.abc import Process

POLL = 0.2
REAPED_WITHIN = 5.0


@asynccontextmanager
async def running(
    command: Sequence[str], *, env: Mapping[str, str], log: Path, stop_timeout: float
) -> AsyncIterator[Process]:
    """Run `command` in a process group of its own, none of which is left on the way out."""
    with log.open("ab") as output:
        process = await anyio.open_process(
            command, stdin=DEVNULL, stdout=output, stderr=STDOUT, env=env, start_new_session=True
        )
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            await _stop(process, stop_timeout)


async def until_ready(url: str) -> None:
    """Return once a server answers at `url` that it is ready."""
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        while True:
            with suppress(httpx.HTTPError):
                if (await client.get(url)).is_success:
                    return
            await anyio.sleep(POLL)


def last_lines(log: Path, count: int) -> list[str]:
    """The last lines of a log, as far as 8 kB reach."""
    with suppress(FileNotFoundError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        lines = file.read().decode(errors="replace").splitlines()
        return [line for line in lines if line.strip()][-count:]
    return []


async def _stop(process: Process, patience: float) -> None:
    """Ask the server to stop, wait, and kill what is left of its group."""
    if process.returncode is None:
        process.terminate()
        with anyio.move_on_after(patience):
            await process.wait()
    with anyio.move_on_after(REAPED_WITHIN):
        while _kill_group(process.pid):  # noqa: ASYNC110
            await anyio.sleep(0.02)  # nobody else tells when a group is empty
    await process.wait()


def _kill_group(group: int) -> bool:
    """Kill a process group; whether anything of it was left."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
