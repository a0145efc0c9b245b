"""Best-of-n: independent answers, the control that every tree search has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spex_agents.errors import at_least_one
from spex_agents.search.action import WHOLE, Action
from spex_agents.search.policy import Decision, Expand, Finish, Policy, State, children
from spex_agents.search.tree import ROOT, Path, Tree, TreeView


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOfN(Policy):
    """Sample `width` whole answers; nothing is decided by a reward until the vote.

    Attributes:
        width: How many answers.
        batch: How many to ask for at a time, so that a termination rule may end the search in
            between; None for all at once.

    Raises:
        SettingsError: `width` or `batch` is below 1.

    Example:
        >>> from spex_agents.search.tree import Tree
        >>> policy = BestOfN(width=3)
        >>> policy.decide(policy.start(), Tree("What is 2 + 2?", seed=0))[1]
        Expand(paths=((0,), (1,), (2,)))
    """

    leaves_only: ClassVar[bool] = True

    width: int = 16
    batch: int | None = None

    def __post_init__(self) -> None:
        at_least_one(width=self.width, batch=self.width if self.batch is None else self.batch)

    def start(self) -> State:
        return 0

    def action(self, path: Path) -> Action:
        return WHOLE

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        if (left := self.width - state) < 1:
            return state, Finish()
        size = min(left, self.batch or left)
        return state + size, Expand(children(ROOT, size, state))

    def remaining(self, state: State, tree: Tree) -> int:
        return self.width - sum(path in tree for path in children(ROOT, self.width))
