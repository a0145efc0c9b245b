"""Best-of-n: independent answers, the control that every tree search has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spex_agents.errors import at_least_one
from spex_agents.search.action import WHOLE, Action
from spex_agents.search.policy import Decision, Expand, Finish, Policy, State, children
from spex_agents.search.tree import ROOT, Path, TreeView


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOfN(Policy):
    """Sample `width` whole answers at once; nothing is decided by a reward until the vote.

    Attributes:
        width: How many answers.

    Raises:
        SettingsError: `width` is below 1.
    """

    leaves_only: ClassVar[bool] = True

    width: int = 16

    def __post_init__(self) -> None:
        at_least_one(width=self.width)

    def start(self) -> State:
        return False

    def action(self, path: Path) -> Action:
        return WHOLE

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        return True, Finish() if state else Expand(children(ROOT, self.width))
