"""``spex demo``: the same search without and with speculation, side by side."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from spex_agents import demo
from spex_agents.answers import equivalent
from spex_agents.cli.live import FRAME_SECONDS, picture
from spex_agents.engines.embedded.engine import EmbeddedEngine
from spex_agents.problems.kinds import Stated
from spex_agents.search.tree import Tree
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.outcome import recording
from spex_agents.speculation.reporting.events import ThoughtEvent
from spex_agents.speculation.session import Session
from spex_agents.speculation.solving import Result, run_to_end

ROWS = 15
"""Thoughts of each tree on the screen."""

NEXT = """What next?
  {spex} solve "What is 2 + 3?"
      a question of yours, on the same small model
  docs/quickstart/agent.md
      a search in a LangGraph agent, with your model
  docs/speculation.md
      how it runs ahead, and why the tree is the same"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One search, and how long it took.

    Attributes:
        seconds: On the clock of the loop.
        recording: For `spex view`.
    """

    result: Result
    seconds: float
    recording: Mapping[str, Any]


class Screen:
    """Two panels beside each other: each has its title, its clock and its tree.

    Args:
        console: Where to draw; nothing moves where it is no terminal.
    """

    def __init__(self, console: Console) -> None:
        self._titles = ("waiting for each check", "running ahead")
        self._panels: list[RenderableType] = [Text("..."), Text("...")]
        self._clocks = ["", ""]
        self._live = Live(self._picture(), console=console, auto_refresh=False)
        self._moves = console.is_terminal

    def __enter__(self) -> Screen:
        self._live.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._live.__exit__(*exc)

    async def watch(self, place: int, session: Session) -> None:
        """Redraw a panel until cancelled."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while self._moves:
            self.show(place, session, loop.time() - begun)
            await asyncio.sleep(FRAME_SECONDS)

    def show(self, place: int, session: Session, seconds: float, *, ended: bool = False) -> None:
        """Draw a session as it stands."""
        self._panels[place] = picture(session, seconds, ROWS, ended=ended)
        self._clocks[place] = f"{seconds:.1f} s"
        self._live.update(self._picture(), refresh=True)

    def _picture(self) -> RenderableType:
        table = Table.grid(expand=True)
        table.add_column(ratio=1)
        table.add_column(ratio=1)
        table.add_row(
            *(
                Panel(panel, title=f"{title}  {clock}".rstrip(), height=ROWS + 7)
                for panel, title, clock in zip(
                    self._panels, self._titles, self._clocks, strict=True
                )
            )
        )
        return table


async def showcase(seed: int, console: Console, wait: float) -> tuple[Run, Run]:
    """Run the demonstration on the embedded engine, and print it as it goes.

    Args:
        seed: Of the searches.
        console: Where to print.
        wait: Seconds that the unit tests of a step wait besides.

    Returns:
        The search without speculation, and with it.
    """
    problem = demo.PROBLEM
    tests = demo.UnitTests(wait, await demo.isolation_here())
    console.print(
        f"A small language model adds up: {' '.join(problem.question.split())}\n"
        f"It writes one step at a time. Each step has to pass unit tests, which take {wait:g} s."
    )
    async with EmbeddedEngine() as engine:
        config = demo.tested(engine, tests)
        with Screen(console) as screen:
            off = await _run(replace(config, speculation=None), problem, seed, screen, 0)
            on = await _run(config, problem, seed, screen, 1)
        console.print(_compared(off, on))
        once = await _run(demo.greedy(engine), problem, seed)
    console.print(_verdicts(once, on, problem))
    spex = "spex" if shutil.which("spex") else sys.argv[0]  # `make demo` activates nothing
    console.print(NEXT.format(spex=spex), highlight=False, markup=False)
    return off, on


async def _run(
    config: SearchConfig, problem: Stated, seed: int, screen: Screen | None = None, place: int = 0
) -> Run:
    clock = asyncio.get_running_loop().time
    begun = clock()
    events: list[ThoughtEvent] = []
    tree = Tree(problem.question, seed)
    async with Session(config, tree, run=uuid4().hex, listener=events.append) as session:
        watching = None if screen is None else asyncio.create_task(screen.watch(place, session))
        try:
            result = await run_to_end(session)
        finally:
            if watching is not None:
                watching.cancel()
                await asyncio.wait([watching])
        seconds = clock() - begun
        if screen is not None:
            screen.show(place, session, seconds, ended=True)
    run = recording(config, "rebase", result, seconds, events)
    return Run(result=result, seconds=seconds, recording=run)


def _compared(off: Run, on: Run) -> str:
    ledger = on.result.ledger
    same = off.result.tree.sha256() == on.result.tree.sha256()
    ratio = off.seconds / on.seconds
    times = f"{ratio:.1f} times as fast" if ratio >= 1.05 else "no faster, this time"
    return (
        f"\n{'The same' if same else 'ANOTHER'} tree of {len(on.result.tree)} thoughts, {times}: "
        f"{on.seconds:.1f} s in place of {off.seconds:.1f} s.\n"
        f"{ledger.hits} thoughts were begun before their turn, and needed. For others that were "
        f"not needed the model read {ledger.vain_tokens} tokens and wrote {ledger.wasted_tokens}, "
        f"beside {ledger.useful_tokens} for the tree."
    )


def _verdicts(once: Run, on: Run, problem: Stated) -> str:
    return (
        f"\nIn one go, without a search, the model answers {once.result.answer}, which is "
        f"{_verdict(once.result, problem)}. The search answers {on.result.answer}, which is "
        f"{_verdict(on.result, problem)}.\n"
    )


def _verdict(result: Result, problem: Stated) -> str:
    right = result.answer is not None and equivalent(result.answer, problem.answer)
    return "right" if right else "wrong"
