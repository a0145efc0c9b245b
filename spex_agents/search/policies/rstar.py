"""RSTAR-MCTS in the reduced form that SPEX evaluates: rollouts of one chain, chosen by UCT.

Sources: rStar (Qi et al., 2024) for UCT and its constant; SPEX (OSDI 2026) for `width` samples of
the same next step in place of rStar's five actions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Literal, NamedTuple

from spex_agents.errors import at_least_one, at_least_zero, one_of
from spex_agents.search.policies.nodes import UNVISITED, Node, Rounds, along, child_of
from spex_agents.search.policy import Decision, Expand, Finish, Policy, State, children
from spex_agents.search.tree import ROOT, Path, Tree, TreeView


class _State(NamedTuple):
    leaves: tuple[Path, ...]
    """Where each rollout so far has ended."""
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

    SPEX writes all children of a thought that a rollout explores, and scores them, before the
    rollout goes on to one of them: ``create="all"``. That takes more thoughts for the same
    rollouts, and all ended paths vote, those no rollout has walked to as well.

    Attributes:
        rollouts: Paths walked to their end; a rollout may end at a leaf met before.
        width: Samples of the next step at each thought.
        exploration: c of UCT.
        create: Which children of an explored thought are demanded: the one that is "walked" to,
            whose path is scored at its end, or "all" of them, each of which is scored.

    Raises:
        SettingsError: `rollouts` or `width` is below 1, `exploration` is negative, or `create` is
            none of the two.

    Example:
        >>> from spex_agents.search.tree import Tree
        >>> policy = Rstar()
        >>> policy.decide(policy.start(), Tree("What is 2 + 2?", seed=0))[1]
        Expand(paths=((0,),))
    """

    rollouts: int = 16
    width: int = 4
    exploration: float = 2.0
    create: Literal["walked", "all"] = "walked"

    def __post_init__(self) -> None:
        at_least_one(rollouts=self.rollouts, width=self.width)
        at_least_zero(exploration=self.exploration)
        one_of("create", self.create, "walked", "all")

    @property
    def leaves_only(self) -> bool:  # type: ignore[override]  # of one, not of all
        return self.create == "walked"

    def start(self) -> State:
        return _State(Rounds(), ROOT)

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        leaves, path = state
        if not isinstance(leaves, Rounds):
            leaves = Rounds.of(leaves, reduce(partial(_ended, tree=tree), leaves, UNVISITED))
        root, ended = leaves.root, list[Path]()
        explored = not path
        if path and tree.lost(path):
            path, explored = path[:-1], True  # on from there, as if there was no such child
        decision: Decision = Finish()
        chain = ROOT
        while len(leaves) + len(ended) < self.rollouts:
            # No rollout has ended below a thought that none had walked to.
            node = _at(root, path) if explored else UNVISITED
            path, child = self._walk(path, node, tree)
            if child is None and not path:
                break  # nothing is left below the question
            if child is None:
                root = _ended(root, path, tree)
                ended.append(path)
                path, explored = ROOT, True
            elif child in tree:
                path, explored = child, False
            else:
                chain, decision = child, Expand(self.created(path, child, tree))
                break
        if ended:
            leaves = Rounds.of((*leaves, *ended), root)
        return _State(leaves, chain), decision

    def remaining(self, state: State, tree: Tree) -> int | None:
        return self.rollouts - len(state[0]) if self.create == "walked" else None

    # What a variant of the search does in its own way.

    def branches(self, path: Path) -> int:
        """How many children a thought has."""
        return self.width

    def chosen(self, path: Path, left: Sequence[Path], tree: TreeView) -> Path:
        """The child to explore next, of those that are `left` to explore."""
        return left[0]

    def created(self, path: Path, child: Path, tree: TreeView) -> tuple[Path, ...]:
        """What is demanded with a child of `path` that is to be explored."""
        if self.create == "walked":
            return (child,)
        return tuple(each for each in children(path, self.branches(path)) if each not in tree)

    def terminal(self, path: Path, tree: TreeView) -> bool:
        """Whether a rollout ends there."""
        return tree.thought(path).ends

    def _walk(self, path: Path, node: Node, tree: TreeView) -> tuple[Path, Path | None]:
        """Walk on by UCT to the first thought that has an unexplored child, and that child.

        Without a child it is where a rollout ends: a leaf, or a thought whose children are lost.
        """
        while True:
            visits, _, below = node
            if path and not below and self.terminal(path, tree):
                return path, None
            branches = self.branches(path)
            if len(below) < branches or None in below:
                # A child that a rollout has ended below is not lost.
                new = [
                    (*path, index)
                    for index in range(branches)
                    if index >= len(below) or below[index] is None
                ]
                if left := [child for child in new if child not in tree or not tree.lost(child)]:
                    return path, self.chosen(path, left, tree)
                if len(new) == branches:
                    return path, None
            log_visits, c, sqrt = math.log(visits), self.exploration, math.sqrt
            scores = [
                each[1] / each[0] + c * sqrt(log_visits / each[0]) if each else -math.inf
                for each in below
            ]
            best = scores.index(max(scores))
            path, node = (*path, best), below[best]


def _at(node: Node, path: Path) -> Node:
    """The node at `path` below."""
    for index in path:
        node = child_of(node, index)
    return node


def _ended(root: Node, leaf: Path, tree: TreeView) -> Node:
    """The question's node after one more rollout, which has ended at `leaf`."""
    reward = tree.reward(leaf) if tree.thought(leaf).ends else 0.0

    def visited(node: Node, _: int) -> Node:
        visits, total, below = node
        return visits + 1, total + reward, below

    return along(root, leaf, visited)
