"""What the README and the docs show runs as printed."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from printed import README, ROOT, blocks, commands, with_scripts

COMMANDS = [command for block in blocks(README, "console") for command in commands(block.text)]
SNIPPETS = [block.text for block in blocks(README, "python")]
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def test_there_is_something_to_run() -> None:
    assert len(SNIPPETS) >= 3
    assert len(COMMANDS) >= 3


@pytest.mark.model
@pytest.mark.parametrize("code", SNIPPETS, ids=lambda code: code.strip().splitlines()[-1])
def test_python_runs_as_printed(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, str(README), "exec"), {"__name__": "readme"})  # noqa: S102
    printed = capsys.readouterr().out
    assert printed.strip() not in ("", "None")


@pytest.mark.parametrize(
    "code",
    [
        block.text
        for page in PAGES
        if page.parent.name != "quickstart"  # they run as a whole: test_quickstarts.py
        for block in blocks(page, "python")
    ],
)
def test_the_python_of_the_docs_runs(code: str) -> None:
    exec(compile(code, "docs", "exec"), {"__name__": "docs"})  # noqa: S102


@pytest.mark.model
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run_as_printed(command: str) -> None:
    done = subprocess.run(
        shlex.split(command),
        capture_output=True,
        text=True,
        check=False,
        env=with_scripts({}),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("page", [README, *PAGES])
def test_its_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []
