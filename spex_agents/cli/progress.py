"""How far a long command is, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def shown(problems: int) -> Iterator[Callable[[int, str], None]]:
    """Tell on standard error how far it is: a bar on a terminal, else a line for each problem."""
    console = Console(stderr=True)
    seen: dict[int, None] = {}
    if not console.is_terminal:

        def tell(number: int, method: str) -> None:
            if number not in seen:
                seen[number] = None
                typer.echo(f"problem {number} ({len(seen)} of at most {problems})", err=True)

        yield tell
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=problems)

        def advance(number: int, method: str) -> None:
            bar.update(task, completed=len(seen), description=f"problem {number}: {method}")
            seen[number] = None

        yield advance
