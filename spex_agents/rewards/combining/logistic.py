"""Logistic regression with a ridge: a few coefficients, plain Newton, the same every time."""

from __future__ import annotations

import math
from collections.abc import Sequence

_ROUNDS = 100  # a few are enough, but for hopeless scales


def dot(left: Sequence[float], right: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(left, right, strict=True))


def sigmoid(logit: float) -> float:
    """1 / (1 + exp(-logit)), without overflow."""
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    return (power := math.exp(max(logit, -700.0))) / (1 + power)


def minimise(
    inputs: Sequence[Sequence[float]], targets: Sequence[float], ridge: float
) -> list[float]:
    """Minimise the logistic loss plus the ridge, which is strictly convex: there is one minimum."""
    size = len(inputs[0])
    at = [0.0] * size
    loss = _loss(inputs, targets, ridge, at)
    for _ in range(_ROUNDS):
        slope = [ridge * value for value in at]
        curve = [[ridge * (i == j) for j in range(size)] for i in range(size)]
        for row, target in zip(inputs, targets, strict=True):
            chance = sigmoid(dot(at, row))
            spread = chance * (1 - chance)
            for i in range(size):
                slope[i] += (chance - target) * row[i]
                for j in range(size):
                    curve[i][j] += spread * row[i] * row[j]
        step = _solved(curve, slope)
        share = 1.0
        while share > 1e-9:  # half as far, until it gets no worse
            there = [value - share * move for value, move in zip(at, step, strict=True)]
            if (reached := _loss(inputs, targets, ridge, there)) <= loss:
                break
            share /= 2
        else:
            break  # as good as rounding lets it get
        at, loss = there, reached
        if max(map(abs, step)) < 1e-10:
            break
    return at


def _loss(
    inputs: Sequence[Sequence[float]], targets: Sequence[float], ridge: float, at: Sequence[float]
) -> float:
    logits = [dot(at, row) for row in inputs]
    losses = (
        max(logit, 0.0) + math.log1p(math.exp(-abs(logit))) - target * logit
        for logit, target in zip(logits, targets, strict=True)
    )
    return math.fsum(losses) + ridge / 2 * dot(at, at)


def _solved(matrix: list[list[float]], right: Sequence[float]) -> list[float]:
    """Solve a symmetric positive definite system by elimination, which needs no pivots there."""
    size = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for column in range(size):
        for below in range(column + 1, size):
            factor = rows[below][column] / rows[column][column]
            for j in range(column, size + 1):
                rows[below][j] -= factor * rows[column][j]
    found = [0.0] * size
    for i in reversed(range(size)):
        rest = math.fsum(rows[i][j] * found[j] for j in range(i + 1, size))
        found[i] = (rows[i][size] - rest) / rows[i][i]
    return found
