"""AB-MCTS-A: wider or deeper, decided by Thompson sampling at each node.

Sources: Inoue et al., 2025 (https://arxiv.org/abs/2503.04412), and SakanaAI's TreeQuest 0.2.0 for
what the paper leaves open.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal

from spex_agents.errors import SettingsError, one_of
from spex_agents.search.policies.answer_tree import (
    AnswerTree,
    Child,
    Choice,
    Sums,
    added,
    is_open,
)
from spex_agents.search.tree import Path, TreeView, draw, uniforms

KAPPA, NU, TAU2 = 1.0, 1.0, 0.1
"""The gaussian prior: what its mean counts for, its degrees of freedom, and its variance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AbMcts(AnswerTree):
    """Adaptive branching: at each node a new child, or on to one that is there.

    At a node, G are the rewards of its children, and K those of all that is below them. One draw is
    made from the posterior of each. If the node has no children, or the draw of G is at least that
    of K, it gets a new child. Else each child draws from the posterior of the rewards at and below
    it, and the walk goes on to the child of the largest draw, where the same is asked again.

    Chance is drawn anew with each answer that is demanded, by the seed: a forecast meets the same
    draws as the search. The source draws several parents at a time from one posterior to keep a
    model busy, which makes trees wider; here they are taken one by one.

    With several `models`, `choice` says which writes a new child. "thompson": each draws from the
    posterior of all rewards that it has brought, the largest wins. "ucb": the largest
    mean + sqrt(2 ln N / N_model), those without any first. "stack": the model is drawn first, at
    each node, from the rewards at and below its children there; then only these children count.

    Attributes:
        posterior: "gaussian" is normal-inverse-chi-squared, of mean 0, kappa 1, nu 1 and tau^2 0.1;
            "beta" is Beta(1/2 + the rewards, 1/2 + what they lack to 1).
        choice: How the model of a new child is chosen.
        means: Prior means of the models, for "gaussian"; none for 0.

    Raises:
        SettingsError: `posterior` or `choice` is none of these, or `means` are not one a model.

    Example:
        >>> AbMcts(models=("small", "large")).action((3,)).engine
        'large'
    """

    effort: ClassVar[int] = 150

    posterior: Literal["gaussian", "beta"] = "gaussian"
    choice: Literal["thompson", "ucb", "stack"] = "thompson"
    means: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        AnswerTree.__post_init__(self)
        one_of("posterior", self.posterior, "gaussian", "beta")
        one_of("choice", self.choice, "thompson", "ucb", "stack")
        if self.means and (self.posterior == "beta" or len(self.means) != len(self.models)):
            raise SettingsError(
                f"means={self.means!r}: must be one for each of the {len(self.models)} models, "
                "and go with posterior='gaussian'"
            )

    def choose(
        self,
        node: Path,
        children: Sequence[Child],
        brought: Sequence[Sums],
        time: int,
        tree: TreeView,
    ) -> Choice:
        chance = Chance(self.posterior, tree, time)
        model, mean = 0, 0.0
        if self.choice == "stack" and len(self.models) > 1:
            own = [
                added(c.all for c in children if self.model_of(c.path) == arm)
                for arm in range(len(self.models))
            ]
            model = drawn(chance, node, own, self.means)
            mean = self._mean(model)
            children = [child for child in children if self.model_of(child.path) == model]
        if there := [child for child in children if is_open(child, tree)]:
            wider = added(Sums(1, child.own, child.own * child.own) for child in children)
            deeper = added(child.below for child in children)
            if chance(node, "wider", wider, mean) < chance(node, "deeper", deeper, mean):
                best = max(there, key=lambda c: chance(c.path, "child", c.all, mean))
                return Choice(best)
        if self.choice != "stack":
            model = promising(self, self.choice, chance, node, brought, means=self.means)
        return Choice(None, model)

    def _mean(self, model: int) -> float:
        return self.means[model] if self.means else 0.0


@dataclass(frozen=True, slots=True)
class Chance:
    """Draws from posteriors, each by the node, what it is for, and the time."""

    posterior: Literal["gaussian", "beta"]
    tree: TreeView
    time: int

    def __call__(self, path: Path, role: str, rewards: Sums, mean: float) -> float:
        purpose = f"ab-mcts {role} {self.time}"
        if self.posterior == "beta":
            return beta(rewards, draw(self.tree.seed, path, purpose))
        return gaussian(rewards, uniforms(self.tree.seed, path, purpose), mean)


def promising(
    policy: AnswerTree,
    choice: str,
    chance: Chance,
    node: Path,
    brought: Sequence[Sums],
    *,
    means: Sequence[float] = (),
) -> int:
    """The model to write a new child of `node`, by what each has brought anywhere."""
    if len(policy.models) == 1:
        return 0
    if choice == "thompson":
        return drawn(chance, node, brought, means)
    spread = 2 * math.log(max(1, sum(each.size for each in brought)))
    values = [
        each.total / each.size + math.sqrt(spread / each.size) if each.size else math.inf
        for each in brought
    ]
    return values.index(max(values))


def drawn(chance: Chance, node: Path, own: Sequence[Sums], means: Sequence[float]) -> int:
    """The model of the largest draw, each from what it has brought; the first of equal ones."""
    values = [
        chance(node, f"model {model}", each, means[model] if means else 0.0)
        for model, each in enumerate(own)
    ]
    return values.index(max(values))


def gaussian(rewards: Sums, chance: tuple[float, float], mean: float = 0.0) -> float:
    """A draw of the mean behind `rewards`, from its posterior, with two uniform numbers.

    Example:
        >>> round(gaussian(Sums(2, 1.2, 0.74), (0.25, 0.0)), 3)  # Student's t(3) is 2.13
        0.827
    """
    count, total, squares = rewards
    kappa, nu = KAPPA + count, NU + count
    average = total / count if count else 0.0
    apart = max(0.0, squares - total * average) + count * KAPPA * (average - mean) ** 2 / kappa
    tau2 = (NU * TAU2 + apart) / nu
    # Bailey's polar method (1994): a forecast with a reward more or less meets nearly the same t.
    radius, angle = chance
    student = math.sqrt(nu * (radius ** (-2 / nu) - 1)) * math.cos(2 * math.pi * angle)
    return (KAPPA * mean + total) / kappa + math.sqrt(tau2 / kappa) * student


def beta(rewards: Sums, rng: Random) -> float:
    """A draw of the share behind `rewards`, from its posterior."""
    return rng.betavariate(0.5 + rewards.total, 0.5 + max(0.0, rewards.size - rewards.total))
