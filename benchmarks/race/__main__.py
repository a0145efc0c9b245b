"""Races this library against others: ``python -m benchmarks.race --python treequest=PATH ...``.

The scripted server is started, and each contestant is run as a program by the interpreter of its
own environment, one after the other, on the same problems. Contestants whose environment is not
given are left out. ``--json FILE`` keeps every row; see docs/race.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.race.contests import CONTESTS, OURS, Contestant, contests
from spex_agents.bench.figures import wilson

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


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


@contextmanager
def serving(count: int, seed: int, speed: float, upstream: str = "") -> Iterator[str]:
    """The address of the race's server, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.race.server"]
    options = ["--count", str(count), "--seed", str(seed), "--speed", str(speed)]
    options += ["--upstream", upstream] if upstream else []
    with subprocess.Popen(  # noqa: S603
        [*command, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as run:
        try:
            assert run.stdout is not None  # noqa: S101 (narrowing)
            yield run.stdout.readline().strip()
        finally:
            run.terminate()


def call(url: str, *, post: bool = False) -> Any:
    request = urllib.request.Request(url, b"" if post else None)  # noqa: S310 (our own)
    with urllib.request.urlopen(request) as reply:  # noqa: S310
        return json.load(reply)


def run(
    contest: str,
    entry: Contestant,
    python: str,
    url: str,
    *,
    count: int,
    seed: int,
    at_once: int,
    path: str = "",
) -> Line:
    """Let one contestant solve the problems, and read what that has cost at the server."""
    call(f"{url}/reset", post=True)
    program = HERE / "contestants" / f"{entry.program}.py"
    options = ["--url", url, "--count", str(count), "--seed", str(seed), "--at-once", str(at_once)]
    done = subprocess.run(  # noqa: S603
        [python, str(program), *options, "--settings", json.dumps(entry.settings)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), path)))},
    )
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    error = "" if done.returncode == 0 else done.stderr.strip().rpartition("\n")[2]
    if not rows:
        return Line(contest=contest, name=entry.name, error=error or "no answers")
    spent = call(f"{url}/spent")
    rows = [row | spent[str(row["problem"])] for row in rows]
    return Line(
        contest=contest,
        name=entry.name,
        seconds=round(median(row["seconds"] for row in rows), 3),
        tokens=round(fmean(row["tokens"] for row in rows), 1),
        at_answer=sum(row["at_answer"] for row in rows),
        left=sum(row["left"] for row in rows),
        right=sum(row["right"] for row in rows),
        problems=len(rows),
        error=error,
        rows=rows,
    )


def show(lines: Sequence[Line], title: str) -> None:
    table = Table("contestant", title=title)
    for heading in ("seconds", "tokens", "at answer", "left", "right", "95 % interval"):
        table.add_column(heading, justify="right")
    for line in lines:
        if line.error:
            table.add_row(line.name, line.error)
            continue
        low, high = wilson(line.right, line.problems)
        table.add_row(
            line.name,
            f"{line.seconds:.1f}",
            f"{line.tokens:.0f}",
            str(line.at_answer),
            str(line.left),
            f"{line.right}/{line.problems}",
            f"{low:.0%} to {high:.0%}",
        )
    Console(width=120).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    known = ", ".join(
        sorted({e.environment for c in CONTESTS.values() for e in c.entries} - {OURS})
    )
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help=f"interpreter of an environment: {known}",
    )
    parser.add_argument("--sal", default="", help="src folder of a checkout of search-and-learn")
    parser.add_argument("--contest", action="append", choices=CONTESTS, help="all by default")
    parser.add_argument("--count", type=int, default=20, help="problems")
    parser.add_argument("--seed", type=int, default=0, help="of the problems")
    parser.add_argument("--at-once", type=int, default=4, help="problems solved at a time")
    parser.add_argument("--speed", type=float, default=1.0, help="times as fast as a real server")
    parser.add_argument("--answers", type=int, default=12, help="of AB-MCTS")
    parser.add_argument("--samples", type=int, default=16, help="of self-consistency, at most")
    parser.add_argument("--only", default="", help="contestants whose names begin so")
    parser.add_argument("--upstream", default="", help="address of a server whose model writes")
    parser.add_argument("--json", type=Path, help="write all rows there")
    given = parser.parse_args()
    pythons = {OURS: sys.executable} | dict(each.split("=", 1) for each in given.python)
    known_contests = contests(answers=given.answers, samples=given.samples)
    lines: list[Line] = []
    with serving(given.count, given.seed, given.speed, given.upstream) as url:
        for name in given.contest or CONTESTS:
            outcomes: list[Line] = []
            for entry in known_contests[name].entries:
                if entry.environment in pythons and entry.name.startswith(given.only):
                    line = run(
                        name, entry, pythons[entry.environment], url, count=given.count,
                        seed=given.seed, at_once=given.at_once, path=given.sal,
                    )  # fmt: skip
                    outcomes.append(line)
                    lines.append(line)
                    if given.json:  # hours on a real model: nothing is lost
                        rows = json.dumps([asdict(each) for each in lines], indent=1)
                        given.json.write_text(rows + "\n")
            show(outcomes, known_contests[name].title)


if __name__ == "__main__":
    main()
