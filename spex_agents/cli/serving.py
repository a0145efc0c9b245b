"""Serves for the command line: shows how far it is, prints the addresses, ends on a signal."""

from __future__ import annotations

import asyncio
import signal
from json import dumps

import anyio
from rich.console import Console
from rich.text import Text

from spex_agents.server.launch.launcher import serve
from spex_agents.server.launch.memory import MPS, takes_turns
from spex_agents.server.launch.plan import Servers, Status, Worker
from spex_agents.server.launch.settings import Serving
from spex_agents.server.launch.worker_process import last_lines


async def serve_until_signal(serving: Serving, *, json: bool) -> None:
    """Serve until SIGINT or SIGTERM, the time before all are ready included."""
    console = Console(stderr=True)
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as scope:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, scope.cancel)
        narrator = _Narrator(console, loop)
        if takes_turns(serving.policy, serving.reward):
            console.print(Text(f"policy and reward take turns on the GPU: {MPS}", "yellow"))
        with console.status(narrator) as spinner:
            async with serve(serving, changed=narrator.tell) as servers:
                spinner.stop()
                _print_urls(servers, json=json)
                await anyio.sleep_forever()


class _Narrator:
    """Tells what becomes of the servers; drawn beside the spinner, what the latest one says."""

    def __init__(self, console: Console, loop: asyncio.AbstractEventLoop) -> None:
        self.console = console
        self.clock = loop.time
        self.latest: Worker | None = None

    def __rich__(self) -> Text:  # called by the spinner's own thread
        if (worker := self.latest) is None:
            return Text("starting")
        said = "".join(last_lines(worker.log, 1))
        line = f"{worker.name} {self.clock() - worker.started:.0f} s  {said}"
        return Text(line[: self.console.width - 4], no_wrap=True)

    def tell(self, worker: Worker) -> None:
        self.latest = worker
        self.console.print(Text(self._sentence(worker)), soft_wrap=True)

    def _sentence(self, worker: Worker) -> str:
        match worker.status:
            case Status.STARTING:
                return f"{worker.name}: starting {worker.program}, log in {worker.log}"
            case Status.READY:
                seconds = self.clock() - worker.started
                return f"{worker.name}: ready at {worker.url} after {seconds:.0f} s"
            case Status.WAITING:
                return f"{worker.name}: died, restart {worker.restarts} follows"
            case Status.STOPPED:
                return f"{worker.name}: stopped"


def _print_urls(servers: Servers, *, json: bool) -> None:
    if json:
        found = {
            worker.name: {"url": worker.url, "pid": worker.pid, "log": str(worker.log)}
            for worker in servers.all
        }
        print(dumps(found), flush=True)
    else:
        for worker in servers.all:
            print(f"{worker.name} {worker.url}/v1", flush=True)
