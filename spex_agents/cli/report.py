"""What a search came to: as JSON for programs, as a panel for people."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from spex_agents.bench.figures import several
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.outcome import outcome
from spex_agents.speculation.solving import Result


def as_json(config: SearchConfig, policy: str, result: Result, seconds: float) -> dict[str, Any]:
    """Plain data for ``--json``: `tokens` is the tree's, `ledger` has all that was spent."""
    came = outcome(result, seconds)
    return {
        "answer": came.pop("answer"),
        "seconds": came.pop("seconds"),
        "policy": policy,
        "engine": config.engine.name,
        "seed": result.tree.seed,
        "speculation": config.speculation is not None,
        **came,
    }


def _hash(result: Result) -> str:
    return "depends on timing" if result.timed else result.tree_sha256[:12]


def panel(config: SearchConfig, policy: str, result: Result, seconds: float) -> RenderableType:
    """The answer, the best reasoning that leads to it, and what it cost."""
    tree, ledger = result.tree, result.ledger
    title = Text("no answer" if result.answer is None else result.answer, "bold green")
    body: list[RenderableType] = []
    if (leaf := result.path) is not None:
        steps = Table.grid(padding=(0, 1))
        for depth, thought in enumerate(tree.chain(leaf)):
            reward = tree.rewards.get(leaf[: depth + 1])
            mark = "" if reward is None else f"{reward:.2f}"
            steps.add_row(Text(mark, "cyan"), Text(thought.text.strip()))
        body += [steps, ""]
    leaves = sum(1 for _ in tree.leaves())
    cost = Table.grid(padding=(0, 2))
    cost.add_row("search", f"{policy} on {config.engine.name}, seed {tree.seed}")
    cost.add_row(
        "tree", f"{several(len(tree), 'thought')}, {several(leaves, 'path')} ended, {_hash(result)}"
    )
    rate = ledger.decoded_tokens / seconds if seconds else 0.0
    cost.add_row("spent", f"{ledger.bill} in {seconds:.1f} s, {rate:.0f} written/s")
    if config.speculation is not None:
        cost.add_row(
            "ahead",
            f"{ledger.hits} of {ledger.launched} thoughts begun early were needed",
        )
    if result.agreement is not None:
        cost.add_row("votes", f"{len(result.ballots)}, {result.agreement:.0%} for the answer")
    if result.failures:
        cost.add_row(
            "failed", f"{several(len(result.failures), 'path')}, which the search went on without"
        )
    if result.stopped is not None:
        cost.add_row("stopped", result.stopped)
    return Panel(Group(*body, cost), title=title, title_align="left")
