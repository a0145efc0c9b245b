"""ReST-MCTS*: Monte-Carlo tree search on the values of a process reward model.

Source: Zhang et al., 2024, and their repository THUDM/ReST-MCTS, whose defaults these are; the ten
rounds are SPEX's (OSDI 2026).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from spex_agents.errors import SettingsError, at_least_one, at_least_zero
from spex_agents.search.policy import Decision, Expand, Finish, Policy, State, children
from spex_agents.search.tree import ROOT, Path, TreeView

_UNVISITED = 1.0
"""Added to the value of a thought that no round has visited, in place of the exploration term."""

_Values = dict[Path, tuple[int, float]]
"""Visits and value V by path."""


class _State(NamedTuple):
    rounds: int
    node: Path
    """What the round under way has selected; after the gate, whose path is written to its end."""
    passed: bool
    """Whether `node` has passed the gate."""
    values: tuple[tuple[Path, int, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestMcts(Policy):
    """Rounds of selection, expansion, a roll-out below the best child, and backpropagation.

    A round walks down by the largest V + c * sqrt(2 ln N_parent / N), or V + 1 where N is 0, to a
    thought that has no children yet, and gives it `width`. The V of a new thought is its reward.
    From the best of the new children it rolls out `steps` thoughts, and blends the highest reward
    among them into the child's value: V = (1 - b) V + b max V. Then every expanded thought of the
    path gets the mean of its children's V, weighted by their visits. A selected thought whose V is
    at least `gate` is the solution; if its path has not ended, it is written to its end, and its
    answer alone counts. If the rounds run out instead, all ended paths vote.

    Where this differs from the source: the source asks the model whether a thought has solved the
    problem and for a summary with the answer, here the path's end says so; it draws between equal
    scores, here the first child is taken, itself a random one; it merges children of equal text; it
    answers from the thought of highest V when the rounds run out. As in the source a roll-out is
    one chain that only lends its values: its thoughts are children of index `width`, which no
    expansion reaches, and selection never walks there.

    Attributes:
        rollouts: Rounds, at most.
        width: Children of an expanded thought.
        exploration: c of the rule.
        steps: Thoughts in a roll-out; it may end before.
        blend: b of the rule.
        gate: A value that ends the search.

    Raises:
        SettingsError: `rollouts` or `width` is below 1, `exploration` or `steps` is negative, or
            `blend` or `gate` is not in [0, 1].
    """

    rollouts: int = 10
    width: int = 3
    exploration: float = 0.7
    steps: int = 3
    blend: float = 0.5
    gate: float = 0.9

    def __post_init__(self) -> None:
        at_least_one(rollouts=self.rollouts, width=self.width)
        at_least_zero(exploration=self.exploration, steps=self.steps)
        for name in ("blend", "gate"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name}={getattr(self, name)!r}: must lie in [0, 1]")

    def start(self) -> State:
        return _State(0, ROOT, False, ())

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        rounds, node, passed, rows = state
        values = {path: (visits, value) for path, visits, value in rows}
        while not passed and rounds < self.rollouts:
            if due := self._simulate(node, values, tree):
                return state, Expand(due)
            self._backpropagate(node, values)
            rounds += 1
            if rounds < self.rollouts:
                node = self._select(values)
                passed = values[node][1] >= self.gate
            rows = tuple((path, visits, value) for path, (visits, value) in values.items())
            state = _State(rounds, node, passed, rows)
        if passed and (tip := self._tip(node, tree)) not in tree:
            return state, Expand((tip,))
        return state, Finish()

    def voters(self, state: State, tree: TreeView) -> tuple[Path, ...] | None:
        _, node, passed, _ = state
        if not passed or (tip := self._tip(node, tree)) not in tree:
            return None
        return (tip,)

    def _simulate(self, node: Path, values: _Values, tree: TreeView) -> tuple[Path, ...]:
        """Give `node` children and the best of them its roll-out; the thoughts that takes first."""
        if node and tree.thought(node).ends:
            return ()
        new = children(node, self.width)
        if new[0] not in tree:
            return new
        best = min(new, key=lambda path: (-tree.reward(path), path))
        tip = self._tip(best, tree, self.steps)
        if tip not in tree:
            return (tip,)
        value = tree.reward(best)
        rolled = [tree.reward(tip[:depth]) for depth in range(len(best) + 1, len(tip) + 1)]
        highest = max(rolled, default=value)
        values.setdefault(node, (0, 0.0))
        values.update({path: (0, tree.reward(path)) for path in new})
        values[best] = 1, (1 - self.blend) * value + self.blend * highest
        return ()

    def _tip(self, path: Path, tree: TreeView, steps: int | None = None) -> Path:
        """Where the roll-out below `path` ends, or the thought of it to write next."""
        first = len(path)
        while path in tree and not tree.thought(path).ends and len(path) - first != steps:
            path = (*path, self.width)
        return path

    def _backpropagate(self, node: Path, values: _Values) -> None:
        for depth in range(len(node), -1, -1):
            path = node[:depth]
            visits, value = values[path]
            below = [values[child] for child in children(path, self.width) if child in values]
            if total := sum(count for count, _ in below):
                value = sum(count * each for count, each in below) / total
            values[path] = visits + 1, value

    def _select(self, values: _Values) -> Path:
        path = ROOT
        while (*path, 0) in values:
            log_visits = math.log(values[path][0])

            def score(child: Path, log_visits: float = log_visits) -> float:
                visits, value = values[child]
                if not visits:
                    return value + _UNVISITED
                return value + self.exploration * math.sqrt(2 * log_visits / visits)

            path = min(children(path, self.width), key=lambda child: (-score(child), child))
        return path
