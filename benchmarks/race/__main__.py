"""Races this library against others: ``python -m benchmarks.race --python treequest=PATH ...``.

The scripted server is started, and each contestant as a program by the interpreter of its own
environment. They solve each problem in turn. Contestants whose environment is not given are left
out. ``--rows FOLDER`` keeps every row, ``python -m benchmarks.race table`` draws what was kept; see
docs/race.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.race.contests import CONTESTS, OURS, Contestant, contests
from benchmarks.race.rows import HEADINGS, ROWS, Line, keep, kept, line_of, markdown, same_trees

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@contextmanager
def serving(
    count: int, seed: int, speed: float, upstream: str = "", shots: int = 2, *, small: bool = False
) -> Iterator[str]:
    """The address of the race's server, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.race.server"]
    options = ["--count", str(count), "--seed", str(seed), "--speed", str(speed)]
    options += ["--upstream", upstream, "--shots", str(shots)] if upstream else []
    options += ["--small"] if small else []
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


class Racer:
    """A contestant as a program in its own environment, kept from problem to problem.

    Args:
        entry: Who.
        python: The interpreter.
        url: The race's server.
        seed: Of the problems.
        path: A folder more to import from.
        small: Short problems.
    """

    def __init__(
        self,
        entry: Contestant,
        python: str,
        url: str,
        *,
        seed: int = 0,
        path: str = "",
        small: bool = False,
    ) -> None:
        self.entry = entry
        self.rows: list[dict[str, Any]] = []
        self.error = ""
        self._url = url
        self._errors = TemporaryFile("w+")  # noqa: SIM115 (closed on the way out)
        program = HERE / "contestants" / f"{entry.program}.py"
        options = ["--url", url, "--seed", str(seed), "--settings", json.dumps(entry.settings)]
        options += ["--small"] if small else []
        self._program = subprocess.Popen(  # noqa: S603
            [python, str(program), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), path)))},
        )

    def __enter__(self) -> Racer:
        return self

    def __exit__(self, *_: object) -> None:
        self._program.kill()
        self._program.communicate()
        self._errors.close()

    def solve(self, numbers: Sequence[int]) -> None:
        """Solve some problems at the same time, and read what that has cost at the server."""
        if self.error:
            return
        assert self._program.stdin is not None and self._program.stdout is not None  # noqa: S101, PT018 (narrowing)
        call(f"{self._url}/reset", post=True)
        with suppress(BrokenPipeError):  # it has failed as it began
            self._program.stdin.write(f"{json.dumps(numbers)}\n")
            self._program.stdin.flush()
        rows: list[dict[str, Any]] = []
        while len(rows) < len(numbers) and (line := self._program.stdout.readline()):
            rows += [json.loads(line)] if line.startswith("{") else []  # libraries print, too
        if len(rows) < len(numbers):
            self._program.wait()
            self._errors.seek(0)
            self.error = self._errors.read().strip().rpartition("\n")[2] or "no answers"
        spent = call(f"{self._url}/spent")
        self.rows += [row | spent[str(row["problem"])] for row in rows]

    def line(self, contest: str) -> Line:
        """What it came to so far."""
        return line_of(contest, self.entry.name, self.rows, self.error)


def race(contest: str, racers: Sequence[Racer], count: int, at_once: int) -> Iterator[list[Line]]:
    """The outcomes so far, after each turn: some problems, by one contestant.

    So all meet the same load of the machine.
    """
    for begun in range(0, count, at_once):
        numbers = list(range(begun, min(count, begun + at_once)))
        for racer in racers:
            racer.solve(numbers)
            yield [racer.line(contest) for racer in racers]


def show(lines: Sequence[Line], title: str) -> None:
    table = Table(HEADINGS[0], title=title)
    for heading in HEADINGS[1:]:
        table.add_column(heading, justify="right")
    for line in lines:
        table.add_row(*line.cells())
    Console(width=120).print(table)
    tell_trees(lines)


def tell_trees(lines: Sequence[Line]) -> bool:
    """Say how many trees are the same with speculation and without it; whether all are."""
    same, pairs = same_trees(lines)
    if pairs:
        print(f"{same} of {pairs} trees are the same with speculation and without it")
    return same == pairs


def draw(files: Sequence[str]) -> None:
    """Print the tables of rows that were kept, for docs/race.md."""
    equal = True
    for file in map(Path, files) if files else sorted(ROWS.glob("*.jsonl")):
        title, lines = kept(file)
        print(f"## {title}\n\n{markdown(lines)}")
        equal = tell_trees(lines) and equal
    if not equal:
        raise SystemExit("speculation has changed a tree")


def main() -> None:
    if sys.argv[1:2] == ["table"]:
        draw(sys.argv[2:])
        return
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
    parser.add_argument(
        "--small", action="store_true", help="short problems, half the candidates and rollouts"
    )
    parser.add_argument("--shots", type=int, default=2, help="solved problems that model is shown")
    parser.add_argument(
        "--rows", type=Path, help=f"keep all rows there, a file for each contest ({ROWS.name}/)"
    )
    given = parser.parse_args()
    pythons = {OURS: sys.executable} | dict(each.split("=", 1) for each in given.python)
    known_contests = contests(
        answers=given.answers,
        samples=given.samples,
        **({"wide": 4, "rollouts": 4} if given.small else {}),
    )
    names = ("count", "seed", "at_once", "speed", "small", "shots")
    run = {name: getattr(given, name) for name in names} | {"upstream": bool(given.upstream)}
    with serving(
        given.count, given.seed, given.speed, given.upstream, given.shots, small=given.small
    ) as url:
        for name in given.contest or CONTESTS:
            outcomes: list[Line] = []
            with ExitStack() as stack:
                racers = [
                    stack.enter_context(
                        Racer(
                            entry,
                            pythons[entry.environment],
                            url,
                            seed=given.seed,
                            path=given.sal,
                            small=given.small,
                        )
                    )
                    for entry in known_contests[name].entries
                    if entry.environment in pythons and entry.name.startswith(given.only)
                ]
                for outcomes in race(name, racers, given.count, given.at_once):
                    if given.rows:  # hours on a real model: nothing is lost
                        keep(given.rows, known_contests[name].title, run, outcomes)
            show(outcomes, known_contests[name].title)


if __name__ == "__main__":
    main()
