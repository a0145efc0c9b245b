"""What a gateway's clients wait for: many at once, next to one, on the simulated engine.

    python -m benchmarks.gateway --clients 100 --speed 100

The engine has slots of its own: where all are taken, searches take turns, and that time is not the
gateway's. So what the same searches take on a virtual clock, where the engine alone takes time, is
told beside it; what they take without a gateway, all begun at once in one process; and the
processor's seconds of both, which on a busy machine say more than medians. The slower the engine
(``--speed 1`` is the hardware that it simulates), the less a gateway adds.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.rewards import SimulatedReward
from spex_agents.search import Limits, Rebase
from spex_agents.server.gateway.app import create_gateway
from spex_agents.server.gateway.hosting import Hosting
from spex_agents.server.gateway.serve import Server, listen
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.solving import solve

QUESTION = "What is 5 + 7?"
DEPTH, STEP_TOKENS = 4, 64


async def _through_a_gateway(clients: int, speed: float, database: str) -> list[float]:
    """Seconds of each client's request; all are sent at once."""
    app = create_gateway(
        {"spex": SimulatedEngine(speed=speed)},
        database=database,
        hosting=Hosting(drain_seconds=5.0, unready_seconds=0.0),
    )
    listening = listen("127.0.0.1", 0)
    ready = asyncio.Event()
    server = Server(app, ready=ready.set)
    serving = asyncio.create_task(server.serve([listening]))
    await ready.wait()
    limits = httpx.Limits(max_connections=None)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"

    async def ask(http: httpx.AsyncClient, seed: int) -> float:
        body: dict[str, Any] = {
            "model": "spex/rebase-4",
            "messages": [{"role": "user", "content": QUESTION}],
            "seed": seed,
            "spex": {"depth": DEPTH, "step_tokens": STEP_TOKENS},
        }
        began = time.perf_counter()
        (await http.post("/v1/chat/completions", json=body)).raise_for_status()
        return time.perf_counter() - began

    try:
        async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as http:
            await ask(http, clients)  # what is made once
            return await asyncio.gather(*(ask(http, seed) for seed in range(clients)))
    finally:
        server.should_exit = True
        await serving


async def _without(clients: int, speed: float) -> list[float]:
    """Seconds of the same searches, begun at once on one engine."""
    async with SimulatedEngine(speed=speed) as engine:
        config = SearchConfig(
            engine=engine,
            policy=Rebase(width=4),
            reward=SimulatedReward(),
            limits=Limits(depth=DEPTH, step_tokens=STEP_TOKENS),
        )

        now = asyncio.get_running_loop().time

        async def search(seed: int) -> float:
            began = now()
            await solve(config, QUESTION, seed=seed)
            return now() - began

        await search(clients)
        return await asyncio.gather(*(search(seed) for seed in range(clients)))


def main(
    clients: Annotated[int, typer.Option(help="At once.")] = 100,
    speed: Annotated[float, typer.Option(help="Of the simulated engine.")] = 100.0,
    database: Annotated[
        str, typer.Option(help="postgresql://..., or empty for a SQLite file.")
    ] = "",
) -> None:
    """Print what one client and many wait for, with and without a gateway."""
    with tempfile.TemporaryDirectory() as directory:
        place = database or str(Path(directory) / "gateway.sqlite")
        for number in (1, clients):
            print(f"{number:4d} clients")
            engine = statistics.median(run_virtual(_without(number, speed))) * 1e3
            print(f"    the engine alone: median {engine:.0f} ms")
            for what, run in (
                ("without a gateway", _without(number, speed)),
                ("through a gateway", _through_a_gateway(number, speed, place)),
            ):
                before = time.process_time()
                median = statistics.median(asyncio.run(run)) * 1e3
                used = (time.process_time() - before) / number * 1e3
                print(
                    f"    {what}: median {median:.0f} ms ({median / engine:.1f} times as long), "
                    f"{used:.0f} ms of processor a search"
                )


if __name__ == "__main__":
    typer.run(main)
