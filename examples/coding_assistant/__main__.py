"""``python -m examples.coding_assistant "Write double(x)." --tests tests.py``."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from examples.coding_assistant.agent import ROUNDS, create_coder
from examples.coding_assistant.asking import Answer, Assistant, Behind, Here
from examples.coding_assistant.problems import named, with_tests
from examples.coding_assistant.search import POLICY
from examples.coding_assistant.showing import Showing
from examples.coding_assistant.task import Task
from spex_agents import Rstar, make_engine
from spex_agents.cli import options
from spex_agents.cli.exits import exit_codes
from spex_agents.errors import SettingsError, at_least_one

if TYPE_CHECKING:
    from spex_agents.named import AnyEngine

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    request: Annotated[
        str | None,
        typer.Argument(
            help="What to write, with tests in it (lines that begin with assert), or --tests. "
            "Without it, a conversation on standard input: an empty line ends a turn.",
            show_default=False,
        ),
    ] = None,
    *,
    tests: Annotated[
        Path | None,
        typer.Option(help="A file of tests: assertions, or functions test_*.", show_default=False),
    ] = None,
    problem: Annotated[
        str | None,
        typer.Option(
            help="One that is known: factorial, HumanEval/53; see problems.jsonl.",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="As of spex solve; programs run here.", envvar="SPEX_ENGINE")
    ] = "embedded",
    model: Annotated[
        str | None,
        typer.Option(
            help="As of spex solve; behind a gateway the agent's name, spex/coder if not given.",
            show_default=False,
        ),
    ] = None,
    api_key: options.ApiKey = None,
    gateway: Annotated[
        str | None,
        typer.Option(
            help="Ask this gateway instead of an engine: http://127.0.0.1:8080/v1.",
            show_default=False,
        ),
    ] = None,
    rollouts: Annotated[
        int, typer.Option(help="Programs written in a round, at most.")
    ] = POLICY.rollouts,
    width: Annotated[int, typer.Option(help="Ways to go on from a statement.")] = POLICY.width,
    rounds: Annotated[
        int, typer.Option(help="Searches: what the first leaves wrong, the next repairs.")
    ] = ROUNDS,
    seed: options.Seed = 0,
    speculation: Annotated[bool, typer.Option(help="Begin likely thoughts early, or not.")] = True,
    json: options.Json = False,
) -> None:
    """Write a function until its tests pass. Exit code 0: they do; 1: they do not.

    The tests run in a sandbox: on this machine, or the gateway's.
    """
    with exit_codes(app):
        at_least_one(rollouts=rollouts, width=width, rounds=rounds)
        turns = _turns(request, tests, problem)
        if gateway is not None:
            spex = {"width": width, "seed": seed, "speculation": speculation}
            name = f"{model or 'spex/coder'}/rstar-{rollouts}"
            there = Behind(gateway.rstrip("/"), api_key or "", name, spex)
            answer = asyncio.run(_converse(there, turns, json=json))
        else:
            if engine == "simulated":
                raise SettingsError(
                    "engine='simulated': writes no programs; take embedded, or the address of a "
                    "server"
                )
            settings: dict[str, Any] = {"rounds": rounds, "seed": seed}
            settings |= {"policy": Rstar(rollouts=rollouts, width=width)}
            settings |= {} if speculation else {"speculation": None}
            opened = make_engine(engine, model, api_key)
            answer = asyncio.run(_here(opened, turns, settings, json=json))
    raise typer.Exit(0 if answer is not None and answer.passed else 1)


def _turns(request: str | None, tests: Path | None, problem: str | None) -> Iterator[str]:
    """What the user says, turn by turn.

    Raises:
        SettingsError: There is nothing to write, or no tests, or too much.
    """
    if request is not None and problem is not None:
        raise SettingsError(f"problem={problem!r}: goes without a request of your own")
    if problem is not None:
        request = named(problem)
    if tests is not None:
        if request is None:
            raise SettingsError(f"tests={str(tests)!r}: goes with a request; say what to write")
        try:
            request = with_tests(request, tests.read_text(encoding="utf-8").strip("\n"))
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"tests={str(tests)!r}: cannot be read: {error}") from error
    if request is None:
        return _spoken()
    Task.read(request)
    return iter([request])


def _spoken() -> Iterator[str]:
    if sys.stdin.isatty():
        print(
            "What shall I write? Add tests: lines that begin with assert. An empty line ends a "
            "turn, and end of file the conversation.",
            file=sys.stderr,
        )
    lines: list[str] = []
    for line in sys.stdin:
        if line.strip():
            lines.append(line.rstrip("\n"))
        elif lines:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


async def _here(
    engine: AnyEngine, turns: Iterator[str], settings: Mapping[str, Any], *, json: bool
) -> Answer | None:
    async with engine:
        return await _converse(Here.of(create_coder(engine, **settings)), turns, json=json)


async def _converse(assistant: Assistant, turns: Iterator[str], *, json: bool) -> Answer | None:
    """Answer turn by turn; what happens goes to standard error where an object is wanted."""
    console = Console(stderr=json)
    showing, answer = Showing(console), None
    while (turn := await asyncio.to_thread(next, turns, None)) is not None:
        began = time.monotonic()
        answer = await assistant.ask(turn, showing.show)
        seconds = time.monotonic() - began
        if json:
            print(dumps(_report(answer, seconds)))
        else:
            showing.answer(answer, seconds)
    return answer


def _report(answer: Answer, seconds: float) -> dict[str, Any]:
    return {
        "answer": answer.text,
        "passed": answer.passed,
        "seconds": round(seconds, 3),
        "tree_sha256": answer.tree_sha256,
        "ledger": dict(answer.ledger),
    }


if __name__ == "__main__":
    app()
