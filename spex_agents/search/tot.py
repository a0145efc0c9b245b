"""The original tree of thoughts, breadth first and depth first (Yao et al., 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from spex_agents.errors import SettingsError, at_least_one
from spex_agents.search.policy import Decision, Expand, Finish, Policy, State, children
from spex_agents.search.tree import ROOT, Path, TreeView, draw


@dataclass(frozen=True, slots=True, kw_only=True)
class TotBfs(Policy):
    """Expand the `keep` best live thoughts of each layer, `width` times each.

    The state is the layer. Paths that end leave it, and vote.

    Attributes:
        width: Children of a kept thought.
        keep: Thoughts kept of a layer (b of the paper).
        select: "greedy" keeps the best; "sample" draws without replacement, with weights in
            proportion to the rewards.

    Raises:
        SettingsError: `width` or `keep` is below 1, or `select` is neither.
    """

    width: int = 5
    keep: int = 5
    select: Literal["greedy", "sample"] = "greedy"

    def __post_init__(self) -> None:
        at_least_one(width=self.width, keep=self.keep)
        if self.select not in ("greedy", "sample"):
            raise SettingsError(f"select={self.select!r}: must be 'greedy' or 'sample'")

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        live = [path for path in state if not tree.thought(path).ends]
        if state and not live:
            return state, Finish()
        kept = self._kept(live, tree) if state else [ROOT]
        layer = tuple(child for path in kept for child in children(path, self.width))
        return layer, Expand(layer)

    def _kept(self, live: list[Path], tree: TreeView) -> list[Path]:
        def rank(path: Path) -> tuple[float, Path]:
            reward = tree.reward(path)
            if self.select == "sample":
                # The largest u ** (1 / weight) are a weighted sample without replacement
                # (Efraimidis and Spirakis, 2006); a thought without weight comes last.
                chance = draw(tree.seed, path, "select").random()
                reward = chance ** (1 / reward) if reward > 0 else -1.0
            return -reward, path

        return sorted(live, key=rank)[: self.keep]


class _Search(NamedTuple):
    stack: tuple[Path, ...]
    """Thoughts to expand, the next one last."""
    expanded: tuple[Path, ...]
    """What the last decision demanded."""
    steps: int
    solutions: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TotDfs(Policy):
    """Follow the most promising child first; go back where no child is above the threshold.

    Attributes:
        width: Children of a thought.
        threshold: A thought with a reward of at most this is given up.
        steps: Thoughts expanded, at most.
        solutions: Ended paths above the threshold after which the search ends; these vote.

    Raises:
        SettingsError: `width`, `steps` or `solutions` is below 1, or `threshold` not in [0, 1).
    """

    width: int = 5
    threshold: float = 0.3
    steps: int = 100
    solutions: int = 1

    def __post_init__(self) -> None:
        at_least_one(width=self.width, steps=self.steps, solutions=self.solutions)
        if not 0 <= self.threshold < 1:
            raise SettingsError(f"threshold={self.threshold!r}: must lie in [0, 1)")

    def start(self) -> State:
        return _Search((ROOT,), (), 0, ())

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        stack, expanded, steps, solutions = state
        hopeful = sorted(
            (path for path in expanded if tree.reward(path) > self.threshold),
            key=lambda path: (tree.reward(path), [-index for index in path]),
        )
        for path in hopeful:
            if tree.thought(path).ends:
                solutions = (*solutions, path)
            else:
                stack = (*stack, path)
        if not stack or steps >= self.steps or len(solutions) >= self.solutions:
            return _Search(stack, (), steps, solutions), Finish()
        expanded = children(stack[-1], self.width)
        return _Search(stack[:-1], expanded, steps + 1, solutions), Expand(expanded)

    def voters(self, state: State, tree: TreeView) -> tuple[Path, ...]:
        return tuple(state[3])
