"""The tutor on a terminal: ``python -m examples.math_tutor``.

Lines of the student come from the standard input, so that a lesson can be piped. Exit codes: 0 the
lesson is over or waits for the student, 1 no solution to teach, 2 bad input, 3 an engine or a
reward failed, 130 interrupted.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from contextlib import AsyncExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.status import Status
from rich.text import Text

try:
    from examples.math_tutor.classroom import Sitting, opened
except ModuleNotFoundError as missing:
    sys.stderr.write(f"{missing.name} is missing: pip install -e '.[embedded,server]'\n")
    sys.exit(2)
from examples.math_tutor.graph import create_math_tutor
from examples.math_tutor.memory import recall
from examples.math_tutor.problems import DEFAULT, LIMITS, SAMPLING, Choice, check_of, task
from spex_agents import Speculation, make_engine
from spex_agents.cli import options
from spex_agents.cli.exits import exit_codes
from spex_agents.cli.recordings import replaced
from spex_agents.search.registry import make_policy
from spex_agents.speculation.questions import check_question
from spex_agents.view import streamed_recording

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

LEAVE = ("quit", "exit")
ENGINE = os.environ.get("SPEX_ENGINE", "embedded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What decides the solution, besides the problem: another search is another lesson."""

    engine: str
    model: str | None
    policy: str
    width: int | None
    rollouts: int | None
    reward: str | None
    seed: int


@app.command()
def lesson(
    question: Annotated[
        str | None,
        typer.Argument(help="One of your own; a problem of a set by default.", show_default=False),
    ] = None,
    *,
    answer: Annotated[
        str | None, typer.Option(help="The right answer of your question.", show_default=False)
    ] = None,
    problems: Annotated[
        str | None,
        typer.Option(
            help=f"A set of `spex compare`, or a JSONL file; {DEFAULT} by default. With a "
            "QUESTION: in whose style it is put to the model.",
            show_default=False,
        ),
    ] = None,
    number: Annotated[
        int | None,
        typer.Option(help="Which problem; the first not done by default.", show_default=False),
    ] = None,
    student: Annotated[str, typer.Option(help="Whose lesson it is.")] = "student",
    thread: Annotated[
        str | None,
        typer.Option(
            help="Name of the lesson; by default made of student, problem and search.",
            show_default=False,
        ),
    ] = None,
    database: Annotated[
        Path, typer.Option(help="SQLite file of all lessons and what is remembered.")
    ] = Path("math_tutor.sqlite"),
    again: Annotated[bool, typer.Option("--again", help="Begin the lesson anew.")] = False,
    policy: options.PolicyName = "rebase",
    width: Annotated[
        int | None,
        typer.Option(
            help="Thoughts in a layer, or as the policy has it; 8 for rebase by default, and for "
            "others as in `spex solve`.",
            show_default=False,
            rich_help_panel=options.SEARCH,
        ),
    ] = None,
    rollouts: options.Rollouts = None,
    reward: Annotated[
        str | None,
        typer.Option(
            help="calculator (do the stated sums hold?), confidence or another reward of `spex "
            "solve`, or module:function, an async function (question, steps) -> float of your "
            "own. By default a calculator, and confidence where nothing is calculated.",
            show_default=False,
            rich_help_panel=options.SEARCH,
        ),
    ] = None,
    seed: options.Seed = 0,
    speculation: Annotated[
        bool,
        typer.Option(
            help="Begin likely thoughts early, or not; the lesson is the same.",
            rich_help_panel=options.SEARCH,
        ),
    ] = True,
    record: Annotated[
        Path | None,
        typer.Option(
            help="Write the search of a new lesson to this file, for `spex view`.",
            show_default=False,
        ),
    ] = None,
    engine: options.EngineName = ENGINE,
    model: options.Model = None,
    api_key: options.ApiKey = None,
) -> None:
    """Learn to solve a problem, step by step: give a step or its value, hint, explain, or give up.

    "quit", or the end of the input, leaves the lesson; the same command goes on with it.
    The engine is that of SPEX_ENGINE by default, or else embedded.
    """
    with exit_codes(app), asyncio.Runner() as runner:
        choice = Choice(question=question, answer=answer, problems=problems, number=number)
        if question is not None:
            check_question(question)
        search = Search(
            engine=engine,
            model=model,
            policy=policy,
            width=8 if width is None and policy == "rebase" else width,
            rollouts=rollouts,
            reward=reward,
            seed=seed,
        )
        stack = AsyncExitStack()
        try:
            begun = _sit(
                stack,
                choice,
                search,
                student=student,
                database=database,
                thread=thread,
                again=again,
                speculation=speculation,
                api_key=api_key,
            )
            asked, sitting = runner.run(begun)
            if record is not None:
                runner.run(sitting.check_recordable(record))
            events: list[dict[str, Any]] = []
            with nullcontext() if record is None else replaced(record, "record") as file:
                awaited = _solve(runner, asked, sitting, events)
                if file is not None:
                    told = asdict(search) | {"speculation": speculation}
                    values = runner.run(sitting.values())
                    json.dump(streamed_recording(asked["question"], values, events, **told), file)
            taught = _teach(runner, sitting, awaited)
        finally:
            runner.run(stack.aclose())
    raise typer.Exit(0 if taught else 1)


async def _sit(
    stack: AsyncExitStack,
    choice: Choice,
    search: Search,
    *,
    student: str,
    database: Path,
    thread: str | None,
    again: bool,
    speculation: bool,
    api_key: str | None,
) -> tuple[dict[str, Any], Sitting]:
    """The graph's input and the lesson, with what `stack` will close."""
    policy = make_policy(search.policy, width=search.width, rollouts=search.rollouts)
    engine = make_engine(search.engine, search.model, api_key)
    await stack.enter_async_context(engine)
    saver, store = await stack.enter_async_context(opened(database))
    records = (await recall(store, student)).values()
    chosen = task(choice, {one["question"] for one in records if one["status"] != "open"})
    graph = create_math_tutor(
        engine,
        check_of(search.reward, engine, chosen.reward),
        seed=search.seed,
        policy=policy,
        limits=LIMITS,
        sampling=SAMPLING,
        template=chosen.template,
        speculation=Speculation.usual(engine) if speculation else None,
    )
    style = choice.problems or (DEFAULT if choice.question is None else None)
    subject = json.dumps([chosen.question, chosen.known, style, asdict(search)])
    name = thread or f"{student}/{hashlib.sha256(subject.encode()).hexdigest()[:12]}"
    if again:
        await saver.adelete_thread(name)
    asked = {"question": chosen.question, "known": chosen.known, "student": student}
    compiled = graph.compile(checkpointer=saver, store=store)
    return asked, Sitting(compiled, {"configurable": {"thread_id": name}})


def _solve(
    runner: asyncio.Runner, asked: dict[str, Any], sitting: Sitting, events: list[dict[str, Any]]
) -> str | None:
    """Begin or go on, and add what happens in a search to `events`; what the student is asked."""
    console = _console()
    console.print(Text(asked["question"], "bold"))
    console.print()
    with Console(stderr=True).status("Looking for a solution ...") as status:
        return runner.run(sitting.begin(asked, _Progress(status, events)))


def _teach(runner: asyncio.Runner, sitting: Sitting, awaited: str | None) -> bool:
    """Talk until the lesson ends or the student leaves; whether there was something to teach."""
    console = _console()
    _print(console, runner.run(sitting.news()))
    if awaited is None and runner.run(sitting.status()) != "unsolved":
        console.print("This lesson is over; --again begins it anew.")
    while awaited is not None:
        console.print(Text(awaited, "bold"))
        if (line := _line(console)) is None:
            console.print("The lesson waits for you: the same command goes on with it.")
            return True
        awaited = runner.run(sitting.reply(line))
        _print(console, runner.run(sitting.news()))
    return runner.run(sitting.status()) != "unsolved"


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


def _print(console: Console, said: list[tuple[str, str]]) -> None:
    for who, text in said:
        if who == "ai":
            console.print(Text("".join(c for c in text if c.isprintable() or c == "\n"), "cyan"))


def _line(console: Console) -> str | None:
    """The student's next line; None where there is no more, or the student leaves."""
    if sys.stdin.isatty():
        try:
            line = input("> ")
        except EOFError:
            return None
    else:
        if not (line := sys.stdin.readline()):
            return None
        console.print(f"> {line.rstrip()}")
    return None if line.strip().casefold() in LEAVE else line.rstrip("\n")


class _Progress:
    """Counts the thoughts of the search in a status line, and keeps its events."""

    def __init__(self, status: Status, events: list[dict[str, Any]]) -> None:
        self._status = status
        self._events = events
        self._thoughts = 0

    def __call__(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        if event.get("status") == "accepted":
            self._thoughts += 1
            self._status.update(f"Looking for a solution ... {self._thoughts} thoughts")


if __name__ == "__main__":
    for stream in (sys.stdin, sys.stdout):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    app()
