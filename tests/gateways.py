"""A gateway that runs in the test's own loop, on a simulated engine that can be looked into."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
from fastapi import FastAPI
from node_runs import idle
from processes import PATIENCE, SPEX

from spex_agents.engines.base import Engine
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.server.gateway.access import Parts
from spex_agents.server.gateway.app import create_gateway
from spex_agents.server.gateway.hosting import Hosting
from spex_agents.server.gateway.keys import KeyStore
from spex_agents.server.gateway.serve import Server, listen
from spex_agents.server.gateway.settings import Agent

QUESTION: Any = [{"role": "user", "content": "What is 5 + 7?"}]
SIZE = {"depth": 4, "step_tokens": 64}
SMALL = {**SIZE, "seed": 0}
ASKED: dict[str, Any] = {
    "model": "spex/rebase-4",
    "messages": QUESTION,
    "seed": 0,
    "spex": SIZE,
}

SUM = {
    "type": "object",
    "properties": {"one": {"type": "integer"}, "other": {"type": "integer"}},
    "required": ["one", "other"],
}
ADD: Any = {"type": "function", "function": {"name": "add", "parameters": SUM}}

FANNED_OUT = {
    "allOf": [{"$ref": "#/$defs/0"}],
    "$defs": {
        **{str(i): {"anyOf": [{"$ref": f"#/$defs/{i + 1}"}] * 40} for i in range(4)},
        "4": {"type": "string"},
    },
}
"""Two and a half million references."""


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway under way."""

    url: str
    engine: SimulatedEngine
    parts: Parts
    app: FastAPI | None = None
    """Asked without a server in between, where there is none."""

    def client(self, key: str = "none", **settings: Any) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            base_url=f"{self.url}/v1", api_key=key, **{"max_retries": 0, **settings}
        )

    def http(self, key: str | None = None) -> httpx.AsyncClient:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        transport = None if self.app is None else httpx.ASGITransport(self.app)
        return httpx.AsyncClient(
            base_url=self.url, headers=headers, timeout=PATIENCE, transport=transport
        )

    async def decoded(self, tokens: int) -> None:
        """Wait until the engine has decoded so many tokens."""
        async with asyncio.timeout(PATIENCE):
            while self.engine.decoded_tokens < tokens:
                await asyncio.sleep(0.01)
                await self.engine.load()

    async def idle(self) -> None:
        """Wait until nothing runs any more, at the engine least of all."""
        async with asyncio.timeout(PATIENCE):
            while self.parts.searches.runs.searches or not idle(self.engine):  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.01)


@asynccontextmanager
async def gateway(
    *,
    speed: float = 300,
    keys: KeyStore | None = None,
    database: str | None = None,
    engine: SimulatedEngine | None = None,
    more: Mapping[str, Engine] | None = None,
    agents: Mapping[str, Agent] | None = None,
    served: bool = True,
    **hosting: Any,
) -> AsyncIterator[Running]:
    """Run a gateway, `served` over HTTP or not; nothing of it may be left afterwards."""
    engine = engine or SimulatedEngine(speed=speed)
    settings = Hosting(**{"drain_seconds": 5.0, **hosting})
    app = create_gateway(
        {"spex": engine, **(more or {})},
        agents=agents,
        require_keys=keys is not None,
        database=database or (":memory:" if keys is None else keys.database),
        hosting=settings,
    )
    if not served:
        async with app.router.lifespan_context(app):
            yield Running("http://gateway", engine, app.state.parts, app)
        assert idle(engine), engine
        return
    listening = listen("127.0.0.1", 0)
    ready = asyncio.Event()
    server = Server(app, ready=ready.set)
    serving = asyncio.create_task(server.serve([listening]))
    try:
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield Running(url, engine, app.state.parts)
    finally:
        server.should_exit = True
        await serving
    assert idle(engine), engine


@contextmanager
def process(
    directory: Path, *arguments: str, command: Sequence[str] = SPEX
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A gateway in a process of its own, and its address."""
    with (directory / "log").open("a") as log:
        whole = [
            *command,
            "gateway",
            "--port",
            "0",
            "--engine",
            "simulated",
            "--unready",
            "0",
            *arguments,
        ]
        run = subprocess.Popen(whole, cwd=directory, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        with run:
            try:
                assert run.stdout is not None
                address = run.stdout.readline().strip().removesuffix("/v1")
                assert address, (directory / "log").read_text()
                yield run, address
            finally:
                run.terminate()
    finally:
        run.kill()
