"""rStar with its five actions: each child of a thought is asked for in a way of its own.

Source: rStar (Qi et al., 2024, https://arxiv.org/abs/2408.06195) and its repository, for the rule,
which action may follow which, and the defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from spex_agents.errors import at_least_one
from spex_agents.search.action import WHOLE, Action
from spex_agents.search.policies.rstar import Rstar
from spex_agents.search.policy import State
from spex_agents.search.prompts import ONE_STEP, REANSWER, REPHRASE, SUBQUESTION
from spex_agents.search.tree import Path, Tree, TreeView, draw


@dataclass(frozen=True, slots=True, kw_only=True)
class RstarActions(Rstar):
    """Monte-Carlo tree search over kinds of thoughts.

    The rollouts are those of [`Rstar`][spex_agents.search.policies.rstar.Rstar]. With n = `width`,
    the children of a thought are, by index:

    | index | action | below |
    |---|---|---|
    | 0 .. n - 1 | A1, one step | all |
    | n | A2, the remaining steps: the path ends | all |
    | n + 1 .. 2n | A3, the next sub-question with its answer | all but A1 |
    | 2n + 1 | A5, the question in other words | the question alone |
    | 2n + 1 | A4, the last sub-question answered again | A3 alone |

    They are not alike, so the unexplored one is drawn: by the tree's seed and the path, which keeps
    it a pure function. A path that comes to `depth` without an answer is a leaf that brings 0, has
    no reward and does not vote.

    A path ends with any thought in which an answer is found. In the original A2 ends it, or an A3
    whose sub-question is the question; an A1 that states the answer goes on.

    rStar creates all children of a thought that it explores, walks to one of them, and counts the
    answers of the others too. Here a child is created when a rollout walks to it, which takes less
    than half of the thoughts for the same rollouts; ``create="all"`` does as rStar does.

    Attributes:
        width: Children by A1, and by A3.
        depth: Thoughts in a path.
        step: How A1 asks.
        rest: How A2 asks.
        subquestion: How A3 asks.
        reanswer: How A4 asks.
        rephrase: How A5 asks.
        create: Which children of an explored thought are demanded: those that are "walked" to, or
            "all" of them, whose answers vote as well.

    Raises:
        SettingsError: `rollouts`, `width` or `depth` is below 1, `exploration` is negative, or
            `create` is none of the two.

    Example:
        >>> policy = RstarActions(width=1)
        >>> [policy.action((index,)).name for index in range(policy.branches(()))]
        ['one step', 'answer', 'sub-question', 'rephrase']
        >>> [policy.action((2, index)).name for index in range(policy.branches((2,)))]
        ['one step', 'answer', 'sub-question', 'answer again']
    """

    width: int = 3
    depth: int = 5
    step: Action = ONE_STEP
    rest: Action = WHOLE
    subquestion: Action = SUBQUESTION
    reanswer: Action = REANSWER
    rephrase: Action = REPHRASE

    def __post_init__(self) -> None:
        Rstar.__post_init__(self)
        at_least_one(depth=self.depth)

    @property
    def leaves_only(self) -> bool:  # type: ignore[override]  # as of Rstar
        return True

    def action(self, path: Path) -> Action:
        index = path[-1]
        if index < self.width:
            return self.step
        if index == self.width:
            return self.rest
        if index <= 2 * self.width:
            return self.subquestion
        return self.rephrase if len(path) == 1 else self.reanswer

    def branches(self, path: Path) -> int:
        index = path[-1] if path else 2 * self.width
        if index <= self.width:
            return self.width + 1
        return 2 * self.width + (2 if index <= 2 * self.width else 1)

    def chosen(self, path: Path, left: Sequence[Path], tree: TreeView) -> Path:
        return left[_drawn(tree.seed, path, len(left))]

    def remaining(self, state: State, tree: Tree) -> int:
        walks = self.rollouts - len(state[0])
        each = 1 if self.create == "walked" else self.depth * (2 * self.width + 2)
        return walks * each

    def terminal(self, path: Path, tree: TreeView) -> bool:
        return len(path) >= self.depth or tree.thought(path).ends


@lru_cache(1 << 14)  # a forecast asks for the same ones again and again
def _drawn(seed: int, path: Path, left: int) -> int:
    return draw(seed, path, f"explore-{left}").choice(range(left))
