"""What CONTRIBUTING.md says to add works as printed: each one file and one line."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from printed import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## Add (.+?)$\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def add(section: str, tree: Path) -> None:
    """Write the file and the lines that a section says, into a copy of the sources."""
    for name, text in re.findall(r"`([\w/]+\.py)`:\n\n```python\n(.*?)```", section, re.DOTALL):
        (tree / name).write_text(text, encoding="utf-8")
    ((name, diff),) = re.findall(r"`([\w/]+\.py)`:\n\n```diff\n(.*?)```", section, re.DOTALL)
    lines = (tree / name).read_text(encoding="utf-8").splitlines()
    place = -1
    for line in diff.splitlines():
        if line.startswith("+"):
            place += 1
            lines.insert(place, line[1:])
        else:
            place = lines.index(line[1:], place + 1)
    (tree / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def program(command: str) -> list[str]:
    """The arguments of Python for a command of the page."""
    name, *arguments = shlex.split(command)
    if name == "python":
        return arguments
    assert name == "spex"
    return ["-c", "from spex_agents.cli import main; main()", *arguments]


def test_there_are_sections() -> None:
    assert {
        "a policy",
        "a reward",
        "an engine",
        "a server's dialect",
        "a termination rule",
        "a problem set",
    } == set(SECTIONS)


@pytest.mark.parametrize("name", SECTIONS)
def test_what_is_added_as_printed_works(name: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "spex_agents", tmp_path / "spex_agents")
    add(SECTIONS[name], tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    commands = re.findall(r"^\$ (.+)$", SECTIONS[name], re.MULTILINE)
    assert commands
    for command in commands:
        done = subprocess.run(
            [sys.executable, *program(command)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()


@pytest.mark.parametrize("name", SECTIONS)
def test_what_is_added_keeps_to_the_rules(name: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "spex_agents", tmp_path / "spex_agents")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    add(SECTIONS[name], tmp_path)
    for tool in (["ruff", "check", "."], ["ruff", "format", "--check", "."]):
        done = subprocess.run(
            [sys.executable, "-m", *tool], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout
