"""AB-MCTS-M: wider or deeper, decided by a mixed model of each node's rewards.

Sources: Inoue et al., 2025 (https://arxiv.org/abs/2503.04412), and SakanaAI's TreeQuest 0.2.0 for
what the paper leaves open. TreeQuest samples the model by MCMC; here it is summed over a grid.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from statistics import NormalDist
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

from spex_agents.errors import SettingsError, one_of
from spex_agents.search.policies.ab_mcts import Chance, promising
from spex_agents.search.policies.answer_tree import (
    AnswerTree,
    Child,
    Choice,
    Sums,
    is_open,
)
from spex_agents.search.tree import Path, TreeView, uniforms

MEAN, MEAN_SPREAD = 0.5, 0.2
"""Of the prior of mu."""

GROUPS, NOISE = 0.2, 0.3
"""Scales of the half-normal priors: of what children differ by, and of what is below one."""

FLOOR, MOST, CELLS = 1e-3, 2.0, 24
"""The grid of both, log-even. Without a floor equal rewards would make the posterior improper."""

PRUNED_FROM, PRUNED_SHARE = 4, 0.75
"""Rewards at and below a child, and which share of them equal to two decimals, to pass it over."""

_NORMAL = NormalDist()

Group: TypeAlias = tuple[int, float, float]
"""Rewards at and below a child: how many, their mean, and their squared distances from it."""


class Posterior(NamedTuple):
    """The model's posterior over its grid, as arrays.

    Attributes:
        cells: Cumulative weights.
        alpha: sigma_alpha of each cell.
        noise: sigma_y of each cell.
        mean: Mean of mu in each.
        precision: And its precision.
    """

    cells: Any
    alpha: Any
    noise: Any
    mean: Any
    precision: Any

    def draw(self, group: Group | None, chance: tuple[float, float]) -> float:
        """A reward yet to come from a child that there is, or, without one, from a new child."""
        where, how = chance
        cell = min(int(self.cells.searchsorted(where * self.cells.item(-1))), len(self.cells) - 1)
        alpha, noise = self.alpha.item(cell) ** 2, self.noise.item(cell) ** 2
        mean, variance = self.mean.item(cell), 1 / self.precision.item(cell)
        if group is None:
            spread = variance + alpha + noise
        else:
            size, average, _ = group
            trust = alpha / (alpha + noise / size)
            mean = (1 - trust) * mean + trust * average
            spread = (1 - trust) ** 2 * variance + alpha * (1 - trust) + noise
        drawn: float = mean + math.sqrt(spread) * _NORMAL.inv_cdf(how)
        return drawn


class Grid(NamedTuple):
    """Of each cell sigma_alpha, sigma_y, the logarithm of the latter, and that of the prior."""

    alpha: Any
    noise: Any
    log_noise: Any
    prior: Any


@lru_cache(4096)  # a forecast meets most nodes as they were
def posterior(groups: tuple[Group, ...]) -> Posterior:
    """The posterior of the mixed model, given the rewards of each child.

    Example:
        >>> better, worse = (2, 0.8, 0.02), (1, 0.3, 0.0)
        >>> found = posterior((better, worse))
        >>> found.draw(better, (0.9, 0.5)) > found.draw(worse, (0.9, 0.5))
        True
    """
    import numpy as np  # noqa: PLC0415 (optional)

    grid = _grid()
    precision = np.full_like(grid.alpha, 1 / MEAN_SPREAD**2)
    shifted = np.full_like(grid.alpha, MEAN / MEAN_SPREAD**2)
    logs = grid.prior.copy()
    within = 0.0
    extra = 0
    sizes: dict[int, list[float]] = {}
    for size, average, apart in groups:
        sums = sizes.setdefault(size, [0, 0.0, 0.0])
        sums[0] += 1
        sums[1] += average
        sums[2] += average * average
        within += apart
        extra += size - 1
    for size, (many, total, squares) in sizes.items():  # children of one size share a variance
        variance, log_variance = _variance(size)
        precision += many / variance
        shifted += total / variance
        logs -= many * log_variance / 2 + squares / (2 * variance)
    mean = shifted / precision
    logs -= extra * grid.log_noise + within / (2 * grid.noise**2)
    logs += mean**2 * precision / 2 - np.log(precision) / 2
    cells = np.exp(logs - logs.max()).cumsum()
    return Posterior(cells, grid.alpha, grid.noise, mean, precision)


@lru_cache(1)
def _grid() -> Grid:
    import numpy as np  # noqa: PLC0415 (optional)

    scales = np.geomspace(FLOOR, MOST, CELLS)
    alpha, noise = (each.ravel() for each in np.meshgrid(scales, scales, indexing="ij"))
    prior = np.log(alpha) + np.log(noise)
    prior -= alpha**2 / (2 * GROUPS**2) + noise**2 / (2 * NOISE**2)
    return Grid(alpha, noise, np.log(noise), prior)


@lru_cache(256)
def _variance(size: int) -> tuple[Any, Any]:
    """Of the mean of `size` rewards at and below a child, and its logarithm, in each cell."""
    import numpy as np  # noqa: PLC0415 (optional)

    variance = _grid().alpha ** 2 + _grid().noise ** 2 / size
    return variance, np.log(variance)


@dataclass(frozen=True, slots=True, kw_only=True)
class AbMctsM(AnswerTree):
    """Adaptive branching by a model of what the children of a node have in common.

    At a node, the rewards at and below child c are N(alpha_c, sigma_y^2), and alpha_c is
    N(mu, sigma_alpha^2): what is known of the others tells of a child, and of one yet to come. Each
    child draws a reward yet to come from the posterior, a new child too, and the largest wins. A
    node without children gets one.

    A child of at least 4 rewards of which 3 in 4 are equal to two decimals is passed over for the
    best of the others; without another a new one is written.

    Attributes:
        choice: How the model of a new child is chosen where there are several: "thompson" draws
            from the posterior of all rewards that each has brought, as `AbMcts` does; "ucb" takes
            the largest mean + sqrt(2 ln N / N_model).

    Raises:
        SettingsError: numpy is missing, `choice` is none of the two, or as of `AnswerTree`.

    Example:
        >>> AbMctsM(models=("small", "large")).action((3,)).engine
        'large'
    """

    effort: ClassVar[int] = 600

    choice: Literal["thompson", "ucb"] = "thompson"

    def __post_init__(self) -> None:
        AnswerTree.__post_init__(self)
        one_of("choice", self.choice, "thompson", "ucb")
        if find_spec("numpy") is None:
            raise SettingsError(
                "numpy is missing, which AbMctsM needs: run pip install 'spex-agents[ets]'"
            )

    def choose(
        self,
        node: Path,
        children: Sequence[Child],
        brought: Sequence[Sums],
        time: int,
        tree: TreeView,
    ) -> Choice:
        groups = {child.path: _group(child) for child in children}
        there = [child for child in children if is_open(child, tree)]
        if there:
            model = posterior(tuple(groups.values()))

            def value(child: Child | None) -> float:
                path = node if child is None else child.path
                chance = uniforms(tree.seed, path, f"ab-mcts-m {child is None} {time}")
                return model.draw(None if child is None else groups[path], chance)

            ranked = sorted([(-value(child), child.path, child) for child in there])
            if -ranked[0][0] > value(None):
                for _, _, child in ranked:
                    if not pruned(child):
                        return Choice(child)
        chance = Chance("gaussian", tree, time)
        return Choice(None, promising(self, self.choice, chance, node, brought))


def _group(child: Child) -> Group:
    size, total, squares = child.all
    return size, total / size, max(0.0, squares - total * total / size)


def pruned(child: Child) -> bool:
    """Whether what is at and below `child` is so much the same that nothing new comes of it."""
    size = child.below.size + 1
    if size < PRUNED_FROM:
        return False
    equal = Counter(round(reward, 2) for reward in _rewards(child))
    return max(equal.values()) >= PRUNED_SHARE * size


def _rewards(child: Child) -> Iterator[float]:
    yield child.own
    for each in child.children:
        yield from _rewards(each)
