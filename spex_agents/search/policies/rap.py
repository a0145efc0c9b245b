"""Reasoning via planning: MCTS whose unvisited thoughts are judged by their own reward.

Sources: RAP (Hao et al., 2023) and its successor library llm-reasoners, for the rule and defaults.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from statistics import fmean
from typing import Literal, NamedTuple

from spex_agents.errors import at_least_one, at_least_zero, one_of
from spex_agents.search.action import STEP, Action
from spex_agents.search.policies.nodes import UNVISITED, Node, Rounds, along, child_of
from spex_agents.search.policy import (
    Decision,
    Expand,
    Finish,
    Policy,
    State,
    best_of,
    children,
    present,
)
from spex_agents.search.tree import ROOT, Path, Tree, TreeView


class _State(NamedTuple):
    leaves: tuple[Path, ...]
    """Where each rollout so far has ended."""
    node: Path
    """The thought that the rollout under way has expanded; the root's children before any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rap(Policy):
    """Rollouts that expand `width` children at a time and go on with the most promising one.

    A rollout walks down by the largest Q + w * sqrt(ln N_parent / max(1, N)), where Q is the
    largest return of the visits, or the thought's own reward before the first; from the first
    thought that has no children it expands, and follows the child with the best reward, until the
    path ends. The return of a visit is the mean of the rewards from that thought to the leaf. That
    is how the source runs its mathematics; its class adds the rewards up, and takes their mean.

    The source answers with the path of the best return: search with ``vote="best"`` and
    ``weight="mean"`` for that.

    With ``select="puct"`` the last term is w * P * sqrt(N_parent) / (1 + N), as in AlphaZero: P is
    the child's share of what the model itself would write, by the mean log-probability of its
    tokens. That needs an engine with log-probabilities.

    Attributes:
        rollouts: Paths walked to their end; a rollout may end at a leaf met before.
        width: Children of an expanded thought.
        exploration: w of the rule.
        select: The rule's last term: "uct" as in the source, or "puct".
        back_up: What the return of a visit is of the rewards: their "mean" or their "sum".
        value: What Q is of the returns: their "max" or their "mean".
        counted: "walked" as in the source: the leaves of rollouts vote. "ended": all ended paths,
            siblings that no rollout has walked to included.
        step: How a thought is asked for. RAP's mathematics uses sub-questions and their answers,
            which [`SUBQUESTION`][spex_agents.search.prompts.SUBQUESTION] asks for in one line.

    Raises:
        SettingsError: `rollouts` or `width` is below 1, `exploration` is negative, or `select`,
            `back_up`, `value` or `counted` is none of the two.

    Example:
        >>> from spex_agents.search.tree import Tree
        >>> policy = Rap(width=2)
        >>> policy.decide(policy.start(), Tree("What is 2 + 2?", seed=0))[1]
        Expand(paths=((0,), (1,)))
    """

    rollouts: int = 10
    width: int = 4
    exploration: float = 1.0
    step: Action = STEP
    back_up: Literal["mean", "sum"] = "mean"
    value: Literal["max", "mean"] = "max"
    counted: Literal["walked", "ended"] = "walked"
    select: Literal["uct", "puct"] = "uct"

    def __post_init__(self) -> None:
        at_least_one(rollouts=self.rollouts, width=self.width)
        at_least_zero(exploration=self.exploration)
        one_of("back_up", self.back_up, "mean", "sum")
        one_of("value", self.value, "max", "mean")
        one_of("counted", self.counted, "walked", "ended")
        one_of("select", self.select, "uct", "puct")

    @property
    def needs_logprobs(self) -> bool:
        return self.select == "puct"

    def start(self) -> State:
        return _State(Rounds(), ROOT)

    def action(self, path: Path) -> Action:
        return self.step

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        leaves, node = state
        if len(leaves) == self.rollouts:
            return _State(leaves, ROOT), Finish()
        if (*node, 0) not in tree:
            return _State(leaves, node), Expand(children(node, self.width))
        if not isinstance(leaves, Rounds):
            leaves = Rounds.of(leaves, reduce(partial(self._ended, tree=tree), leaves, UNVISITED))
        node = best_of(children(node, self.width), tree) or node
        while self._ends(node, tree):
            leaves = Rounds.of((*leaves, node), self._ended(leaves.root, node, tree))
            if len(leaves) == self.rollouts:
                return _State(leaves, ROOT), Finish()
            node = self._descend(leaves.root, tree)
        return _State(leaves, node), Expand(children(node, self.width))

    def voters(self, state: State, tree: Tree) -> tuple[Path, ...] | None:
        if self.counted == "ended":
            return None
        return tuple(leaf for leaf in dict.fromkeys(state[0]) if leaf and tree.thought(leaf).ends)

    def remaining(self, state: State, tree: Tree) -> int | None:
        left = self.rollouts - len(state[0])
        return left if self.counted == "walked" or not left else None

    def _ends(self, node: Path, tree: TreeView) -> bool:
        """Whether a rollout ends there: nothing is below, or all that is there was lost."""
        if node and tree.thought(node).ends:
            return True
        return (*node, 0) in tree and not present(children(node, self.width), tree)

    def _ended(self, root: Node, leaf: Path, tree: TreeView) -> Node:
        """The question's node after one more rollout; a value is of the returns of the visits."""
        total = 0.0

        def visited(node: Node, depth: int) -> Node:
            nonlocal total
            visits, value, below = node
            if not depth:
                return visits + 1, value, below
            total += tree.reward(leaf[:depth])
            now = total / (len(leaf) - depth + 1) if self.back_up == "mean" else total
            if self.value == "mean":
                value += now  # their sum
            elif not visits or now > value:
                value = now
            return visits + 1, value, below

        return along(root, leaf, visited)

    def _descend(self, root: Node, tree: TreeView) -> Path:
        """Walk down to the first thought without children, or to where a rollout ends."""
        path, node = ROOT, root
        while (*path, 0) in tree and not (path and tree.thought(path).ends):
            if not (siblings := present(children(path, self.width), tree)):
                break
            below = [child_of(node, sibling[-1]) for sibling in siblings]
            terms = self._terms(siblings, node[0], below, tree)
            values = [
                (total / visits if self.value == "mean" else total) if visits else tree.reward(path)
                for path, (visits, total, _) in zip(siblings, below, strict=True)
            ]
            scores = [
                value + self.exploration * term for value, term in zip(values, terms, strict=True)
            ]
            best = scores.index(max(scores))
            path, node = siblings[best], below[best]
        return path

    def _terms(
        self, siblings: Sequence[Path], parent_visits: int, nodes: Sequence[Node], tree: TreeView
    ) -> list[float]:
        """What the rule adds to the value of each, for being little visited."""
        if self.select == "uct":
            log_visits = math.log(parent_visits) if parent_visits else 0.0
            return [math.sqrt(log_visits / max(1, visits)) for visits, _, _ in nodes]
        scale = math.sqrt(parent_visits)
        shares = priors(siblings, tree)
        each = zip(siblings, nodes, strict=True)
        return [shares[path] * scale / (1 + visits) for path, (visits, _, _) in each]


def priors(siblings: Sequence[Path], tree: TreeView) -> dict[Path, float]:
    """Each sibling's share, by the mean log-probability of its tokens.

    One without log-probabilities, such as a thought that is not written yet, has a mean share.
    """
    logprobs = {path: tree.thought(path).logprobs for path in siblings}
    weights = {path: math.exp(fmean(each)) for path, each in logprobs.items() if each}
    usual = fmean(weights.values()) if weights else 1.0
    total = math.fsum(weights.get(path, usual) for path in siblings)
    return {path: weights.get(path, usual) / total for path in siblings}
