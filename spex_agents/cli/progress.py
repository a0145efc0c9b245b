"""How far a comparison is, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text


@dataclass(slots=True)
class _Score:
    right: int = 0
    problems: int = 0
    failed: int = 0

    def __str__(self) -> str:
        failed = f" ({self.failed} failed)" if self.failed else ""
        return f"{self.right}/{self.problems}{failed}"


class ComparisonProgress:
    """What a comparison has come to so far: its `Progress`.

    Args:
        problems: How many there are.
        methods: Their names, baselines included.
        tell: Told a line as each problem ends.
        clock: Seconds that go on.

    Example:
        >>> progress = ComparisonProgress(2, ["greedy", "rebase"], tell=print, clock=lambda: 0.0)
        >>> progress.begin(7, "greedy")
        >>> progress.end({"problem": 7, "method": "greedy", "right": False, "error": None})
        >>> progress.end({"problem": 7, "method": "rebase", "right": True, "error": None})
        problem 7 is done (1 of 2); right so far: greedy 0/1, rebase 1/1; less than a minute left
    """

    def __init__(
        self,
        problems: int,
        methods: Sequence[str],
        *,
        tell: Callable[[str], None] = lambda line: None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.problems = problems
        self.done = 0
        self.scores = {method: _Score() for method in methods}
        self._tell, self._clock = tell, clock
        self._running: dict[int, str] = {}
        self._ended: dict[int, set[str]] = {}
        self._searched: set[int] = set()
        self._begun = clock()

    def begin(self, problem: int, method: str) -> None:
        """A method begins on a problem."""
        self._searched.add(problem)
        self._running = {**self._running, problem: method}

    def end(self, row: Mapping[str, Any]) -> None:
        """A method has ended on a problem, in this run or an earlier one."""
        problem, score = row["problem"], self.scores[row["method"]]
        if row["error"] is None:
            score.problems += 1
            score.right += row["right"]
        else:
            score.failed += 1
        ended = self._ended.setdefault(problem, set())
        ended.add(row["method"])
        if len(ended) == len(self.scores):
            self.done = len(self._finished())
            self._running = {one: name for one, name in self._running.items() if one != problem}
            self._tell(
                f"problem {problem} is done ({self.done} of {self.problems}); right so far: "
                f"{self.right_so_far()}; {self.left()}"
            )

    def right_so_far(self) -> str:
        return ", ".join(f"{method} {score}" for method, score in self.scores.items())

    def running(self) -> str:
        """What runs now, each problem with its method."""
        running = self._running
        return ", ".join(f"problem {one}: {name}" for one, name in running.items()) or "starting"

    def _finished(self) -> list[int]:
        whole = len(self.scores)
        return [problem for problem, ended in self._ended.items() if len(ended) == whole]

    def left(self) -> str:
        """How long the rest may take, at the pace of the problems that this run has searched."""
        if self.done == self.problems:
            return "all done"
        searched = sum(problem in self._searched for problem in self._finished())
        if not searched:
            return "time left not known yet"
        seconds = (self._clock() - self._begun) / searched * (self.problems - self.done)
        minutes = round(seconds / 60)
        if seconds < 60:
            return "less than a minute left"
        return f"about {minutes} min left" if minutes < 120 else f"about {minutes / 60:.0f} h left"


@contextmanager
def shown(problems: int, methods: Sequence[str], *, off: bool) -> Iterator[ComparisonProgress]:
    """Tell on standard error how far it is: live on a terminal, else a line for each problem."""
    console = Console(stderr=True)
    each = ", ".join(methods)
    how = "without speculation" if off else "policies without and with speculation"
    typer.echo(f"{problems} problems, each by {each}; {how}", err=True)
    if not console.is_terminal:
        yield ComparisonProgress(problems, methods, tell=lambda line: typer.echo(line, err=True))
        return
    progress = ComparisonProgress(problems, methods)
    drawn = partial(picture, progress)
    with Live(get_renderable=drawn, console=console, transient=True):
        yield progress


def picture(progress: ComparisonProgress) -> RenderableType:
    """The comparison as it stands, for a terminal."""
    line = Table.grid(padding=(0, 1))
    line.add_row(
        ProgressBar(total=progress.problems, completed=progress.done, width=24),
        f"{progress.done} of {progress.problems} problems",
        Text(progress.left(), "cyan"),
    )
    return Group(
        line,
        Text(f"right so far: {progress.right_so_far()}"),
        Text(f"now: {progress.running()}", "dim"),
    )
