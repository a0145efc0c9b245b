"""RSTAR-MCTS in the reduced form that SPEX evaluates: rollouts of one chain, chosen by UCT.

Sources: rStar (Qi et al., 2024) for UCT and its constant; SPEX (OSDI 2026) for `width` samples of
the same next step in place of rStar's five actions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from spex_agents.errors import at_least_one, at_least_zero
from spex_agents.search.policy import Decision, Expand, Finish, Policy, State, children
from spex_agents.search.tree import ROOT, Path, TreeView


class _State(NamedTuple):
    leaves: tuple[Path, ...]
    """Where each rollout so far has ended: all that UCT needs, visits and values follow from it."""
    chain: Path
    """The thought that the rollout under way has demanded; the root between rollouts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rstar(Policy):
    """Monte-Carlo tree search with an outcome reward.

    A rollout walks from the root: to a child not explored yet if there is one, else to the child
    with the largest Q / N + c * sqrt(ln N_parent / N); and goes on, thought by thought, until its
    path ends. The reward of that leaf counts for every thought of the path.

    rStar picks among unexplored children at random. Children here are independent samples of the
    same step, so the first unexplored index is such a random choice; and it depends on nothing but
    the tree, which makes it easy to foresee.

    Attributes:
        rollouts: Paths walked to their end; a rollout may end at a leaf met before.
        width: Samples of the next step at each thought.
        exploration: c of UCT.

    Raises:
        SettingsError: `rollouts` or `width` is below 1, or `exploration` is negative.
    """

    leaves_only: ClassVar[bool] = True

    rollouts: int = 16
    width: int = 4
    exploration: float = 2.0

    def __post_init__(self) -> None:
        at_least_one(rollouts=self.rollouts, width=self.width)
        at_least_zero(exploration=self.exploration)

    def start(self) -> State:
        return _State((), ROOT)

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        leaves, chain = state
        if chain and self.terminal(chain, tree):
            leaves, chain = (*leaves, chain), ROOT
        while len(leaves) < self.rollouts:
            if not chain:
                chain = self._descend(leaves, tree)
                if chain in tree and self.terminal(chain, tree):
                    leaves, chain = (*leaves, chain), ROOT
                    continue
            child = self.unexplored(chain, tree)
            return _State(leaves, child), Expand((child,))
        return _State(leaves, ROOT), Finish()

    def remaining(self, state: State, tree: TreeView) -> int:
        return self.rollouts - len(state[0])

    # What a variant of the search does in its own way.

    def branches(self, path: Path) -> int:
        """How many children a thought has."""
        return self.width

    def unexplored(self, path: Path, tree: TreeView) -> Path:
        """The child to explore next of a thought that has an unexplored one."""
        return next(child for child in children(path, self.width) if child not in tree)

    def terminal(self, path: Path, tree: TreeView) -> bool:
        """Whether a rollout ends there."""
        return tree.thought(path).ends

    def outcome(self, leaf: Path, tree: TreeView) -> float:
        """What a rollout that ends there brings."""
        return tree.reward(leaf)

    def _descend(self, leaves: tuple[Path, ...], tree: TreeView) -> Path:
        """Walk by UCT to the first thought that has an unexplored child, or to a leaf."""
        path = ROOT
        below = [(leaf, self.outcome(leaf, tree)) for leaf in leaves]
        while True:
            depth = len(path)
            branches = self.branches(path)
            visits = [0] * branches
            values = [0.0] * branches
            for leaf, reward in below:
                visits[leaf[depth]] += 1
                values[leaf[depth]] += reward
            if 0 in visits:
                return path
            log_visits = math.log(len(below))
            scores = [
                value / count + self.exploration * math.sqrt(log_visits / count)
                for value, count in zip(values, visits, strict=True)
            ]
            best = scores.index(max(scores))
            path = (*path, best)
            if self.terminal(path, tree):
                return path
            below = [(leaf, reward) for leaf, reward in below if leaf[depth] == best]
