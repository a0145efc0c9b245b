"""``spex demo``: greedy decoding beside the search, problem by problem."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from spex_agents import demo
from spex_agents.answers import canonical
from spex_agents.engines.embedded.engine import EmbeddedEngine
from spex_agents.problems import Stated
from spex_agents.search import BestOfN
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.reporting.events import ThoughtEvent
from spex_agents.speculation.solving import solve
from spex_agents.view import recording


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What one way to answer a problem came to."""

    answer: str | None
    right: bool
    tokens: int
    seconds: float
    tree_sha256: str
    recording: Mapping[str, Any]


async def showcase(
    problems: tuple[Stated, ...], seed: int, console: Console
) -> tuple[Attempt, Attempt]:
    """Run the demonstration on the embedded engine, and print it as it goes.

    Returns:
        The search of the first problem, without speculation and with it.
    """
    table = Table("problem", expand=True)
    for heading in ("answer", "greedy", "search", "tokens", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    tries: list[tuple[Attempt, Attempt]] = []
    async with EmbeddedEngine() as engine:
        search = demo.config(engine)
        waits = replace(search, speculation=None)
        cold = replace(search.sampling, temperature=0)
        greedy = replace(waits, policy=BestOfN(width=1), sampling=cold)
        with Live(console=console, auto_refresh=False) as live:

            def show(text: str) -> None:
                live.update(Group(table, Text(text)), refresh=True)

            for problem in problems:
                show(f"{problem.title} ...")
                one = await _attempt(greedy, problem, seed)
                many = await _attempt(search, problem, seed)
                tries.append((one, many))
                table.add_row(*_row(problem, one, many))
            show(f"{problems[0].title}, this time without running ahead ...")
            waited = await _attempt(waits, problems[0], seed)
            show(_summary(tries, waited))
    return waited, tries[0][1]


async def _attempt(config: SearchConfig, problem: Stated, seed: int) -> Attempt:
    clock = asyncio.get_running_loop().time
    begun = clock()
    events: list[ThoughtEvent] = []
    result = await solve(config, problem.question, seed=seed, listener=events.append)
    seconds = clock() - begun
    return Attempt(
        answer=result.answer,
        right=result.answer == canonical(problem.answer),
        tokens=result.ledger.decoded_tokens,
        seconds=seconds,
        tree_sha256=result.tree.sha256(),
        recording=recording(config, "rebase", result, seconds, events),
    )


def _row(problem: Stated, greedy: Attempt, search: Attempt) -> list[Text]:
    return [
        Text(problem.title, no_wrap=True, overflow="ellipsis"),
        Text(problem.answer),
        _verdict(greedy),
        _verdict(search),
        Text(f"{greedy.tokens} / {search.tokens}"),
        Text(f"{greedy.seconds:.1f} / {search.seconds:.1f}"),
    ]


def _verdict(attempt: Attempt) -> Text:
    verdict = "right" if attempt.right else "wrong"
    return Text(f"{attempt.answer or 'none'} {verdict}", "green" if attempt.right else "red")


def _summary(tries: list[tuple[Attempt, Attempt]], waited: Attempt) -> str:
    greedy = sum(one.right for one, _ in tries)
    search = sum(many.right for _, many in tries)
    ahead = tries[0][1]
    same = "the same tree" if ahead.tree_sha256 == waited.tree_sha256 else "another tree"
    return (
        f"Right: greedy decoding {greedy} of {len(tries)}, search {search} of {len(tries)}.\n"
        f"The first search took {ahead.seconds:.1f} s running ahead and {waited.seconds:.1f} s "
        f"without: {same}."
    )
