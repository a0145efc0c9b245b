"""Refinement: one try after the other, each with what was said of those before it.

Sources: Self-Refine (Madaan et al., 2023, https://arxiv.org/abs/2303.17651) for the loop, DSPy's
Refine for the threshold and the failures that it allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from spex_agents.errors import at_least_one, at_least_zero, share_above_zero
from spex_agents.search.action import Action
from spex_agents.search.policies.answer_tree import best_try, check_tries, unbeatable
from spex_agents.search.policy import Decision, Expand, Finish, Policy, State
from spex_agents.search.prompts import ANSWER, REFINE
from spex_agents.search.tree import Path, Tree, TreeView


class _State(NamedTuple):
    tips: tuple[Path, ...]
    """The last try of each chain."""
    tried: int
    """Tries of each chain so far, those that failed included."""
    failed: int
    ended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Refine(Policy):
    """`width` chains of up to `rollouts` tries, each below the one before and told of it.

    The search ends with the first round in which a try reaches `threshold`. The answer is that of
    the highest reward, the earliest of equal ones. With a reward that `speaks` each try is told
    what was said of all before it, as in Self-Refine; without, only what they were.

    A try that fails is written again beside it, below the same one.

    Attributes:
        rollouts: Tries of a chain.
        width: Chains, which know nothing of each other.
        threshold: A reward that is good enough.
        failures: Tries that may fail; one more ends the search with the best so far. None for any
            number, as far as `SearchConfig.failures` allows.
        first: How the first try of a chain is asked for.
        again: How the next one is.

    Raises:
        SettingsError: `rollouts` or `width` is below 1, `failures` is negative, `threshold` is not
            in (0, 1], or an action begins no try of its own.

    Example:
        >>> from spex_agents.search.tree import Tree
        >>> policy = Refine(width=2)
        >>> policy.decide(policy.start(), Tree("What is 2 + 2?", seed=0))[1]
        Expand(paths=((0,), (1,)))
    """

    rollouts: int = 4
    width: int = 1
    threshold: float = 1.0
    failures: int | None = None
    first: Action = ANSWER
    again: Action = REFINE

    def __post_init__(self) -> None:
        at_least_one(rollouts=self.rollouts, width=self.width)
        at_least_zero(failures=self.failures or 0)
        share_above_zero(threshold=self.threshold)
        check_tries(first=self.first, again=self.again)

    def start(self) -> State:
        return _State((), 0, 0, False)

    def action(self, path: Path) -> Action:
        return self.first if len(path) == 1 else self.again

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        tips, tried, failed, ended = state
        if ended:
            return state, Finish()
        failed += sum(tree.lost(path) for path in tips)
        good = any(not tree.lost(tip) and tree.reward(tip) >= self.threshold for tip in tips)
        many = self.failures is not None and failed > self.failures
        after = tuple(_after(tip, self.width, tree) for tip in tips)
        if not tips:
            after = tuple((index,) for index in range(self.width))
        due = tuple(path for path in after if path not in tree)
        if good or many or tried == self.rollouts or not due:
            return _State(tips, tried, failed, True), Finish()
        return _State(after, tried + 1, failed, False), Expand(due)

    def voters(self, state: State, tree: Tree) -> tuple[Path, ...]:
        return best_try(tree.rewards, tree)

    def remaining(self, state: State, tree: Tree) -> int:
        tips, _, _, ended = state
        return 0 if ended or unbeatable(tree, tips) else 2


def _after(tip: Path, width: int, tree: TreeView) -> Path:
    """What follows `tip` on its chain: itself where its path has ended."""
    if tree.lost(tip):
        beside = width if len(tip) == 1 else 1
        return (*tip[:-1], tip[-1] + beside)
    return tip if tree.thought(tip).ends else (*tip, 0)
