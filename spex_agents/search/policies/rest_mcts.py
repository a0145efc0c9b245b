"""ReST-MCTS*: Monte-Carlo tree search on the values of a process reward model.

Source: Zhang et al., 2024, and their repository THUDM/ReST-MCTS, whose defaults these are; the ten
rounds are SPEX's (OSDI 2026).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from spex_agents.errors import SettingsError, at_least_one, at_least_zero, one_of
from spex_agents.search.policies.nodes import UNVISITED, Node, Rounds, along
from spex_agents.search.policy import (
    Decision,
    Expand,
    Finish,
    Policy,
    State,
    best_of,
    children,
)
from spex_agents.search.tree import ROOT, Path, Tree, TreeView


class _State(NamedTuple):
    selected: tuple[Path, ...]
    """In each round so far."""
    node: Path
    """What the round under way has selected; after the gate, whose path is written to its end."""
    passed: bool
    """Whether `node` has passed the gate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestMcts(Policy):
    """Rounds of selection, expansion, a roll-out below the best child, and backpropagation.

    A round walks down by the largest V + c * sqrt(2 ln N_parent / N), or V + u where N is 0, to a
    thought that has no children yet, and gives it `width`. The V of a new thought is its reward.
    From the best of the new children it rolls out `steps` thoughts, and blends the highest reward
    among them into the child's value: V = (1 - b) V + b max V. Then every expanded thought of the
    path gets the mean of its children's V, weighted by their visits. A selected thought whose V is
    at least `gate` is the solution, and if the rounds run out, the thought of the highest V is. If
    its path has not ended, it is written to its end, and its answer alone counts.

    Where this differs from the source: the source asks the model whether a thought has solved the
    problem and for a summary with the answer, here the path's end says so; it draws between equal
    scores, here the first child is taken, itself a random one; it merges children of equal text;
    without a step in a roll-out it lowers V to (1 - b) V, here V stays. As in the source a
    roll-out is one chain that only lends its values: its thoughts are children of index `width`,
    which no expansion reaches, and selection never walks there.

    The gate takes a reward for the value of a solution. Where a reward of 1 says no more than
    "this step holds", the first step that holds would be the solution: search with ``gate=None``.

    Attributes:
        rollouts: Rounds, at most.
        width: Children of an expanded thought.
        exploration: c of the rule.
        steps: Thoughts in a roll-out; it may end before.
        blend: b of the rule.
        gate: A value that ends the search; None for none.
        unvisited: u of the rule.
        counted: "best": the solution votes alone. "ended": if the rounds run out, all ended paths
            vote, those of roll-outs included.

    Raises:
        SettingsError: `rollouts` or `width` is below 1, `exploration`, `steps` or `unvisited` is
            negative, `blend` or `gate` is not in [0, 1], or `counted` is none of the two.

    Example:
        >>> from spex_agents.search.tree import Tree
        >>> policy = RestMcts(width=2)
        >>> policy.decide(policy.start(), Tree("What is 2 + 2?", seed=0))[1]
        Expand(paths=((0,), (1,)))
    """

    rollouts: int = 10
    width: int = 3
    exploration: float = 0.7
    steps: int = 3
    blend: float = 0.5
    gate: float | None = 0.9
    unvisited: float = 1.0
    counted: Literal["best", "ended"] = "best"

    def __post_init__(self) -> None:
        at_least_one(rollouts=self.rollouts, width=self.width)
        at_least_zero(exploration=self.exploration, steps=self.steps, unvisited=self.unvisited)
        one_of("counted", self.counted, "best", "ended")
        for name in ("blend", "gate"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise SettingsError(f"{name}={value!r}: must lie in [0, 1]")

    def start(self) -> State:
        return _State(Rounds(), ROOT, False)

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        selected, node, passed = state
        if not isinstance(selected, Rounds):
            root = UNVISITED
            for each in selected:
                root = self._backed_up(root, each, self._simulate(each, tree)[1])
            selected = Rounds.of(selected, root)
        while not passed and len(selected) < self.rollouts:
            due, below = self._simulate(node, tree)
            if due:
                return _State(selected, node, passed), Expand(due)
            root = self._backed_up(selected.root, node, below)
            selected = Rounds.of((*selected, node), root)
            if len(selected) < self.rollouts:
                node, value = self._select(root)
                passed = self.gate is not None and value >= self.gate
            elif self.counted == "best":
                node = self._highest(root)
        state = _State(selected, node, passed)
        if self._solved(state) and (tip := self._tip(node, tree)) not in tree and node:
            return state, Expand((tip,))
        return state, Finish()

    def voters(self, state: State, tree: Tree) -> tuple[Path, ...] | None:
        if self.counted == "ended" and not state[2]:
            return None
        tip = self._tip(state[1], tree)
        return (tip,) if self._solved(state) and tip in tree and tree.thought(tip).ends else ()

    def remaining(self, state: State, tree: Tree) -> int | None:
        if self.counted == "ended" and not self._solved(state):
            return None  # all that vote lose their votes to a solution
        return 1 - len(self.voters(state, tree) or ())

    def _solved(self, state: State) -> bool:
        """Whether the node in `state` is the solution."""
        selected, _, passed = state
        return bool(passed or (self.counted == "best" and len(selected) >= self.rollouts))

    def _highest(self, root: Node) -> Path:
        """The thought of the highest V, the deepest of equal ones; the question if there is none.

        As in the source, in which a child of equal value takes its parent's place.
        """
        found: list[tuple[float, int, Path]] = []
        left = [(ROOT, root)]
        while left:
            above, node = left.pop()
            for index, each in enumerate(node[2]):
                if each is not None:
                    path = (*above, index)
                    found.append((-each[1], -len(path), path))
                    left.append((path, each))
        return min(found)[2] if found else ROOT

    def _simulate(
        self, node: Path, tree: TreeView
    ) -> tuple[tuple[Path, ...], tuple[Node | None, ...]]:
        """Give `node` children and the best of them its roll-out.

        Returns:
            The thoughts that takes first, or the children's nodes.
        """
        if node and tree.thought(node).ends:
            return (), ()
        new = children(node, self.width)
        if new[0] not in tree:
            return new, ()
        if (best := best_of(new, tree)) is None:
            return (), ()
        tip = self._tip(best, tree, self.steps)
        if tip not in tree:
            return (tip,), ()
        value = tree.reward(best)
        rolled = [tree.reward(tip[:depth]) for depth in range(len(best) + 1, len(tip) + 1)]
        highest = max(rolled, default=value)
        below: list[Node | None] = [
            None if tree.lost(path) else (0, tree.reward(path), ()) for path in new
        ]
        below[best[-1]] = 1, (1 - self.blend) * value + self.blend * highest, ()
        return (), tuple(below)

    def _tip(self, path: Path, tree: TreeView, steps: int | None = None) -> Path:
        """Where the roll-out below `path` ends, or the thought of it to write next."""
        first = len(path)
        while path in tree and not tree.thought(path).ends and len(path) - first != steps:
            below = (*path, self.width)
            if below in tree and tree.lost(below):
                break
            path = below
        return path

    def _backed_up(self, root: Node, selected: Path, new: tuple[Node | None, ...]) -> Node:
        """The question's node after a round that has given `selected` these children, if any."""

        def visited(node: Node, depth: int) -> Node:
            visits, value, below = node
            if new and depth == len(selected):
                below = new
            there = [each for each in below if each is not None]
            if total := sum(each[0] for each in there):
                value = sum(each[0] * each[1] for each in there) / total
            return visits + 1, value, below

        return along(root, selected, visited)

    def _select(self, root: Node) -> tuple[Path, float]:
        """Walk down to a thought without children; it and its V."""
        path, (visits, value, below) = ROOT, root
        while any(below):
            log_visits = math.log(visits)
            scores = [self._score(each, log_visits) if each else -math.inf for each in below]
            best = scores.index(max(scores))
            path, (visits, value, below) = (*path, best), below[best]
        return path, value

    def _score(self, node: Node, log_visits: float) -> float:
        visits, value, _ = node
        if not visits:
            return value + self.unvisited
        return value + self.exploration * math.sqrt(2 * log_visits / visits)
