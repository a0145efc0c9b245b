"""The original tree of thoughts, breadth first and depth first.

Source: Yao et al., 2023 (https://arxiv.org/abs/2305.10601), and its repository for what the paper
leaves open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

from spex_agents.errors import SettingsError, at_least_one, one_of
from spex_agents.search.action import STEP, Action
from spex_agents.search.policies.repeats import repeated
from spex_agents.search.policy import (
    Decision,
    Expand,
    Finish,
    Policy,
    State,
    children,
    present,
)
from spex_agents.search.prompts import PROPOSE
from spex_agents.search.tree import ROOT, Path, Tree, TreeView, draw

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


@dataclass(frozen=True, slots=True, kw_only=True)
class TotBfs(Policy):
    """Expand the `keep` best live thoughts of each layer, `width` times each.

    The state is the layer. Paths that end leave it; of those of all layers the best `keep` vote,
    found in the same way. As in the original, the first of equal rewards in the layer is kept,
    which is the child of the better parent, and a path that repeats the texts of another of the
    layer counts as one of reward 0.

    Attributes:
        width: Children of a kept thought.
        keep: Thoughts kept of a layer (b of the paper).
        select: "greedy" keeps the best; "sample" draws without replacement, with weights in
            proportion to the rewards. (The original draws with replacement, and may keep the same
            thought twice.)
        generate: Whether children are samples, or entries of a list.
        proposal: How an entry is asked for.
        counted: "kept": the best `keep` ended paths vote. (The original ends all paths at the same
            step, and returns what it keeps of the last layer.) "ended": all of them.

    Raises:
        SettingsError: `width` or `keep` is below 1, `select`, `generate` or `counted` is none of
            the two, or `proposal` is no list.

    Example:
        >>> from spex_agents.search.tree import Tree
        >>> policy = TotBfs(width=3)
        >>> policy.decide(policy.start(), Tree("What is 2 + 2?", seed=0))[1]
        Expand(paths=((0,), (1,), (2,)))
    """

    width: int = 5
    keep: int = 5
    select: Literal["greedy", "sample"] = "greedy"
    generate: Generate = "sample"
    proposal: Action = PROPOSE
    counted: Literal["kept", "ended"] = "kept"

    def __post_init__(self) -> None:
        at_least_one(width=self.width, keep=self.keep)
        _check_generate(self.generate, self.proposal)
        if self.select not in ("greedy", "sample"):
            raise SettingsError(f"select={self.select!r}: must be 'greedy' or 'sample'")
        one_of("counted", self.counted, "kept", "ended")

    def action(self, path: Path) -> Action:
        return self.proposal if self.generate == "propose" else STEP

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        live = [path for path in present(state, tree) if not tree.thought(path).ends]
        if state and not live:
            return state, Finish()
        kept = sorted(live, key=self._rank(live, tree))[: self.keep] if state else [ROOT]
        layer = tuple(child for path in kept for child in children(path, self.width))
        return layer, Expand(layer)

    def frontier(self, state: State, tree: TreeView) -> tuple[Path, ...]:
        return tuple(state)

    def voters(self, state: State, tree: Tree) -> tuple[Path, ...] | None:
        if self.counted == "ended":
            return None
        ended = self._ended(tree)
        best = sorted(ended, key=self._rank(ended, tree))[: self.keep]
        return tuple(path for path in ended if path in best)

    def remaining(self, state: State, tree: Tree) -> int | None:
        if state and all(path in tree and tree.thought(path).ends for path in state):
            return 0
        if self.counted == "ended" or self.select == "sample":
            return None  # where they are drawn, a better draw may yet displace the best reward
        ended = self._ended(tree)
        ranks = sorted(map(self._rank(ended, tree), ended))[: self.keep]
        # Whoever is not of reward 1 may be displaced by a better one; and, of a layer of which a
        # part is known, by an equal one that comes before.
        last = max((state.index(path) for path in ended if path in state), default=0)
        displacing = sum(path not in tree for path in state[:last])
        displaced = min(self.keep, sum(rank > -1 for rank in ranks) + displacing)
        return self.keep - len(ranks) + 2 * displaced

    def _ended(self, tree: Tree) -> list[Path]:
        return [path for path in tree.leaves() if path in tree.rewards]

    def _rank(self, among: Sequence[Path], tree: TreeView) -> Callable[[Path], float]:
        """The smaller, the better; below -1 never."""
        again = repeated(among, tree)

        def rank(path: Path) -> float:
            reward = 0.0 if path in again else tree.reward(path)
            if self.select == "sample":
                # The largest u ** (1 / weight) are a weighted sample without replacement
                # (Efraimidis and Spirakis, 2006); a thought without weight comes last.
                chance = _chance(tree.seed, path)
                reward = chance ** (1 / reward) if reward > 0 else -1.0
            return -reward

        return rank


@lru_cache(1 << 14)  # a forecast asks for the same ones again and again
def _chance(seed: int, path: Path) -> float:
    return draw(seed, path, "select").random()


class _Search(NamedTuple):
    stack: tuple[Path, ...]
    """Thoughts to visit, the next one last."""
    expanded: tuple[Path, ...]
    """What the last decision demanded."""
    steps: int
    """Thoughts visited so far."""
    solutions: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TotDfs(Policy):
    """Follow the most promising child first; go back where no child is above the threshold.

    The original goes on to its step limit and takes what it has found; here the search ends with
    the first `solutions`. A child that repeats the text of another is left out, as there. An ended
    child is a solution when the search comes to it, not before.

    Attributes:
        width: Children of a thought.
        threshold: A thought with a reward of at most this is given up.
        steps: Thoughts visited, at most, those that are given up included.
        solutions: Ended paths above the threshold after which the search ends; these vote.
        order: Whether children are visited by their reward, or as they were proposed. (The
            original goes by a confidence that each of its proposals states.)
        generate: Whether children are samples, or entries of a list.
        proposal: How an entry is asked for.

    Raises:
        SettingsError: `width`, `steps` or `solutions` is below 1, `threshold` is not in [0, 1),
            `generate` or `order` is none of the two, or `proposal` is no list.

    Example:
        >>> from spex_agents.search.tree import Tree
        >>> policy = TotDfs(width=3)
        >>> policy.decide(policy.start(), Tree("What is 2 + 2?", seed=0))[1]
        Expand(paths=((0,), (1,), (2,)))
    """

    width: int = 5
    threshold: float = 0.3
    steps: int = 100
    solutions: int = 1
    generate: Generate = "sample"
    proposal: Action = PROPOSE
    order: Literal["reward", "proposed"] = "reward"

    def __post_init__(self) -> None:
        at_least_one(width=self.width, steps=self.steps, solutions=self.solutions)
        _check_generate(self.generate, self.proposal)
        if not 0 <= self.threshold < 1:
            raise SettingsError(f"threshold={self.threshold!r}: must lie in [0, 1)")
        one_of("order", self.order, "reward", "proposed")

    def start(self) -> State:
        return _Search((ROOT,), (), 0, ())

    def action(self, path: Path) -> Action:
        return self.proposal if self.generate == "propose" else STEP

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        stack, expanded, steps, solutions = state
        left = present(expanded, tree)
        again = repeated(left, tree)
        fresh = [path for path in reversed(left) if path not in again]
        if self.order == "reward":
            fresh.sort(key=tree.reward)
        stack = (*stack, *fresh)
        while stack and steps < self.steps and len(solutions) < self.solutions:
            node, stack = stack[-1], stack[:-1]
            if node:
                steps += 1
                if tree.reward(node) <= self.threshold:
                    continue
                if tree.thought(node).ends:
                    solutions = (*solutions, node)
                    continue
            expanded = children(node, self.width)
            return _Search(stack, expanded, steps, solutions), Expand(expanded)
        return _Search(stack, (), steps, solutions), Finish()

    def voters(self, state: State, tree: Tree) -> tuple[Path, ...]:
        return tuple(state[3])

    def remaining(self, state: State, tree: Tree) -> int:
        stack, expanded, steps, solutions = state
        if not stack and not expanded:
            return 0
        return min(self.solutions - len(solutions), self.steps - int(steps))

    def frontier(self, state: State, tree: TreeView) -> tuple[Path, ...]:
        stack, expanded, *_ = state
        return (*stack, *expanded)
