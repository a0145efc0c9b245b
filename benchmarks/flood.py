"""How far a flood of one client's guesses delays another client's demanded work.

``python -m benchmarks.flood --engine URL`` measures chains of demanded thoughts at an SGLang
server, in rounds: alone, then beside the guesses of a second client. ``--json FILE`` keeps every
round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from uuid import uuid4

import anyio
from rich.console import Console
from rich.table import Table

from spex_agents import Sampling, SGLangEngine
from spex_agents.engines import Message, Prompt, Request
from spex_agents.errors import EngineError


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked of the server.

    Attributes:
        chains: Of demanded thoughts, side by side; in each, one thought after the other.
        thoughts: In each chain.
        tokens: Of each thought, at most.
        guesses: In flight at a time, of the other client.
        rounds: Each measures once alone and once beside the guesses.
    """

    chains: int = 2
    thoughts: int = 6
    tokens: int = 32
    guesses: int = 32
    rounds: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round.

    Attributes:
        alone: Seconds that the chains take.
        flooded: The same beside the guesses.
        ratio: The second over the first.
        steps: What the server's scheduler counted under the flood, if it has the plugin.
    """

    alone: float
    flooded: float
    ratio: float
    steps: dict[str, int]


async def measure(engine: SGLangEngine, flooder: SGLangEngine, load: Load) -> list[Round]:
    """Measure `load`, after one round that does not count.

    Raises:
        EngineError: A demanded thought could not be written.
    """
    await engine.describe()
    await flooder.describe()
    return [await _round(engine, flooder, load, number) for number in range(load.rounds + 1)][1:]


async def _round(engine: SGLangEngine, flooder: SGLangEngine, load: Load, number: int) -> Round:
    alone = await _chains(engine, load, number)
    run = uuid4().hex[:12]
    async with anyio.create_task_group() as tasks:
        for which in range(load.guesses):
            tasks.start_soon(_guess_on, flooder, run, which)
        while (found := await engine.load()).running + found.waiting < load.guesses:  # noqa: ASYNC110
            await anyio.sleep(0.02)  # nobody tells when they have arrived
        before = await _steps(engine)
        flooded = await _chains(engine, load, number)
        after = await _steps(engine)
        tasks.cancel_scope.cancel()
    steps = {name: after[name] - before.get(name, 0) for name in after}
    return Round(alone=alone, flooded=flooded, ratio=flooded / alone, steps=steps)


async def _chains(engine: SGLangEngine, load: Load, number: int) -> float:
    """Seconds for all chains; the same prompts and seeds whenever the number is the same."""
    run = uuid4().hex[:12]

    async def chain(which: int) -> None:
        for index in range(load.thoughts):
            asked = Request(id=f"{run}/{which}.{index}/thought-1", seed=index)
            await _write(engine, asked, f"{number}.{which}.{index}", load.tokens)

    begun = perf_counter()
    async with anyio.create_task_group() as tasks:
        for which in range(load.chains):
            tasks.start_soon(chain, which)
    return perf_counter() - begun


async def _guess_on(engine: SGLangEngine, run: str, which: int) -> None:
    """Guess without end, one thought after the other."""
    for index in count():
        asked = Request(id=f"{run}/{which}.{index}/thought-1", seed=index, demanded=False)
        await _write(engine, asked, f"{run}.{which}", 1024)


async def _write(engine: SGLangEngine, asked: Request, about: str, tokens: int) -> None:
    prompt = Prompt((Message("user", f"Tell me a long story about number {about}."),))
    await engine.generate(prompt, asked, sampling=Sampling(stop=()), max_tokens=tokens)


async def _steps(engine: SGLangEngine) -> dict[str, int]:
    known = engine.server.known
    if known is None or "counters" not in known.features:
        return {}
    told: list[Any] = await engine.server.ask("/server_info")
    counters = [state["spex"]["counters"] for one in told for state in one["internal_states"]]
    return {name: sum(int(each[name]) for each in counters) for name in counters[0]}


def show(rounds: list[Round], title: str) -> None:
    """Print the rounds as a table, and the median ratio."""
    table = Table(title=title)
    for column in ("round", "alone s", "beside guesses s", "ratio", "steps shared", "made room"):
        table.add_column(column, justify="right")
    for number, each in enumerate(rounds, 1):
        steps = each.steps
        shared = f"{steps['shared_steps']} of {steps['demanded_steps']}" if steps else ""
        table.add_row(
            str(number),
            f"{each.alone:.2f}",
            f"{each.flooded:.2f}",
            f"{each.ratio:.3f}",
            shared,
            str(steps.get("displaced", "")),
        )
    console = Console()
    console.print(table)
    console.print(f"median ratio {median(each.ratio for each in rounds):.3f}")


async def main() -> None:
    default = Load()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", required=True, help="an SGLang server's address")
    for name, value in asdict(default).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--json", type=Path, help="write the rounds there")
    given = vars(parser.parse_args())
    load = Load(**{name: given[name] for name in asdict(default)})
    async with SGLangEngine(given["engine"]) as engine, SGLangEngine(given["engine"]) as flooder:
        try:
            rounds = await measure(engine, flooder, load)
        except EngineError as error:
            raise SystemExit(str(error)) from None
        name = engine.name
    show(rounds, f"{name}: {load.chains} chains beside {load.guesses} guesses")
    if given["json"]:
        report = {
            "engine": name,
            "load": asdict(load),
            "median_ratio": median(each.ratio for each in rounds),
            "rounds": [asdict(each) for each in rounds],
        }
        given["json"].write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
