"""Particle filtering over thoughts, and its Gibbs form.

Sources: Puri et al., 2025 (https://arxiv.org/abs/2502.01618), and Red Hat's its_hub for what the
paper leaves open.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, NamedTuple

from spex_agents.errors import SettingsError, at_least_one, one_of
from spex_agents.search.policies.answer_tree import best_try
from spex_agents.search.policy import Decision, Expand, Finish, Policy, State, children
from spex_agents.search.tree import ROOT, Path, Tree, TreeView, draw

CLIP = 1e-7
"""A reward is kept so far from 0 and 1, where its odds end."""


class _State(NamedTuple):
    particles: tuple[Path, ...]
    rounds: int
    """Of resampling, in all iterations."""
    iteration: int
    finished: tuple[Path, ...]
    """The particles of the iterations before this one."""
    references: tuple[Path, ...]
    """Whole paths of those iterations that compete in this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Particles(Policy):
    """`width` paths that are written side by side and drawn anew after each step by their rewards.

    Each round every live particle gets one thought more. The weight of a particle is the odds
    r / (1 - r) of its reward, whatever it was before; then all are drawn anew with replacement, so
    that a good one goes on several times, each time with a thought of its own. Those that have
    ended keep their weight and compete. The search ends when all have ended.

    With `iterations` more than 1 it is the Gibbs form: the width is filtered again from the start,
    and `kept` whole paths drawn from the iteration before compete in each round, as far as they
    were then, in place of as many new particles.

    Attributes:
        width: Particles.
        iterations: Of filtering.
        kept: Paths of an iteration that compete in the next.
        counted: "best" as in the source: the ended particle of the largest weight, the first of
            equal ones. "particles": all particles vote, those that were drawn twice twice. "ended":
            all paths that have ended, those that were not drawn again included: resampling can
            lose the best one.

    Raises:
        SettingsError: A number is below 1, `kept` is not below `width`, or `counted` is none of
            these.

    Example:
        >>> from spex_agents.search.tree import Tree
        >>> policy = Particles(width=3)
        >>> policy.decide(policy.start(), Tree("What is 2 + 2?", seed=0))[1]
        Expand(paths=((0,), (1,), (2,)))
    """

    width: int = 8
    iterations: int = 1
    kept: int = 1
    counted: Literal["best", "particles", "ended"] = "best"

    def __post_init__(self) -> None:
        at_least_one(width=self.width, iterations=self.iterations, kept=self.kept)
        if self.iterations > 1 and self.kept >= self.width:
            raise SettingsError(
                f"kept={self.kept}: must be below width={self.width}, or nothing new is written"
            )
        one_of("counted", self.counted, "best", "particles", "ended")

    def start(self) -> State:
        return _State((), 0, 0, (), ())

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        particles, rounds, iteration, finished, references = state
        if iteration == self.iterations:
            return state, Finish()
        if not particles:
            first = children(ROOT, self.width - len(references), self._born(iteration))
            return _State(first, rounds, iteration, finished, references), Expand(first)
        alive = [path for path in particles if not tree.lost(path)]
        if all(tree.thought(path).ends for path in alive):
            return self._next(alive, _State(*state), tree)
        # A reference competes as far as it was after as many thoughts, and goes on from there.
        depth = max(len(path) for path in alive)
        pool = [*alive, *(path[:depth] for path in references)]
        drawn = resample(pool, [weight(tree, path) for path in pool], self.width, rounds, tree)
        after: list[Path] = []
        below: Counter[Path] = Counter()
        for path in drawn:
            if tree.thought(path).ends:
                after.append(path)
                continue
            after.append((*path, self._free(path, tree) + below[path]))
            below[path] += 1
        due = tuple(path for path in after if path not in tree)
        particles = tuple(after)
        if not due:
            after_it = _State(particles, rounds + 1, iteration, finished, references)
            return self._next(particles, after_it, tree)
        return _State(particles, rounds + 1, iteration, finished, references), Expand(due)

    def voters(self, state: State, tree: Tree) -> tuple[Path, ...] | None:
        if self.counted == "ended":
            return None
        particles, _, _, finished, _ = state
        ended = voting((*finished, *particles), tree)
        if self.counted == "particles":
            return tuple(ended)
        return best_try(ended, tree)

    def remaining(self, state: State, tree: Tree) -> int | None:
        """See `Policy.remaining`; None where more may end and vote than can be told.

        A particle that has ended may not be drawn again, and then votes no more.
        """
        particles, _, iteration, finished, _ = state
        if iteration == self.iterations:
            return 0

        def sure(path: Path) -> bool:
            return tree.rewards[path] >= 1

        if self.counted == "best":  # before those that come, and no reward is larger
            return 0 if any(map(sure, voting(finished, tree))) else None
        if self.counted == "ended":
            return None
        now = voting(particles, tree)
        later = (self.iterations - int(iteration) - 1) * self.width
        if all(path in tree and tree.thought(path).ends for path in particles):
            return later + len(particles) - len(now)  # nothing is drawn in this iteration
        return None if any(map(sure, now)) else later + self.width + len(now)

    def _born(self, iteration: int) -> int:
        return 0 if not iteration else self.width + (iteration - 1) * (self.width - self.kept)

    def _free(self, path: Path, tree: TreeView) -> int:
        """The first child of `path` that is not there."""
        index = 0
        while (*path, index) in tree:
            index += 1
        return index

    def _next(
        self,
        particles: Sequence[Path],
        state: _State,
        tree: TreeView,
    ) -> tuple[State, Decision]:
        """The next iteration, or the end."""
        _, rounds, iteration, finished, references = state
        done = (*finished, *particles)
        if iteration + 1 >= self.iterations or not particles:
            return _State((), rounds, self.iterations, done, ()), Finish()
        pool = [*particles, *references]
        weights = [weight(tree, path) for path in pool]
        kept = tuple(resample(pool, weights, self.kept, rounds, tree))
        return self.decide(_State((), rounds + 1, iteration + 1, done, kept), tree)


def voting(particles: Sequence[Path], tree: Tree) -> list[Path]:
    """Those of `particles` that have ended, and been judged."""
    return [
        path
        for path in particles
        if path in tree.rewards and tree.thought(path).ends and tree.thought(path).failed is None
    ]


def weight(tree: TreeView, path: Path) -> float:
    """The odds of a path's reward.

    Example:
        >>> from spex_agents.search.tree import Thought
        >>> tree = Tree("Why?").with_thoughts({(0,): Thought(text="So.", tokens=2)})
        >>> round(weight(tree.with_rewards({(0,): 0.8}), (0,)), 9)
        4.0
    """
    reward = min(1 - CLIP, max(CLIP, tree.reward(path)))
    return reward / (1 - reward)


def resample(
    paths: Sequence[Path], weights: Sequence[float], count: int, rounds: int, tree: TreeView
) -> list[Path]:
    """Draw `count` of `paths` with replacement, by the seed and the round."""
    rng = draw(tree.seed, ROOT, f"particles {rounds}")
    sums = list(accumulate(weights))
    places = (bisect_right(sums, rng.random() * sums[-1]) for _ in range(count))
    return [paths[min(place, len(paths) - 1)] for place in places]
