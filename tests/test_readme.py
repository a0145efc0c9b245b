"""What the README and the docs show runs as printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str, page: Path = README) -> list[str]:
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [text for kind, text in found if kind == language]


COMMANDS = [
    line[2:] for text in blocks("console") for line in text.splitlines() if line[:2] == "$ "
]


def test_there_is_something_to_run() -> None:
    assert len(blocks("python")) >= 3
    assert len(COMMANDS) >= 3


@pytest.mark.model
@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.strip().splitlines()[-1])
def test_python_runs_as_printed(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, str(README), "exec"), {"__name__": "readme"})  # noqa: S102
    printed = capsys.readouterr().out
    assert printed.strip() not in ("", "None")


@pytest.mark.parametrize(
    "code",
    [code for page in sorted((ROOT / "docs").glob("*.md")) for code in blocks("python", page)],
)
def test_the_python_of_the_docs_runs(code: str) -> None:
    exec(compile(code, "docs", "exec"), {"__name__": "docs"})  # noqa: S102


@pytest.mark.model
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run_as_printed(command: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        shlex.split(command),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("page", [README, *sorted((ROOT / "docs").rglob("*.md"))])
def test_its_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []
