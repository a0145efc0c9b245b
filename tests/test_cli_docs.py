"""The documents name the commands, options and policies that there are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from printed import PAGES, README, ROOT, blocks, without_blocks
from typer.core import TyperGroup
from typer.main import get_command

from spex_agents.answers.registry import RULES
from spex_agents.answers.votes import Vote
from spex_agents.cli import app
from spex_agents.engines.calls.control import SpecialTokens
from spex_agents.engines.reasoning import Thinking
from spex_agents.engines.simulated.fleet import Routing
from spex_agents.engines.simulated.hardware import HARDWARE
from spex_agents.named import REWARDS
from spex_agents.problems import SETS
from spex_agents.rewards.combining.aggregate import WAYS
from spex_agents.sandbox import Isolation
from spex_agents.search.registry import POLICIES
from spex_agents.speculation.config import ForecastName
from spex_agents.speculation.slots.budget import Allocation

ALL = (README, *PAGES, ROOT / "CHANGELOG.md")
CLI = ROOT / "docs" / "cli.md"


def walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, command
    if isinstance(command, TyperGroup):
        for word, below in command.commands.items():
            yield from walk(below, f"{name} {word}")


COMMANDS: Mapping[str, Any] = dict(walk(get_command(app), "spex"))


def options(command: Any) -> set[str]:
    named = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    return {"--help", *(name for name in named if name.startswith("--"))}


def printed(page: Path) -> Iterator[str]:
    """What a page says to run with ``spex``, in blocks and in its text."""
    for block in blocks(page):
        for line in block.text.replace("\\\n", " ").splitlines():
            if found := re.match(r"(?:\$ )?(spex .*)", line):
                yield found[1]
    for found in re.finditer(r"`(spex [^`]*)`", without_blocks(page)):
        yield found[1]


def command_of(words: list[str]) -> str | None:
    """The longest name of a command that the words begin with."""
    names = [" ".join(words[:count]) for count in range(2, len(words) + 1)]
    return max((name for name in names if name in COMMANDS), key=len, default=None)


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.stem)
def test_what_a_page_says_to_run_exists_with_its_options(page: Path) -> None:
    for line in printed(page):
        words = shlex.split(line.replace("...", ""), comments=True)
        ours = words[: words.index("--")] if "--" in words else words
        name = command_of(ours)
        assert name is not None, line
        given = {word.partition("=")[0] for word in ours if word.startswith("--")}
        assert given - options(COMMANDS[name]) == set(), line


def test_there_is_something_to_check() -> None:
    assert sum(1 for page in ALL for _ in printed(page)) > 40


def test_the_page_of_the_command_line_has_every_command_and_policy() -> None:
    text = CLI.read_text(encoding="utf-8")
    leaves = [name for name, each in COMMANDS.items() if not isinstance(each, TyperGroup)]
    assert [name for name in leaves if f"`{name}" not in text] == []
    assert [name for name in POLICIES if f"`{name}`" not in text] == []


@pytest.mark.parametrize(
    ("command", "option", "names"),
    [
        ("solve", "policy", POLICIES),
        ("solve", "reward", REWARDS),
        ("solve", "aggregate", WAYS),
        ("solve", "weight", WAYS),
        ("solve", "vote", get_args(Vote)),
        ("solve", "termination", RULES),
        ("solve", "thinking", get_args(Thinking)),
        ("solve", "special-tokens", get_args(SpecialTokens)),
        ("compare", "problems", SETS),
        ("compare", "isolation", get_args(Isolation)),
        ("bench sim", "preset", HARDWARE),
        ("bench sim", "forecast", get_args(ForecastName)),
        ("bench sim", "allocation", get_args(Allocation)),
        ("bench scaling", "routing", get_args(Routing)),
    ],
)
def test_the_help_of_an_option_names_all_that_it_takes(
    command: str, option: str, names: Iterable[str]
) -> None:
    (found,) = (each for each in COMMANDS[f"spex {command}"].params if f"--{option}" in each.opts)
    assert set(names) - set(re.findall(r"[\w-]+", found.help)) == set()


def test_what_a_page_installs_is_declared() -> None:
    declared = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    for page in ALL:
        for extras in re.findall(r"'?(?:\.|spex-agents)\[([\w,]+)\]", page.read_text("utf-8")):
            assert set(extras.split(",")) <= set(declared), page
