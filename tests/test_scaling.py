"""Several simulated servers behind a router, and the benchmark of them."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from spex_agents.cli import app
from spex_agents.engines.base import Engine, Load, Request, Sampling
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.fleet import IMBALANCE, Routing, SimulatedFleet
from spex_agents.engines.simulated.hardware import Hardware
from spex_agents.engines.simulated.requests import QUESTION_TOKENS
from spex_agents.errors import SettingsError

DOCUMENT = Path(__file__).parents[1] / "docs" / "scaling.md"
QUESTION = Prompt((Message("user", "What is 5 + 7?"),))
STEP, READ = 0.02, 0.001
HARDWARE = Hardware(name="test", slots=8, weights=STEP, compute=READ)


def fleet(servers: int = 2, routing: Routing = "prefix") -> SimulatedFleet:
    return SimulatedFleet(None, HARDWARE, servers=servers, routing=routing)


async def write(engine: Engine, path: str, run: str = "run") -> int:
    """Tokens of a thought of at most 16."""
    request = Request(id=f"{run}/{path}/thought-1", seed=len(path))
    thought = await engine.generate(QUESTION, request, sampling=Sampling(), max_tokens=16)
    return thought.tokens


def on(engine: SimulatedFleet, use: Callable[[SimulatedFleet], Awaitable[Any]]) -> float:
    """Virtual seconds."""

    async def run() -> float:
        async with engine:
            await use(engine)
            return asyncio.get_running_loop().time()

    return run_virtual(run())


def test_it_is_an_engine() -> None:
    engine: Engine = fleet()
    assert engine.features.slots == 2 * HARDWARE.slots
    assert engine.name == "simulated/2 x test"


def test_a_question_is_read_once_and_a_childs_path_is_there() -> None:
    async def use(engine: SimulatedFleet) -> None:
        tokens = await write(engine, "0")
        assert asyncio.get_running_loop().time() == pytest.approx(
            QUESTION_TOKENS * READ + tokens * STEP
        )
        before = asyncio.get_running_loop().time()
        tokens = await write(engine, "0.0")
        assert asyncio.get_running_loop().time() - before == pytest.approx(tokens * STEP)
        assert engine.read_tokens == QUESTION_TOKENS

    on(fleet(servers=1), use)


def test_reading_holds_up_what_decodes_beside_it() -> None:
    ended: list[tuple[str, float]] = []

    async def one(engine: SimulatedFleet, run: str, delay: float) -> None:
        await asyncio.sleep(delay)
        tokens = await write(engine, "0", run)
        ended.append((run, asyncio.get_running_loop().time() - tokens * STEP))

    async def use(engine: SimulatedFleet) -> None:
        first_reads = QUESTION_TOKENS * READ
        await asyncio.gather(one(engine, "a", 0), one(engine, "b", first_reads + STEP / 2))

    on(fleet(servers=1), use)
    assert dict(ended) == pytest.approx(
        {"a": 2 * QUESTION_TOKENS * READ, "b": 2 * QUESTION_TOKENS * READ + STEP / 2}
    )


def test_by_prefix_a_search_stays_and_another_goes_elsewhere() -> None:
    async def use(engine: SimulatedFleet) -> None:
        await asyncio.gather(write(engine, "0"), write(engine, "1"), write(engine, "0", "other"))
        await asyncio.gather(write(engine, "0.0"), write(engine, "1.0"))
        assert engine.read_tokens == 2 * QUESTION_TOKENS

    on(fleet(), use)


def test_by_load_a_path_is_read_wherever_it_goes() -> None:
    async def use(engine: SimulatedFleet) -> None:
        above = await write(engine, "0")
        await asyncio.gather(write(engine, "0.0"), write(engine, "0.1"))
        assert engine.read_tokens == 2 * QUESTION_TOKENS + above

    on(fleet(routing="least-load"), use)


def test_far_more_load_at_one_server_sends_the_next_away() -> None:
    async def use(engine: SimulatedFleet) -> None:
        async with asyncio.TaskGroup() as tasks:
            for index in range(IMBALANCE + 2):
                tasks.create_task(write(engine, f"{index}"))
            await asyncio.sleep(0)
            loads = [await server.load() for server in engine.servers]
            assert [load.running + load.waiting for load in loads] == [IMBALANCE + 1, 1]
            assert await engine.load() == Load(
                running=HARDWARE.slots + 1, waiting=IMBALANCE + 1 - HARDWARE.slots
            )

    on(fleet(), use)


def test_a_promoted_request_overtakes_at_its_server() -> None:
    ended: list[str] = []

    async def one(engine: SimulatedFleet, request: Request) -> None:
        await engine.generate(QUESTION, request, sampling=Sampling(), max_tokens=16)
        ended.append(request.id)

    async def use(engine: SimulatedFleet) -> None:
        requests = [
            Request(id=f"run/{index}/thought-1", seed=index, demanded=index < HARDWARE.slots)
            for index in range(HARDWARE.slots + 6)
        ]
        async with asyncio.TaskGroup() as tasks:
            for request in requests:
                tasks.create_task(one(engine, request))
            await asyncio.sleep(0)
            requests[-1].demanded = True
            await engine.promote(requests[-1])

    on(fleet(servers=1), use)
    last = f"run/{HARDWARE.slots + 5}/thought-1"
    assert ended.index(last) < max(
        ended.index(f"run/{HARDWARE.slots + i}/thought-1") for i in (3, 4)
    )


@pytest.mark.parametrize(("servers", "routing"), [(0, "prefix"), (1, "nonsense")])
def test_bad_settings_are_refused(servers: int, routing: Any) -> None:
    with pytest.raises(SettingsError):
        fleet(servers, routing)


# The benchmark.

SMALL = ("--workers", "1", "--workers", "2", "--queries", "2", "--seeds", "2")


def spex(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_affinity_reads_less_and_keeps_the_speed_of_one_server() -> None:
    arguments = ("--policy", "rebase", "--width", "8", "--json")
    result = spex("bench", "scaling", *SMALL, *arguments)
    report = json.loads(result.stdout)
    rows = {(row["routing"], row["workers"]): row for row in report["rows"]}
    assert [(row["queries"], row["seeds"]) for row in report["rows"]] == [(2, 2), (4, 1)] * 2
    assert all(row["same_tree"] == row["seeds"] for row in rows.values())
    assert rows["prefix", 1]["on_s"] == rows["least-load", 1]["on_s"]
    assert rows["prefix", 2]["read_on"] < rows["least-load", 2]["read_on"] / 2
    assert rows["prefix", 2]["off_s"] < rows["least-load", 2]["off_s"]
    # One seed: what is begun early differs, and with it a little of the time.
    assert rows["prefix", 2]["on_s"] < 1.05 * rows["least-load", 2]["on_s"]
    assert rows["prefix", 2]["efficiency"] > 0.8


@pytest.mark.parametrize(
    "arguments",
    [("--workers", "0"), ("--queries", "0"), ("--routing", "nonsense"), ("--policy", "nonsense")],
)
def test_bad_input_is_refused_with_exit_code_2(arguments: tuple[str, ...]) -> None:
    result = spex("bench", "scaling", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""


def commands(language: str) -> list[list[str]]:
    """The commands of the document, without their comments."""
    text = DOCUMENT.read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for block in found for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("spex ")]


def test_the_benchmark_of_the_document_runs() -> None:
    (command,) = commands("console")
    result = spex(*command[1:], *SMALL, "--rollouts", "2", "--width", "4")
    assert result.exit_code == 0, result.stderr
    assert "rstar-2" in result.stdout
    assert "rebase-4" in result.stdout


def test_the_servers_of_the_document_can_be_asked_for() -> None:
    serving = [command for command in commands("sh") if command[1] == "serve"]
    assert len(serving) >= 2
    serve = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    for command in serving:
        assert serve.make_context("serve", command[2:]).params
