"""Repairs a repository: ``python -m examples.coding_assistant.repair DIRECTORY``.

A search whose thoughts are edits. Each stands on its parent's files, and is worth the share of the
repository's tests that pass with it; while they run, the search goes on.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Unpack

import typer

from examples.coding_assistant.edits import Edit, apply, edits_in
from spex_agents import Rebase, create_tot_graph, make_engine
from spex_agents.cli import options
from spex_agents.cli.exits import exit_codes
from spex_agents.engines import Engine, PromptTemplate, Request, Sampling
from spex_agents.engines.calls.gate import Gate
from spex_agents.errors import SettingsError
from spex_agents.nodes import SearchSettings
from spex_agents.rewards import Cached
from spex_agents.sandbox import Outcome, SandboxLimits, Workspace
from spex_agents.search import Decision, Finish, Limits, Thought, TreeView

if TYPE_CHECKING:
    from spex_agents.named import AnyEngine

LIMITS = SandboxLimits(seconds=120.0, cpu_seconds=30, memory=512 << 20, processes=32)
PYTEST = ("env", "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1", "python", "-m", "pytest")
COMMAND = (*PYTEST, "-q", "--tb=short", "-p", "no:cacheprovider")
END = "\n>>>>>>> REPLACE"
PLACES = 4

_COUNTS = re.compile(r"(\d+) (passed|failed|errors?)\b")
_TESTS = re.compile(r"(^|/)(tests?/|test_|conftest\.py|[^/]*_test\.py)|^[^/]*\.(ini|cfg|toml)$")
_MOST_SHOWN = 6000  # characters of files and of output, together

TEMPLATE = PromptTemplate(
    system="You repair programs. Answer with one edit: the file's path, then a block that says "
    "what to search for and what to put there, copied exactly. If nothing is left to repair, "
    "answer with nothing.",
    examples=(
        (
            "add() subtracts.\n\nsums.py\n```\ndef add(a, b):\n    return a - b\n```",
            "sums.py\n<<<<<<< SEARCH\n    return a - b\n=======\n    return a + b\n>>>>>>> REPLACE",
        ),
    ),
    delimiter=f"{END}\n",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What came of a repair.

    Attributes:
        edits: The best ones that were found.
        share: Of the tests that pass with them.
        before: Likewise, without.
        ledger: What the search has cost.
        tree_sha256: The hash of its tree.
    """

    edits: tuple[Edit, ...]
    share: float
    before: float
    ledger: dict[str, float]
    tree_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Repairing(Rebase):
    """Rebase, until an edit passes all tests: then the best path is known, ended or not."""

    width: int = 8

    def decide(self, state: Any, tree: TreeView) -> tuple[Any, Decision]:
        if any(path in tree and tree.reward(path) == 1 for path in state[1]):
            return state, Finish()
        return Rebase.decide(self, state, tree)


class RepositoryTests:
    """The share of a repository's tests that pass with the edits of a path; 0 if one does not fit.

    Edits of tests, or of what says how they run, do not fit. What runs depends on the files alone,
    so the reward is pure, and equal edits are run once.

    Args:
        workspace: The files before any edit; stays as it is.
        total: How many tests there are: fewer that pass are not all.
        command: Runs the tests, as pytest says what passed.
        places: Runs at a time.
    """

    name = "repository's tests"
    needs_logprobs = False
    pure = True
    seeded = False

    def __init__(
        self,
        workspace: Workspace,
        total: int,
        *,
        command: Sequence[str] = COMMAND,
        places: int = PLACES,
    ) -> None:
        self._states: dict[str, Workspace | None] = {_told(()): workspace}
        self._total = total
        self._command = command
        self._gate = Gate(places)
        self._known = Cached(_Whole(self._run))

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        edits = tuple(edit for thought in thoughts for edit in edits_in(thought.text))
        self._state(edits)
        content = [Thought(text=_told(edits), tokens=0)]
        return await self._known.score("", content, request)

    def _state(self, edits: tuple[Edit, ...]) -> Workspace | None:
        """The files with these edits, which stand on those without the last one."""
        if (told := _told(edits)) not in self._states:
            *before, last = edits
            state = self._state(tuple(before))
            after = None if state is None or _TESTS.search(last.path) else state.fork()
            self._states[told] = after if after is not None and apply([last], after) else None
        return self._states[told]

    async def _run(self, content: str, request: Request) -> float:
        if (workspace := self._states[content]) is None:
            return 0.0
        async with self._gate.place(request):
            outcome = await workspace.fork().run(self._command)
        passed, seen = counted(outcome)
        return passed / max(self._total, seen)


def _told(edits: Sequence[Edit]) -> str:
    """Edits as a text that is theirs alone."""
    return "\n".join(map(repr, edits))


class _Whole:
    """A reward of a content, for `Cached`."""

    name = RepositoryTests.name
    needs_logprobs, pure, seeded = False, True, False

    def __init__(self, run: Any) -> None:
        self._run = run

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        return float(await self._run(thoughts[0].text, request))


def counted(outcome: Outcome) -> tuple[int, int]:
    """How many tests passed, and how many there were, by the last line that pytest says."""
    if outcome.status not in ("ok", "failed"):
        return 0, 0
    lines = [line for line in outcome.stdout.splitlines() if _COUNTS.search(line)]
    found = [(int(n), what) for n, what in _COUNTS.findall(lines[-1])] if lines else []
    return sum(n for n, what in found if what == "passed"), sum(n for n, _ in found)


def patch_in(text: str, *, ended: bool = False) -> str | None:
    """The edits of a path that has ended, as its answer."""
    return text if ended and edits_in(text) else None


def settings(**more: Any) -> SearchSettings:
    """The search of a repair; `more` replaces some of it."""
    chosen: SearchSettings = {
        "policy": Repairing(),
        "limits": Limits(depth=3, step_tokens=256, path_tokens=768),
        "sampling": Sampling(stop=(END,)),
        "template": TEMPLATE,
        "extract": patch_in,
        "vote": "best",
        **more,  # type: ignore[typeddict-item]
    }
    return chosen


async def repair(
    engine: Engine,
    directory: Path,
    *,
    issue: str = "",
    seed: int = 0,
    command: Sequence[str] = COMMAND,
    packages: Path | None = None,
    **search: Unpack[SearchSettings],
) -> Repair:
    """Search for edits with which all tests of a repository pass. The directory stays as it is.

    Args:
        engine: Who writes.
        directory: The repository.
        issue: What is wrong; the file ISSUE.md if empty.
        seed: Decides the run.
        command: Runs the tests, as pytest does.
        packages: The virtual environment that they need; this process's own if None.
        **search: Keywords of the search that replace the assistant's own.

    Raises:
        SettingsError: There are no tests, or programs cannot be kept apart here.
    """
    packages = Path(sys.prefix) if packages is None else packages
    async with await Workspace.open(directory, limits=LIMITS, packages=packages) as workspace:
        outcome = await workspace.fork().run(command)
        passed, total = counted(outcome)
        if total == 0:
            said = (outcome.stdout + outcome.stderr).strip()[-300:]
            raise SettingsError(f"directory={str(directory)!r}: no test ran: {said}")
        tests = RepositoryTests(workspace, total, command=command)
        graph = create_tot_graph(engine, **settings(**{"reward": tests, **search})).compile()
        question = _question(workspace, issue, outcome.stdout)
        found = await graph.ainvoke({"question": question, "seed": seed})
        texts = {tuple(row["path"]): row["text"] for row in found["thoughts"]}
        shares = {tuple(row["path"]): row["reward"] for row in found["rewards"]}
        best = max(shares, key=lambda path: (shares[path], -len(path)), default=())
        before = passed / total
        better = shares.get(best, 0.0) > before
        paths = [best[: depth + 1] for depth in range(len(best))] if better else []
        return Repair(
            edits=tuple(edit for path in paths for edit in edits_in(texts[path])),
            share=shares[best] if better else before,
            before=before,
            ledger=found["ledger"],
            tree_sha256=found["tree_sha256"],
        )


def _question(workspace: Workspace, issue: str, output: str) -> str:
    """What is wrong, the files, and what the tests say, as far as there is room."""
    files = workspace.files()
    if not issue and "ISSUE.md" in files:
        issue = workspace.read("ISSUE.md").decode()
    room, parts = _MOST_SHOWN, [issue.strip()]
    for path in files:
        if PurePosixPath(path).suffix == ".py" and not _TESTS.search(path):
            text = workspace.read(path).decode(errors="replace")
            if len(text) <= room:
                room -= len(text)
                parts.append(f"{path}\n```\n{text}```")
    return "\n\n".join([*parts, f"The tests say:\n{output.strip()[-max(room, 600) :]}"])


def main(
    directory: Annotated[Path, typer.Argument(help="The repository.")],
    *,
    issue: Annotated[str, typer.Option(help="What is wrong; default: its ISSUE.md.")] = "",
    engine: Annotated[
        str, typer.Option(help="As of spex solve.", envvar="SPEX_ENGINE")
    ] = "embedded",
    model: options.Model = None,
    api_key: options.ApiKey = None,
    width: Annotated[int, typer.Option(help="Edits to begin with.")] = 8,
    seed: options.Seed = 0,
    write: Annotated[bool, typer.Option(help="Make the edits in the directory.")] = False,
) -> None:
    """Repair a repository until its tests pass. Exit code 0: they do; 1: they do not."""
    with exit_codes():
        opened: AnyEngine = make_engine(engine, model, api_key)

        async def run() -> Repair:
            async with opened:
                work = partial(repair, opened, directory, issue=issue, seed=seed)
                return await work(policy=Repairing(width=width))

        found = asyncio.run(run())
        for edit in found.edits:
            print(f"{edit.path}\n<<<<<<< SEARCH\n{edit.search}=======\n{edit.replace}{END[1:]}")
            if write:
                file = directory / edit.path
                before = file.read_text(encoding="utf-8") if file.exists() else ""
                file.write_text(edit.applied(before) or before, encoding="utf-8")
        print(f"{found.share:.0%} of the tests pass; {found.before:.0%} did before.")
    raise typer.Exit(0 if found.share == 1 else 1)


if __name__ == "__main__":
    typer.run(main)
