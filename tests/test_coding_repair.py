"""Repairs of repositories: what an edit is, what it is worth, and the search for the right ones."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from examples.coding_assistant.edits import Edit, apply, edits_in
from examples.coding_assistant.repair import (
    COMMAND,
    LIMITS,
    Repair,
    RepositoryTests,
    counted,
    repair,
)
from spex_agents.engines import EmbeddedEngine, Proposer, Request
from spex_agents.errors import SettingsError
from spex_agents.sandbox import Outcome, Workspace
from spex_agents.search import Thought
from spex_agents.speculation import Speculation

REPOSITORIES = Path(__file__).parents[1] / "examples/coding_assistant/repositories"
ASKED = Request(id="r", seed=0)


def block(path: str, search: str, replace: str) -> str:
    return f"{path}\n<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE"


NEGATIVE = block(
    "stock.py",
    "        self._counts[item] = left\n",
    "        if left < 0:\n            raise ValueError(item)\n        self._counts[item] = left\n",
)
TOUCHING = block(
    "merging.py",
    "        if merged and start < merged[-1][1]:\n",
    "        if merged and start <= merged[-1][1]:\n",
)
INSIDE = block(
    "merging.py",
    "(merged[-1][0], end)\n",
    "(merged[-1][0], max(end, merged[-1][1]))\n",
)
WORDS = block("textkit/words.py", 'text.split(" ")\n', "text.lower().split()\n")
SLUG = block(
    "textkit/slug.py",
    '    return "-".join(words(text))[:most]\n',
    '    cut = "-".join(words(text))[: most + 1]\n'
    '    return cut if len(cut) <= most else cut.rpartition("-")[0]\n',
)
WRONG = block("nowhere.py", "x\n", "y\n")
CHEAT = block("test_stock.py", "def test_add():\n", "def test_add():\n    return\n")
BREAKS = block("stock.py", "class Stock:\n", "class Stock\n")

SCRIPTS = {
    "inventory": (WRONG, CHEAT, BREAKS, NEGATIVE),
    "intervals": (WRONG, TOUCHING, INSIDE),
    "textkit": (WRONG, SLUG, WORDS),
}
"""What the scripted model knows of each: useless edits and right ones."""


def scripted(name: str) -> Proposer:
    """Writes one of the edits by the seed, until all right ones are made."""

    async def propose(question: str, steps: Sequence[str], seed: int) -> str | Thought:
        left = [edit for edit in SCRIPTS[name] if edit not in steps]
        await asyncio.sleep(0.01)
        if len(left) == 1:
            return ""
        text = random.Random(seed).choice(left)
        return Thought(text=text, tokens=40, finish="step")

    return Proposer(propose, pure=True)


async def found(name: str, speculation: Speculation | None, seed: int = 1) -> Repair:
    return await repair(scripted(name), REPOSITORIES / name, seed=seed, speculation=speculation)


@pytest.fixture
async def stock() -> AsyncIterator[Workspace]:
    opened = await Workspace.open(
        REPOSITORIES / "inventory", limits=LIMITS, packages=Path(sys.prefix)
    )
    async with opened as workspace:
        yield workspace


def test_edits_are_read_as_models_write_them() -> None:
    (edit,) = edits_in(f"The count must not be negative.\n\n{NEGATIVE}\n\nThat is it.")
    assert (edit.path, edit.search) == ("stock.py", "        self._counts[item] = left\n")
    first, second = edits_in(f"{WORDS}\n{SLUG.removesuffix('>>>>>>> REPLACE')}")
    assert (first.path, second.path) == ("textkit/words.py", "textkit/slug.py")
    assert edits_in("nothing to do") == []
    assert Edit(path="a", search="x", replace="y").applied("xx") is None
    assert Edit(path="a", search="", replace="y").applied("") == "y"


async def test_edits_that_do_not_fit_change_nothing(stock: Workspace) -> None:
    assert not apply(edits_in(WRONG), stock)
    assert not apply([Edit(path="../stock.py", search="", replace="x")], stock)
    assert not apply([Edit(path="stock.py", search="", replace="x")], stock)
    assert apply(edits_in(NEGATIVE), stock.fork())
    assert b"ValueError" not in stock.read("stock.py")


async def test_the_reward_is_the_share_of_the_repository_s_tests(stock: Workspace) -> None:
    tests = RepositoryTests(stock, 3)

    async def worth(*texts: str) -> float:
        return await tests.score("", [Thought(text=text, tokens=9) for text in texts], ASKED)

    assert await worth() == pytest.approx(2 / 3)
    assert await worth(NEGATIVE) == 1
    assert await worth(NEGATIVE, NEGATIVE) == 1  # fits again, once
    assert await worth(CHEAT) == 0
    assert await worth(BREAKS) == 0
    assert await worth(WRONG, NEGATIVE) == 0


def test_what_pytest_counts_is_read_from_its_last_line() -> None:
    def outcome(text: str, status: str = "failed") -> Outcome:
        return Outcome(
            status=status,  # type: ignore[arg-type]
            code=1,
            stdout=text,
            stderr="",
            seconds=1,
            isolation="bubblewrap",
            caps="cgroup",
        )

    assert counted(outcome("9 passed\n2 failed, 3 passed, 1 error in 0.1s\n")) == (3, 6)
    assert counted(outcome("nothing")) == (0, 0)
    assert counted(outcome("3 passed", "time")) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
async def test_a_repository_is_repaired_while_its_tests_run(name: str) -> None:
    before = {path: path.read_bytes() for path in (REPOSITORIES / name).rglob("*.py")}
    ahead, plain = await found(name, Speculation()), await found(name, None)
    assert (ahead.share, ahead.before < 1) == (1, True)
    assert ahead.tree_sha256 == plain.tree_sha256
    assert (ahead.ledger["launched"] > 0, plain.ledger["launched"]) == (True, 0)
    assert {path: path.read_bytes() for path in before} == before


async def test_a_directory_without_tests_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    with pytest.raises(SettingsError, match="no test ran"):
        await repair(scripted("inventory"), tmp_path, command=COMMAND)


@pytest.mark.model
@pytest.mark.slow
async def test_the_small_model_tries() -> None:
    async with EmbeddedEngine() as engine:
        tried = await repair(engine, REPOSITORIES / "inventory")
    assert 0 <= tried.share <= 1
    assert tried.ledger["useful_tokens"] > 0
