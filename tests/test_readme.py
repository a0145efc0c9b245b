"""What the README and the docs show runs as printed."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from printed import PAGES, README, anchors, blocks, commands, with_scripts, without_blocks

COMMANDS = [command for block in blocks(README, "console") for command in commands(block.text)]
SNIPPETS = [block.text for block in blocks(README, "python")]


def test_there_is_something_to_run() -> None:
    assert len(SNIPPETS) >= 2
    assert COMMANDS


RIGHT = (r"(?s)red.*blue.*yellow.* [1-9]\d*$", r"\bparis\b")
"""What the snippets print: a right answer and, where it is asked for, hits."""


@pytest.mark.model
@pytest.mark.parametrize(("code", "right"), list(zip(SNIPPETS, RIGHT, strict=True)))
def test_python_prints_a_right_answer(
    code: str, right: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(README.parent)  # as in a clone
    exec(compile(code, str(README), "exec", dont_inherit=True), {"__name__": "readme"})  # noqa: S102
    assert re.search(right, capsys.readouterr().out.strip().lower())


@pytest.mark.parametrize(
    "page",
    [
        page
        for page in PAGES
        if blocks(page, "python") and page.parent.name not in ("guides", "quickstart")
    ],
    ids=lambda page: page.stem,
)
def test_the_python_of_a_page_runs_from_its_first_block_to_its_last(page: Path) -> None:
    names = {"__name__": "docs"}
    for block in blocks(page, "python"):
        exec(compile(block.text, page.name, "exec", dont_inherit=True), names)  # noqa: S102


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


def links(page: Path) -> list[str]:
    return re.findall(r"\]\((?!https?:)([^)\s]+)\)", without_blocks(page))


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.stem)
def test_its_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        target, _, anchor = link.partition("#")
        aim = page.parent / target if target else page
        if not aim.exists() or (anchor and anchor not in anchors(aim)):
            broken.append(link)
    assert broken == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, new = {README}, {README}
    while new:
        aims = {
            (page.parent / link.split("#")[0]).resolve() for page in new for link in links(page)
        }
        new = {aim for aim in aims if aim.suffix == ".md"} - reached
        reached |= new
    assert set(PAGES) - reached == set()


def test_an_anchor_is_a_heading_as_github_writes_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b` (c), d-e!\n```sh\n# no heading\n```\n## Twice\n## Twice\n")
    assert anchors(page) == ["a-b-c-d-e", "twice", "twice-1"]
