"""The rows of races: kept in a file for each contest, and drawn as the tables of docs/race.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

from spex_agents.bench.figures import wilson

ROWS = Path(__file__).parent / "rows"
KEPT = ("problem", "right", "seconds", "tokens", "at_answer", "left", "tree_sha256")
"""What is kept of a row; the hash of its tree has this library's alone."""
HEADINGS = ("contestant", "seconds", "tokens", "at answer", "left", "right", "95 % interval")


@dataclass(frozen=True, kw_only=True)
class Line:
    """A contestant's outcome.

    Attributes:
        contest: Its contest's name.
        name: Its own.
        seconds: From question to answer: median over the problems.
        tokens: Decoded by the server for a problem, mean.
        at_answer: Requests that were running when the answer was known, over all problems.
        left: Those that ran on.
        right: Right answers.
        problems: Of how many.
        error: Why there is nothing, or nothing more.
    """

    contest: str
    name: str
    seconds: float = 0.0
    tokens: float = 0.0
    at_answer: int = 0
    left: int = 0
    right: int = 0
    problems: int = 0
    error: str = ""
    rows: Sequence[Mapping[str, Any]] = field(default=(), repr=False)

    def cells(self) -> tuple[str, ...]:
        """Of the table, its name first."""
        if self.error:
            return self.name, self.error, *[""] * (len(HEADINGS) - 2)
        low, high = wilson(self.right, self.problems)
        return (
            self.name,
            f"{self.seconds:.1f}",
            f"{self.tokens:.0f}",
            str(self.at_answer),
            str(self.left),
            f"{self.right}/{self.problems}",
            f"{100 * low:.0f} to {100 * high:.0f} %",
        )


def line_of(contest: str, name: str, rows: Sequence[Mapping[str, Any]], error: str = "") -> Line:
    """What the rows of a contestant come to."""
    if not rows:
        return Line(contest=contest, name=name, error=error or "no answers")
    return Line(
        contest=contest,
        name=name,
        seconds=round(median(row["seconds"] for row in rows), 3),
        tokens=round(fmean(row["tokens"] for row in rows), 1),
        at_answer=sum(row["at_answer"] for row in rows),
        left=sum(row["left"] for row in rows),
        right=sum(row["right"] for row in rows),
        problems=len(rows),
        error=error,
        rows=tuple(rows),
    )


def keep(folder: Path, title: str, run: Mapping[str, Any], lines: Sequence[Line]) -> None:
    """Write the rows of a contest so far: first how it was run, then a line for each row."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"contestant": line.name, **{name: row[name] for name in KEPT if name in row}}
        for line in lines
        for row in line.rows
    ]
    told = "".join(f"{json.dumps(row)}\n" for row in ({"title": title, **run}, *rows))
    (folder / f"{lines[0].contest}.jsonl").write_text(told)


def kept(file: Path) -> tuple[str, list[Line]]:
    """The title of a contest, and its lines, of the rows that were kept."""
    run, *rows = map(json.loads, file.read_text().splitlines())
    names = dict.fromkeys(row["contestant"] for row in rows)
    lines = [
        line_of(file.stem, name, [row for row in rows if row["contestant"] == name])
        for name in names
    ]
    return run["title"], lines


def markdown(lines: Sequence[Line]) -> str:
    """The table of a page."""
    rows = [HEADINGS, ["---"] * len(HEADINGS), *(line.cells() for line in lines)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def same_trees(lines: Sequence[Line]) -> tuple[int, int]:
    """How many trees are the same with speculation and without it, and of how many."""
    hashes = {
        line.name: {row["problem"]: row.get("tree_sha256") for row in line.rows} for line in lines
    }
    pairs = [
        (without[problem], found)
        for name, trees in hashes.items()
        if name.endswith(", on") and (without := hashes.get(f"{name.removesuffix('on')}off"))
        for problem, found in trees.items()
        if problem in without
    ]
    return sum(None is not one == other for one, other in pairs), len(pairs)
