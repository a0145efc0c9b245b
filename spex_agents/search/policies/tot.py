"""The original tree of thoughts, breadth first and depth first.

Source: Yao et al., 2023 (https://arxiv.org/abs/2305.10601), and its repository for what the paper
leaves open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from spex_agents.errors import SettingsError, at_least_one
from spex_agents.search.action import STEP, Action
from spex_agents.search.policy import Decision, Expand, Finish, Policy, State, children
from spex_agents.search.prompts import PROPOSE
from spex_agents.search.tree import ROOT, Path, TreeView, draw

Generate: TypeAlias = Literal["sample", "propose"]
"""sample: the children of a thought are drawn independently; propose: they are one list's entries.

A list has as many entries as a thought has children, wherever the model would have ended it.
"""


def _check_generate(generate: Generate, proposal: Action) -> None:
    if generate not in ("sample", "propose"):
        raise SettingsError(f"generate={generate!r}: must be 'sample' or 'propose'")
    if not proposal.lists:
        raise SettingsError(
            f"proposal={proposal.name!r}: must have lists=True, or its thoughts are no list"
        )


def _repeated(paths: Sequence[Path], tree: TreeView) -> set[Path]:
    """Those of `paths` that say the same as one before them."""
    seen: set[tuple[str, ...]] = set()
    repeated = set()
    for path in paths:
        if tree.thought(path).text:  # a text that is not written yet repeats nothing
            texts = tuple(tree.thought(path[:depth]).text for depth in range(1, len(path) + 1))
            if texts in seen:
                repeated.add(path)
            seen.add(texts)
    return repeated


@dataclass(frozen=True, slots=True, kw_only=True)
class TotBfs(Policy):
    """Expand the `keep` best live thoughts of each layer, `width` times each.

    The state is the layer. Paths that end leave it, and vote. As in the original, the first of
    equal rewards in the layer is kept, which is the child of the better parent, and a path that
    repeats the texts of another of the layer counts as one of reward 0.

    Attributes:
        width: Children of a kept thought.
        keep: Thoughts kept of a layer (b of the paper).
        select: "greedy" keeps the best; "sample" draws without replacement, with weights in
            proportion to the rewards. (The original draws with replacement, and may keep the same
            thought twice.)
        generate: Whether children are samples, or entries of a list.
        proposal: How an entry is asked for.

    Raises:
        SettingsError: `width` or `keep` is below 1, `select` or `generate` is none of the two, or
            `proposal` is no list.
    """

    width: int = 5
    keep: int = 5
    select: Literal["greedy", "sample"] = "greedy"
    generate: Generate = "sample"
    proposal: Action = PROPOSE

    def __post_init__(self) -> None:
        at_least_one(width=self.width, keep=self.keep)
        _check_generate(self.generate, self.proposal)
        if self.select not in ("greedy", "sample"):
            raise SettingsError(f"select={self.select!r}: must be 'greedy' or 'sample'")

    def action(self, path: Path) -> Action:
        return self.proposal if self.generate == "propose" else STEP

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        live = [path for path in state if not tree.thought(path).ends]
        if state and not live:
            return state, Finish()
        kept = self._kept(live, tree) if state else [ROOT]
        layer = tuple(child for path in kept for child in children(path, self.width))
        return layer, Expand(layer)

    def frontier(self, state: State, tree: TreeView) -> tuple[Path, ...]:
        return tuple(state)

    def _kept(self, live: list[Path], tree: TreeView) -> list[Path]:
        repeated = _repeated(live, tree)

        def rank(path: Path) -> float:
            reward = 0.0 if path in repeated else tree.reward(path)
            if self.select == "sample":
                # The largest u ** (1 / weight) are a weighted sample without replacement
                # (Efraimidis and Spirakis, 2006); a thought without weight comes last.
                chance = draw(tree.seed, path, "select").random()
                reward = chance ** (1 / reward) if reward > 0 else -1.0
            return -reward

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

    The original goes on to its step limit and takes what it has found; here the search ends with
    the first `solutions`. A child that repeats the text of another is left out, as there.

    Attributes:
        width: Children of a thought.
        threshold: A thought with a reward of at most this is given up.
        steps: Thoughts expanded, at most.
        solutions: Ended paths above the threshold after which the search ends; these vote.
        generate: Whether children are samples, or entries of a list.
        proposal: How an entry is asked for.

    Raises:
        SettingsError: `width`, `steps` or `solutions` is below 1, `threshold` is not in [0, 1),
            `generate` is none of the two, or `proposal` is no list.
    """

    width: int = 5
    threshold: float = 0.3
    steps: int = 100
    solutions: int = 1
    generate: Generate = "sample"
    proposal: Action = PROPOSE

    def __post_init__(self) -> None:
        at_least_one(width=self.width, steps=self.steps, solutions=self.solutions)
        _check_generate(self.generate, self.proposal)
        if not 0 <= self.threshold < 1:
            raise SettingsError(f"threshold={self.threshold!r}: must lie in [0, 1)")

    def start(self) -> State:
        return _Search((ROOT,), (), 0, ())

    def action(self, path: Path) -> Action:
        return self.proposal if self.generate == "propose" else STEP

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        stack, expanded, steps, solutions = state
        fresh = set(expanded) - _repeated(expanded, tree)
        hopeful = sorted(
            (path for path in fresh if tree.reward(path) > self.threshold),
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

    def frontier(self, state: State, tree: TreeView) -> tuple[Path, ...]:
        stack, expanded, *_ = state
        return (*stack, *expanded)
