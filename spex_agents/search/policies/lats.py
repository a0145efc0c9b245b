"""LATS: Monte-Carlo tree search over whole tries, with reflections kept on the path.

Sources: Language Agent Tree Search (Zhou et al., 2023, https://arxiv.org/abs/2310.04406) for UCT
and its constant, LangGraph's tutorial of it for nodes that are whole tries with a reflection.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial, reduce

from spex_agents.errors import at_least_one, at_least_zero, share_above_zero
from spex_agents.search.action import Action
from spex_agents.search.policies.answer_tree import best_try, check_tries, unbeatable
from spex_agents.search.policies.nodes import UNVISITED, Node, Rounds, along
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
        return (Rounds(), False)

    def action(self, path: Path) -> Action:
        return self.first if len(path) == 1 else self.again

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        parents, ended = state
        if ended:
            return state, Finish()
        if not isinstance(parents, Rounds):
            root = reduce(partial(self._tried, tree=tree), parents[:-1], UNVISITED)
            parents = Rounds.of(parents, root)
        new = present(children(parents[-1], self.width), tree) if parents else ()
        good = any(tree.reward(path) >= self.threshold for path in new)
        if good or len(parents) == self.rollouts:
            return (parents, True), Finish()
        root = self._tried(parents.root, parents[-1], tree) if parents else UNVISITED
        if (node := self._select(root)) is None:
            return (parents, True), Finish()
        return (Rounds.of((*parents, node), root), False), Expand(children(node, self.width))

    def voters(self, state: State, tree: Tree) -> tuple[Path, ...]:
        return best_try(tree.rewards, tree)

    def remaining(self, state: State, tree: Tree) -> int:
        parents, ended = state
        layer = children(parents[-1], self.width) if parents else ()
        return 0 if ended or unbeatable(tree, layer) else 2

    def _tried(self, root: Node, parent: Path, tree: TreeView) -> Node:
        """The question's node after a round below `parent`; a value is the sum of the rewards.

        It is -inf where no try is open any more: one without tries below that may get some.
        """
        tries: list[Node | None] = []
        rewards = []
        for path in children(parent, self.width):
            if tree.lost(path):
                tries.append(None)
                continue
            rewards.append(tree.reward(path))
            is_open = len(path) < self.depth and not tree.thought(path).ends
            tries.append((1, rewards[-1] if is_open else -math.inf, ()))

        def judged(node: Node, depth: int) -> Node:
            visits, value, below = node
            if depth == len(parent):
                below = tuple(tries)
            if not any(each and each[1] > -math.inf for each in below):
                value = -math.inf
            for reward in rewards:
                value += reward
            return visits + len(rewards), value, below

        return along(root, parent, judged)

    def _select(self, root: Node) -> Path | None:
        """The try to go on from, if one is open: one whose tries were all lost is not."""
        path, (visits, _, below) = ROOT, root
        while below:
            log_visits = math.log(visits or 1)
            scores = [
                each[1] / each[0] + self.exploration * math.sqrt(log_visits / each[0])
                if each
                else -math.inf
                for each in below
            ]
            if (highest := max(scores)) == -math.inf:
                return None
            best = scores.index(highest)
            path, (visits, _, below) = (*path, best), below[best]
        return path
