"""Seconds to the first program that passes: ``python -m examples.coding_assistant.bench``.

Each problem is searched without speculation and with it, in alternating order, and by as many whole
programs at once; every search has a sandbox of its own, which knows no program yet. One round each,
and each prompt is read once before.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from json import dumps
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from examples.coding_assistant.agent import create_coder
from examples.coding_assistant.asking import Event, Here
from examples.coding_assistant.problems import easy, named
from examples.coding_assistant.search import POLICY, TEMPLATE
from examples.coding_assistant.task import Task
from examples.coding_assistant.testing import UnitTests
from spex_agents import BestOfN, Sampling, Speculation, make_engine
from spex_agents.bench.plot import check_figure
from spex_agents.cli import options
from spex_agents.cli.exits import exit_codes
from spex_agents.engines import Request
from spex_agents.errors import SettingsError, at_least_one

if TYPE_CHECKING:
    from spex_agents.named import AnyEngine

WAYS = ("off", "on", "whole")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A search, to its end.

    Attributes:
        seconds: To the first program that passes all tests; to the end where none does.
        passed: Whether one does.
        tree: The hash of its tree.
        useful: Tokens of the tree.
        wasted: Tokens decoded in vain.
    """

    seconds: float
    passed: bool
    tree: str
    useful: int
    wasted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A problem: without speculation, with it, and by whole programs at once."""

    problem: str
    off: Run
    on: Run
    whole: Run

    @property
    def ratio(self) -> float:
        return self.off.seconds / self.on.seconds

    @property
    def same_tree(self) -> bool:
        return self.off.tree == self.on.tree

    def report(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio, "same_tree": self.same_tree}


async def measure(
    engine: AnyEngine, requests: Mapping[str, str], policy: Any, *, delay: float, seed: int
) -> list[Row]:
    """A row for each of the problems.

    Args:
        engine: Who writes.
        requests: What to ask for, by the problem's name.
        policy: Of the search.
        delay: Seconds that every run of the tests sleeps: for suites that take their time.
        seed: Decides all of it.
    """
    rows = []
    for number, (name, request) in enumerate(requests.items()):
        asked = f"{request}\n\n```python\nimport time\n\ntime.sleep({delay})\nassert True\n```"
        plain, whole = {"speculation": None}, BestOfN(width=policy.rollouts)
        ways: dict[str, dict[str, Any]] = {
            "off": {"policy": policy, **plain},
            "on": {"policy": policy, "speculation": Speculation()},
            "whole": {"policy": whole, **plain},
        }
        await _read(engine, request)
        runs = {}
        for way in WAYS if number % 2 else ("on", "off", "whole"):
            print(f"{name}, {way}", file=sys.stderr)
            runs[way] = await _run(engine, asked if delay else request, ways[way], seed)
        rows.append(Row(problem=name, **runs))
    return rows


async def _run(engine: AnyEngine, request: str, search: Mapping[str, Any], seed: int) -> Run:
    passing: list[float] = []
    begun = time.monotonic()

    def show(event: Event) -> None:
        if event.get("status") == "scored" and event["reward"] == 1:
            passing.append(time.monotonic() - begun)

    here = Here.of(create_coder(engine, rounds=1, seed=seed, tests=UnitTests(), **search))
    answer = await here.ask(request, show)
    return Run(
        seconds=passing[0] if passing else time.monotonic() - begun,
        passed=answer.passed,
        tree=answer.tree_sha256,
        useful=int(answer.ledger["useful_tokens"]),
        wasted=int(answer.ledger["wasted_tokens"]),
    )


async def _read(engine: AnyEngine, request: str) -> None:
    """Have the prompt read before anything is timed: the first search would do it for all."""
    prompt = TEMPLATE.prompt(Task.read(request).question, ())
    await engine.generate(prompt, Request(id="read", seed=0), sampling=Sampling(), max_tokens=1)


def table(rows: Sequence[Row], title: str) -> Table:
    """Rows for people, and what they come to."""
    made = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in (
        "problem",
        "passes",
        "off s",
        "on s",
        "off / on",
        "same tree",
        "tokens",
        "in vain",
    ):
        made.add_column(head, justify="left" if head == "problem" else "right")
    made.add_column("whole s", justify="right")
    made.add_column("passes", justify="right")
    for row in rows:
        made.add_row(
            row.problem,
            "yes" if row.on.passed else "no",
            f"{row.off.seconds:.1f}",
            f"{row.on.seconds:.1f}",
            f"{row.ratio:.2f}",
            "yes" if row.same_tree else "no",
            str(row.on.useful),
            str(row.on.wasted),
            f"{row.whole.seconds:.1f}",
            "yes" if row.whole.passed else "no",
        )
    made.caption = said(rows)
    return made


def said(rows: Sequence[Row]) -> str:
    """The medians."""
    solved = [row for row in rows if row.on.passed and row.off.passed]
    parts = [f"off / on {median(row.ratio for row in rows):.2f} (median of {len(rows)})"]
    if solved:
        parts.append(
            f"{median(row.ratio for row in solved):.2f} of the {len(solved)} that pass; those take "
            f"{median(row.off.seconds for row in solved):.1f} s off, "
            f"{median(row.on.seconds for row in solved):.1f} s on"
        )
    return "; ".join(parts)


def draw(rows: Sequence[Row], title: str, file: Path) -> None:
    """A line for each problem, from its seconds without speculation to those with it."""
    import matplotlib as mpl  # noqa: PLC0415 (optional)
    from matplotlib.figure import Figure  # noqa: PLC0415 (as above)

    from spex_agents.bench.plot import COLORS  # noqa: PLC0415

    with mpl.rc_context({"svg.hashsalt": "spex", "font.size": 10}):
        figure = Figure(figsize=(8.0, 0.8 + 0.32 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        ordered = sorted(rows, key=lambda row: (not row.on.passed, row.off.seconds), reverse=True)
        for height, row in enumerate(ordered):
            color = COLORS[0] if row.on.passed else COLORS[7]
            seconds = (row.off.seconds, row.on.seconds)
            axes.plot(seconds, (height, height), color=color, linewidth=1.2, alpha=0.6, zorder=1)
            axes.plot(seconds[0], height, "o", color=color, mfc="white")
            axes.plot(seconds[1], height, "o", color=color)
            axes.annotate(
                f"{row.ratio:.1f}",
                (max(seconds), height),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color="#555555",
            )
        axes.set_yticks(range(len(ordered)), [row.problem for row in ordered])
        axes.set(xscale="log", title=title)
        axes.set(xlabel="seconds to a program that passes: hollow without speculation, filled with")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", alpha=0.3)
        metadata = {"Date": None} if file.suffix == ".svg" else None
        figure.savefig(file, metadata=metadata, dpi=110)


def main(
    problems: Annotated[
        list[str] | None,
        typer.Argument(
            help="By name: factorial, HumanEval/53. Default: our own.", show_default=False
        ),
    ] = None,
    *,
    engine: Annotated[
        str, typer.Option(help="As of spex solve.", envvar="SPEX_ENGINE")
    ] = "embedded",
    model: options.Model = None,
    api_key: options.ApiKey = None,
    rollouts: Annotated[int, typer.Option(help="Programs, at most.")] = POLICY.rollouts,
    delay: Annotated[
        float, typer.Option(help="Seconds that each run of the tests takes longer.", min=0)
    ] = 0.0,
    seed: options.Seed = 0,
    json: options.Json = False,
    figure: Annotated[
        Path | None, typer.Option(help="Draw it: .svg, .png or .pdf.", show_default=False)
    ] = None,
) -> None:
    """Seconds to the first program that passes its tests, without and with speculation."""
    with exit_codes():
        at_least_one(rollouts=rollouts)
        if figure is not None:
            check_figure(figure)
        if engine == "simulated":
            raise SettingsError("engine='simulated': writes no programs")
        requests = {name: named(name) for name in problems} if problems else easy()
        policy = replace(POLICY, rollouts=rollouts)
        opened = make_engine(engine, model, api_key)

        async def run() -> list[Row]:
            async with opened:
                return await measure(opened, requests, policy, delay=delay, seed=seed)

        rows = asyncio.run(run())
        slow = f", tests {delay:g} s slower" if delay else ""
        title = f"{opened.name}, {rollouts} programs{slow}"
        if figure is not None:
            draw(rows, title, figure)
        if json:
            print(
                dumps({"title": title, "said": said(rows), "rows": [row.report() for row in rows]})
            )
        else:
            Console(width=None if sys.stdout.isatty() else 120).print(table(rows, title))


if __name__ == "__main__":
    typer.run(main)
