"""LATS: Monte-Carlo tree search over whole tries, with reflections kept on the path.

Sources: Language Agent Tree Search (Zhou et al., 2023, https://arxiv.org/abs/2310.04406) for UCT
and its constant, LangGraph's tutorial of it for nodes that are whole tries with a reflection.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from spex_agents.errors import at_least_one, at_least_zero, share_above_zero
from spex_agents.search.action import Action
from spex_agents.search.policies.answer_tree import best_try, check_tries, unbeatable
from spex_agents.search.policy import Decision, Expand, Finish, Policy, State, children, present
from spex_agents.search.prompts import ANSWER, REFINE
from spex_agents.search.tree import ROOT, Path, Tree, TreeView


@dataclass(frozen=True, slots=True, kw_only=True)
class Lats(Policy):
    """`rollouts` rounds, each of which writes `width` tries below the most promising one.

    A round walks down from the question by the largest V + w sqrt(ln N_parent / N) to a try without
    children, and writes `width` there; each is scored, and its reward goes up its path: V is the
    mean of all rewards at and below a try, N their number. Each try is asked for with all tries
    above it, and with what the reward said of each, if it `speaks`: those are the reflections.

    The search ends with the first round in which a try reaches `threshold`, or after the last. The
    answer is that of the highest reward, the earliest of equal ones.

    Attributes:
        rollouts: Rounds.
        width: Tries of a round.
        exploration: w of the rule.
        depth: Tries below each other, at most: below that deep none is written.
        threshold: A reward that is good enough.
        first: How a try below the question is asked for.
        again: How one below another is.

    Raises:
        SettingsError: `rollouts`, `width` or `depth` is below 1, `exploration` is negative,
            `threshold` is not in (0, 1], or an action begins no try of its own.

    Example:
        >>> from spex_agents.search.tree import Tree
        >>> policy = Lats(width=2)
        >>> policy.decide(policy.start(), Tree("What is 2 + 2?", seed=0))[1]
        Expand(paths=((0,), (1,)))
    """

    rollouts: int = 8
    width: int = 5
    exploration: float = 1.0
    depth: int = 5
    threshold: float = 1.0
    first: Action = ANSWER
    again: Action = REFINE

    def __post_init__(self) -> None:
        at_least_one(rollouts=self.rollouts, width=self.width, depth=self.depth)
        at_least_zero(exploration=self.exploration)
        share_above_zero(threshold=self.threshold)
        check_tries(first=self.first, again=self.again)

    def start(self) -> State:
        return ((), False)

    def action(self, path: Path) -> Action:
        return self.first if len(path) == 1 else self.again

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        parents, ended = state
        if ended:
            return state, Finish()
        made = [path for parent in parents for path in children(parent, self.width)]
        there = present(made, tree)
        good = any(tree.reward(path) >= self.threshold for path in there)
        node = None if good or len(parents) == self.rollouts else self._select(parents, there, tree)
        if node is None:
            return (parents, True), Finish()
        return ((*parents, node), False), Expand(children(node, self.width))

    def voters(self, state: State, tree: Tree) -> tuple[Path, ...]:
        return best_try(tree.rewards, tree)

    def remaining(self, state: State, tree: Tree) -> int:
        parents, ended = state
        layer = children(parents[-1], self.width) if parents else ()
        return 0 if ended or unbeatable(tree, layer) else 2

    def _select(
        self, parents: tuple[Path, ...], there: tuple[Path, ...], tree: TreeView
    ) -> Path | None:
        """The try to go on from, if one is open: one whose tries were all lost is not."""
        if not there:
            return None if parents else ROOT
        below: dict[Path, list[float]] = {ROOT: []}
        for path in there:
            reward = tree.reward(path)
            for depth in range(len(path) + 1):
                below.setdefault(path[:depth], []).append(reward)
        kids: dict[Path, list[Path]] = {}
        for path in there:
            kids.setdefault(path[:-1], []).append(path)
        open_at = {
            path
            for path in there
            if path not in parents and len(path) < self.depth and not tree.thought(path).ends
        }
        alive = {path[:depth] for path in open_at for depth in range(len(path) + 1)}
        node: Path = ROOT
        while node in kids:
            log_visits = math.log(len(below[node]))

            def value(path: Path, log_visits: float = log_visits) -> float:
                rewards = below[path]
                mean = sum(rewards) / len(rewards)
                return mean + self.exploration * math.sqrt(log_visits / len(rewards))

            left = [path for path in kids[node] if path in alive]
            if not left:
                return None
            node = max(left, key=value)
        return node
