"""What CONTRIBUTING.md says to add works as printed: one file and one line as a rule."""

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

OURS_ALONE = (
    "--no-site-packages",
    "--ignore-missing-imports",
    "--follow-imports=silent",
    "--cache-dir=/dev/null",
)
"""What makes mypy check some files in seconds: it reads none of the libraries."""


def add(section: str, tree: Path) -> list[str]:
    """Write the file and the lines that a section says, into a copy of the sources.

    Returns:
        The files that are new.
    """
    new = re.findall(r"`([\w/]+\.py)`:\n\n```python\n(.*?)```", section, re.DOTALL)
    for name, text in new:
        (tree / name).write_text(text, encoding="utf-8")
    ((name, diff),) = re.findall(r"`([\w/]+\.py)`:\n\n```diff\n(.*?)```", section, re.DOTALL)
    lines = (tree / name).read_text(encoding="utf-8").splitlines()
    place = -1
    for line in diff.splitlines():
        if line.startswith("+"):
            place += 1
            lines.insert(place, line[1:])
            continue
        place = lines.index(line[1:], place + 1)
        if line.startswith("-"):
            del lines[place]
            place -= 1
    (tree / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [name for name, _ in new]


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
        "a vote",
        "a problem set",
    } == set(SECTIONS)


@pytest.mark.parametrize("name", SECTIONS)
def test_what_is_added_as_printed_works(name: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "spex_agents", tmp_path / "spex_agents")
    new = add(SECTIONS[name], tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    commands = re.findall(r"^\$ (.+)$", SECTIONS[name], re.MULTILINE)
    assert commands
    for file in new:
        assert ">>> " in (tmp_path / file).read_text(encoding="utf-8")
        module = file.removesuffix(".py").replace("/", ".")
        test = f"import doctest, {module} as new; print(doctest.testmod(new, raise_on_error=True))"
        commands.append(f"python -c {shlex.quote(test)}")
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


def test_what_is_added_has_strict_types(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "spex_agents", tmp_path / "spex_agents")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    new = [file for section in SECTIONS.values() for file in add(section, tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *OURS_ALONE, *new],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
