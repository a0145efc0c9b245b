"""Ctrl-C on the command line: one line, exit code 130, and what was done is shown and kept."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import SPEX, eventually

STUCK = """
import sys, time

async def stuck(question, steps):
    print("stuck", file=sys.stderr, flush=True)
    time.sleep(1000)
    return 1.0
"""
SMALL = ("--engine", "simulated", "--width", "4", "--rollouts", "3", "--depth", "5")


@contextmanager
def running(
    directory: Path, *arguments: str, until: str, command: Sequence[str] = SPEX
) -> Iterator[subprocess.Popen[str]]:
    """A command in a directory, once it has said `until` on standard error."""
    with subprocess.Popen(
        [*command, *arguments],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        try:
            assert run.stderr is not None
            while until not in (line := run.stderr.readline()):
                assert line, run.wait()
            yield run
        finally:
            run.kill()


def pressed_until_it_ends(run: subprocess.Popen[str]) -> tuple[str, str]:
    """What a process prints while Ctrl-C is pressed again and again."""

    def over() -> bool:
        run.send_signal(signal.SIGINT)
        return run.poll() is not None

    assert eventually(over)
    return run.communicate()


def sums(directory: Path) -> str:
    lines = [{"question": f"What is {one} + 2?", "answer": str(one + 2)} for one in range(3)]
    (directory / "sums.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return "sums.jsonl"


def test_pressed_again_it_ends_even_a_search_whose_reward_never_returns(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(STUCK)
    command = ("solve", "What is 5 + 7?", "--engine", "simulated", "--reward", "mine:stuck")
    with running(tmp_path, *command, until="stuck") as run:
        stdout, stderr = pressed_until_it_ends(run)
    assert (run.returncode, stdout, stderr) == (130, "", "interrupted\n")


def test_pressed_while_the_end_of_another_is_under_way_it_is_no_second_line(tmp_path: Path) -> None:
    code = (
        "import signal, sys, threading, time; from spex_agents.cli import app, main\n"
        "@app.command()\n"
        "def waits():\n"
        "    from spex_agents.cli.exits import exit_codes\n"
        "    with exit_codes():\n"
        "        threading.Thread(target=time.sleep, args=(1000,)).start()\n"
        "        print('begun', file=sys.stderr, flush=True)\n"
        "        time.sleep(1000)\n"
        "main()\n"
    )
    with running(tmp_path, "waits", until="begun", command=(sys.executable, "-c", code)) as run:
        stdout, stderr = pressed_until_it_ends(run)
    assert (run.returncode, stdout, stderr) == (130, "", "interrupted\n")


@pytest.mark.slow
def test_a_comparison_shows_what_it_has_come_to_and_goes_on_with_its_rows(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    command = ("compare", "--problems", sums(tmp_path), *SMALL, "--rows", rows.name)
    with running(tmp_path, *command, until="1 of 3") as run:
        run.send_signal(signal.SIGINT)
        stdout, stderr = run.communicate()
    assert run.returncode == 130
    assert "as far as it came" in stdout
    assert "rebase" in stdout
    told = stderr.splitlines()[-2:]
    assert told == ["to go on: the same command again, with --rows rows.jsonl", "interrupted"]
    before = rows.read_text()
    subprocess.run([*SPEX, *command], cwd=tmp_path, capture_output=True, check=True)
    assert rows.read_text().startswith(before)
