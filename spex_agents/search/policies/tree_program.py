"""The integer program of ETS: which leaves to keep, for reward, shared prefixes and variety.

Source: ETS (Hooper et al., 2025) and its repository SqueezeAILab/ETS. Solved by HiGHS.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from spex_agents.search.tree import Path

_TIE = 1e-9
"""What keeping the n-th best leaf costs besides, n times: of equal solutions the one with fewer and
better leaves is taken."""

_SCALE = 2.0**20
"""Lifts that above the solver's tolerances."""

_REMEMBERED = 1024
"""Programs whose solution is kept: forecasts meet the same again, also elsewhere in the tree."""


def clusters(vectors: Sequence[np.ndarray | None], distance: float) -> list[int]:
    """The cluster of each vector, numbered from 0: average linkage on cosine distances.

    None is like nothing else.
    """
    known = [index for index, vector in enumerate(vectors) if vector is not None]
    labels = list(range(len(vectors), 2 * len(vectors)))
    if len(known) > 1:
        merged = linkage([vectors[index] for index in known], method="average", metric="cosine")
        for index, label in zip(known, fcluster(merged, distance, "distance"), strict=True):
            labels[index] = int(label)
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    return [numbers[label] for label in labels]


def keep(
    leaves: Sequence[Path],
    outcomes: Sequence[float],
    labels: Sequence[int],
    *,
    cost: float,
    coverage: float,
    nodes: int,
) -> list[int] | None:
    """Choose among `leaves`; None where the solver ends at its limit of `nodes`.

    Maximises sum O_i x_i - cost / (M + N) * (sum y_j + sum x_i) + coverage / K * sum c_k, where x_i
    keeps leaf i of N, y_j >= x_i keeps the thought j of M above it (the question is one of them),
    c_k <= sum of the x in cluster k of K, and at least one leaf is kept. y and c need not be
    integers: at the optimum they are.

    Args:
        leaves: Paths, the best first.
        outcomes: O of each.
        labels: Their clusters, numbered from 0.
        cost: For each kept thought, times M + N.
        coverage: For each cluster with a kept leaf, times K.
        nodes: Of the search tree that the solver may open.

    Example:
        >>> leaves = [(0, 0), (0, 1), (1, 0)]
        >>> keep(leaves, [0.5, 0.4, 0.1], [0, 0, 0], cost=1.0, coverage=0.0, nodes=100)
        [0, 1]
    """
    above = {path[:depth] for path in leaves for depth in range(len(path))}
    thoughts = {path: index for index, path in enumerate(sorted(above))}
    under = tuple(tuple(thoughts[path[:depth]] for depth in range(len(path))) for path in leaves)
    kept = _solved(under, tuple(outcomes), tuple(labels), cost=cost, coverage=coverage, nodes=nodes)
    return None if kept is None else list(kept)


@lru_cache(_REMEMBERED)
def _solved(
    under: Sequence[Sequence[int]],
    outcomes: Sequence[float],
    labels: Sequence[int],
    *,
    cost: float,
    coverage: float,
    nodes: int,
) -> Sequence[int] | None:
    """The same of leaves that are given by the numbers of the thoughts above them, from 0."""
    leaves = len(under)
    first_cluster = leaves + 1 + max(number for thoughts in under for number in thoughts)
    variables = first_cluster + max(labels) + 1
    each = cost / first_cluster
    gain = np.full(variables, -each)
    gain[:leaves] += outcomes
    gain[:leaves] -= _TIE * np.arange(1, leaves + 1)
    gain[first_cluster:] = coverage / (max(labels) + 1)

    # Each row of the constraints says that a sum is at least 0; the last one, at least 1.
    terms: list[tuple[int, int, float]] = []
    row = 0
    for leaf, thoughts in enumerate(under):
        for number in thoughts:
            terms += [(row, leaves + number, 1.0), (row, leaf, -1.0)]
            row += 1
    for leaf, label in enumerate(labels):
        terms.append((row + label, leaf, 1.0))
    for label in range(max(labels) + 1):
        terms.append((row, first_cluster + label, -1.0))
        row += 1
    terms += [(row, leaf, 1.0) for leaf in range(leaves)]
    rows, columns, values = zip(*terms, strict=True)
    least = np.zeros(row + 1)
    least[row] = 1.0

    solved = milp(
        -gain * _SCALE,
        integrality=np.arange(variables) < leaves,
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(csr_array((values, (rows, columns))), least, np.inf),
        options={"node_limit": nodes, "mip_rel_gap": 0},
    )
    if not solved.success:
        return None
    return tuple(leaf for leaf in range(leaves) if solved.x[leaf] > 0.5)
