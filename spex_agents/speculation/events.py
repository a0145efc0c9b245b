"""What is told to whoever watches a search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias, TypedDict

from spex_agents.search.tree import Path

Status: TypeAlias = Literal["speculative", "accepted", "scored", "cancelled"]


class ThoughtEvent(TypedDict):
    """What happened to a thought, for whoever watches the search.

    `status` is "speculative" (begun before it was demanded), "accepted" (in the tree), "scored"
    (its reward is in the tree) or "cancelled" (retracted before it was demanded).
    """

    type: Literal["thought"]
    id: str
    parent: str
    status: Status
    text: str
    reward: float | None


class LedgerEvent(TypedDict):
    """What a run of a search graph has spent, told once, at its end: `Ledger.report`."""

    type: Literal["ledger"]
    ledger: dict[str, float]


Listener: TypeAlias = Callable[[ThoughtEvent], None]


def path_id(path: Path) -> str:
    """The name of a path in events and request ids: ``0.3.1``; the root's is empty."""
    return ".".join(map(str, path))
