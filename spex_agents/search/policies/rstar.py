"""RSTAR-MCTS in the reduced form that SPEX evaluates: rollouts of one chain, chosen by UCT.

Sources: rStar (Qi et al., 2024) for UCT and its constant; SPEX (OSDI 2026) for `width` samples of
the same next step in place of rStar's five actions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from spex_agents.errors import at_least_one, at_least_zero, one_of
from spex_agents.search.policy import Decision, Expand, Finish, Policy, State, children
from spex_agents.search.tree import ROOT, Path, Tree, TreeView


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
        return _State((), ROOT)

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        leaves, path = state
        explored = not path
        if path and tree.lost(path):
            path, explored = path[:-1], True  # on from there, as if there was no such child
        while len(leaves) < self.rollouts:
            # No rollout has ended below a thought that none had walked to.
            ended = self._ended(path, leaves, tree) if explored else []
            path, child = self._walk(path, ended, tree)
            if child is None and not path:
                break  # nothing is left below the question
            if child is None:
                leaves, path, explored = (*leaves, path), ROOT, True
            elif child in tree:
                path, explored = child, False
            else:
                return _State(leaves, child), Expand(self.created(path, child, tree))
        return _State(leaves, ROOT), Finish()

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

    def _ended(
        self, path: Path, leaves: tuple[Path, ...], tree: TreeView
    ) -> list[tuple[Path, float]]:
        """The rollouts that have ended below `path`, or there, with what each has brought."""
        depth, thought, reward = len(path), tree.thought, tree.reward
        below = [leaf for leaf in leaves if leaf[:depth] == path] if path else leaves
        return [(leaf, reward(leaf) if thought(leaf).ends else 0.0) for leaf in below]

    def _walk(
        self, path: Path, ended: list[tuple[Path, float]], tree: TreeView
    ) -> tuple[Path, Path | None]:
        """Walk on by UCT to the first thought that has an unexplored child, and that child.

        Without a child it is where a rollout ends: a leaf, or a thought whose children are lost.
        """
        while True:
            if path and self.terminal(path, tree):
                return path, None
            depth = len(path)
            below: dict[int, list[tuple[Path, float]]] = {
                index: [] for index in range(self.branches(path))
            }
            for each in ended:
                if len(each[0]) > depth:
                    below[each[0][depth]].append(each)
            # A child that a rollout has ended below is not lost.
            new = [(*path, index) for index, each in below.items() if not each]
            if left := [child for child in new if child not in tree or not tree.lost(child)]:
                return path, self.chosen(path, left, tree)
            if len(new) == len(below):
                return path, None
            log_visits = math.log(len(ended))
            scores = {
                index: sum([reward for _, reward in each]) / len(each)
                + self.exploration * math.sqrt(log_visits / len(each))
                for index, each in below.items()
                if each
            }
            best = max(scores, key=scores.__getitem__)
            path, ended = (*path, best), below[best]
