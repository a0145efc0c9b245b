"""What ``spex compare`` shows while it runs."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import threading
from pathlib import Path
from typing import Any

from processes import PATIENCE, SPEX
from rich.console import Console
from typer.testing import CliRunner

from spex_agents.cli import app
from spex_agents.cli.progress import ComparisonProgress, picture

METHODS = ["greedy", "rebase", "majority"]
COMMAND = [
    *("compare", "--engine", "simulated", "--problems", "weekday-sums", "--limit", "2"),
    *("--policy", "rebase:width=2", "--depth", "3", "--off"),
]


def row(problem: int, method: str, *, right: bool = True, error: str | None = None) -> Any:
    return {"problem": problem, "method": method, "right": right, "error": error}


def test_a_problem_is_done_when_all_methods_have_ended_on_it() -> None:
    told: list[str] = []
    now = [0.0]
    progress = ComparisonProgress(4, METHODS, tell=told.append, clock=lambda: now[0])
    assert progress.running() == "starting"
    for problem in (5, 9):  # two at once
        progress.begin(problem, "greedy")
    assert progress.running() == "problem 5: greedy, problem 9: greedy"
    for method in METHODS:
        progress.begin(5, method)
        progress.end(row(5, method, right=method == "rebase"))
    assert progress.running() == "problem 9: greedy"
    now[0] = 90.0
    for method in METHODS:
        progress.end(row(9, method, error="EngineError: gone" if method == "majority" else None))
    assert told[0].startswith("problem 5 is done (1 of 4); right so far: greedy 0/1, rebase 1/1")
    assert told[1].endswith("greedy 1/2, rebase 2/2, majority 0/1 (1 failed); about 2 min left")


def test_problems_of_an_earlier_run_do_not_count_for_the_pace() -> None:
    now = [0.0]
    progress = ComparisonProgress(3, ["greedy"], clock=lambda: now[0])
    progress.end(row(0, "greedy"))
    assert (progress.done, progress.left()) == (1, "time left not known yet")
    progress.begin(1, "greedy")
    now[0] = 600.0
    progress.end(row(1, "greedy"))
    assert progress.left() == "about 10 min left"
    progress.end(row(2, "greedy"))
    assert progress.left() == "all done"


def test_the_picture_has_problems_done_right_answers_and_what_runs() -> None:
    progress = ComparisonProgress(8, METHODS)
    progress.begin(3, "rebase")
    screen = Console(file=io.StringIO(), width=80, record=True)
    screen.print(picture(progress))
    shown = screen.export_text()
    for words in ("0 of 8 problems", "rebase 0/0", "now: problem 3: rebase", "not known yet"):
        assert words in shown


def test_without_a_terminal_each_problem_is_a_line_on_standard_error() -> None:
    done = CliRunner().invoke(app, COMMAND)
    assert done.exit_code == 0, done.output
    first, *lines = done.stderr.splitlines()
    assert first.startswith("2 problems, each by greedy, rebase:width=2, majority; without spec")
    assert ["(1 of 2)" in lines[0], "(2 of 2)" in lines[1]] == [True, True]
    assert len(lines) == 2
    assert "right so far" not in done.stdout


def test_a_kept_comparison_is_told_as_done(tmp_path: Path) -> None:
    again = [*COMMAND, "--rows", str(tmp_path / "rows.jsonl"), "--json", str(tmp_path / "out.json")]
    CliRunner().invoke(app, again)
    done = CliRunner().invoke(app, again)
    assert "(2 of 2)" in done.stderr
    assert "all done" in done.stderr
    assert json.loads((tmp_path / "out.json").read_text())["lines"]


def test_on_a_terminal_it_is_drawn_there_and_the_table_goes_to_standard_output() -> None:
    screen, terminal = pty.openpty()
    seen: list[bytes] = []

    def read() -> None:
        while True:
            try:
                if not (more := os.read(screen, 65536)):
                    return
            except OSError:  # how a terminal says that nobody writes to it any more
                return
            seen.append(more)

    reading = threading.Thread(target=read)
    with subprocess.Popen(
        [*SPEX, *COMMAND],
        stdout=subprocess.PIPE,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
    ) as running:
        os.close(terminal)
        reading.start()
        stdout, _ = running.communicate(timeout=PATIENCE)
    reading.join()
    os.close(screen)
    drawn = b"".join(seen)
    assert running.returncode == 0, drawn
    assert b"of 2 problems" in drawn
    assert b"right so far" in drawn
    assert b"majority" in stdout
    assert b"right so far" not in stdout
