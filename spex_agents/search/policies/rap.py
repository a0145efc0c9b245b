"""Reasoning via planning: MCTS whose unvisited thoughts are judged by their own reward.

Sources: RAP (Hao et al., 2023) and its successor library llm-reasoners, for the rule and defaults.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from spex_agents.errors import at_least_one, at_least_zero
from spex_agents.search.action import STEP, Action
from spex_agents.search.policy import Decision, Expand, Finish, Policy, State, children
from spex_agents.search.tree import ROOT, Path, TreeView


class _State(NamedTuple):
    leaves: tuple[Path, ...]
    """Where each rollout so far has ended."""
    node: Path
    """The thought that the rollout under way has expanded; the root's children before any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rap(Policy):
    """Rollouts that expand `width` children at a time and go on with the most promising one.

    A rollout walks down by the largest Q + w * sqrt(ln N_parent / max(1, N)), where Q is the mean
    return of the visits, or the thought's own reward before the first; from the first thought that
    has no children it expands, and follows the child with the best reward, until the path ends.
    The return of a visit is the sum of the rewards from that thought to the leaf.

    Attributes:
        rollouts: Paths walked to their end; a rollout may end at a leaf met before.
        width: Children of an expanded thought.
        exploration: w of the rule.
        step: How a thought is asked for. RAP's mathematics uses sub-questions and their answers,
            which [`SUBQUESTION`][spex_agents.search.prompts.SUBQUESTION] asks for in one line.

    Raises:
        SettingsError: `rollouts` or `width` is below 1, or `exploration` is negative.
    """

    rollouts: int = 10
    width: int = 4
    exploration: float = 1.0
    step: Action = STEP

    def __post_init__(self) -> None:
        at_least_one(rollouts=self.rollouts, width=self.width)
        at_least_zero(exploration=self.exploration)

    def start(self) -> State:
        return _State((), ROOT)

    def action(self, path: Path) -> Action:
        return self.step

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        leaves, node = state
        if len(leaves) == self.rollouts:
            return _State(leaves, ROOT), Finish()
        if (*node, 0) not in tree:
            return _State(leaves, node), Expand(children(node, self.width))
        node = min(children(node, self.width), key=lambda path: (-tree.reward(path), path))
        while tree.thought(node).ends:
            leaves = (*leaves, node)
            if len(leaves) == self.rollouts:
                return _State(leaves, ROOT), Finish()
            node = self._descend(leaves, tree)
        return _State(leaves, node), Expand(children(node, self.width))

    def remaining(self, state: State, tree: TreeView) -> None:
        """Unknown: siblings of a followed child may end as well, and vote."""

    def _descend(self, leaves: tuple[Path, ...], tree: TreeView) -> Path:
        """Walk down to the first thought without children, or to a leaf."""
        visits: dict[Path, list[float]] = {}
        for leaf in leaves:
            gain = 0.0
            for depth in range(len(leaf), 0, -1):
                gain += tree.reward(leaf[:depth])
                visits.setdefault(leaf[:depth], []).append(gain)

        path, parent_visits = ROOT, len(leaves)
        while (*path, 0) in tree:
            log_visits = math.log(parent_visits) if parent_visits else 0.0

            def rank(child: Path, log_visits: float = log_visits) -> tuple[float, Path]:
                returns = visits.get(child, ())
                value = sum(returns) / len(returns) if returns else tree.reward(child)
                explore = math.sqrt(log_visits / max(1, len(returns)))
                return -(value + self.exploration * explore), child

            path = min(children(path, self.width), key=rank)
            parent_visits = len(visits.get(path, ()))
        return path
