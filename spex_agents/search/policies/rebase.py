"""REBASE: spend a width on each layer in proportion to softmax(reward).

Source: Wu et al., "Inference Scaling Laws" (2024), and its public code (inference_scaling).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from spex_agents.errors import above_zero, at_least_one
from spex_agents.search.policy import Decision, Expand, Finish, Policy, State, children, present
from spex_agents.search.tree import ROOT, Path, Tree, TreeView

_UNIT = 1 << 40
"""Weights are whole multiples of 1/_UNIT: exact to add and divide, and coarse enough to hide a
difference in the last bit of exp() between platforms."""


class _State(NamedTuple):
    width: int
    layer: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebase(Policy):
    """Reward-balanced search.

    Each layer's thoughts share the width that is left: n_i = ceil(W * w_i / (w_i + ... + w_k)),
    with w = exp(reward / temperature), over the thoughts in order of falling reward, W shrinking by
    each n_i. Every path that ends takes one from the width.

    Equal rewards are ordered by path. Weights are integers, so that no share of exactly 1 is
    rounded to 2.

    Attributes:
        width: Thoughts in the first layer, and the width to share afterwards.
        temperature: Of the softmax; lower trusts the reward more.

    Raises:
        SettingsError: `width` is below 1 or `temperature` is not above 0.

    Example:
        >>> Rebase().allocate(4, [0.5, 0.5, 0.5, 0.5])
        (1, 1, 1, 1)
    """

    width: int = 16
    temperature: float = 0.2

    def __post_init__(self) -> None:
        at_least_one(width=self.width)
        above_zero(temperature=self.temperature)

    def start(self) -> State:
        return _State(self.width, ())

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        width, layer = state
        if width < 1:
            return state, Finish()
        if not layer:
            first = children(ROOT, width)
            return _State(width, first), Expand(first)
        there = present(layer, tree)
        live = _falling(there, tree)
        width -= len(there) - len(live)
        if not live or width < 1:
            return _State(0, ()), Finish()
        layer = below(live, self.allocate(width, [tree.reward(path) for path in live]))
        return _State(width, layer), Expand(layer)

    def remaining(self, state: State, tree: Tree) -> int:
        width, layer, *_ = state
        return int(width) - sum(path in tree and tree.thought(path).ends for path in layer)

    def frontier(self, state: State, tree: TreeView) -> tuple[Path, ...]:
        return tuple(state[1])

    def allocate(self, width: int, rewards: list[float]) -> tuple[int, ...]:
        """Share `width` over `rewards` in falling order; the shares add up to `width`."""
        first, temperature, exp = rewards[0], self.temperature, math.exp
        weights = [round(exp((reward - first) / temperature) * _UNIT) or 1 for reward in rewards]
        tail = sum(weights)
        shares = []
        for weight in weights:
            share = -(-width * weight // tail)
            shares.append(share)
            width -= share
            tail -= weight
        return tuple(shares)


def ranked(layer: Sequence[Path], tree: TreeView) -> list[Path]:
    """The thoughts of `layer` that live, by falling reward, then by path."""
    return _falling(present(layer, tree), tree)


def _falling(there: Sequence[Path], tree: TreeView) -> list[Path]:
    thought, reward = tree.thought, tree.reward
    order = [(-reward(path), path) for path in there if not thought(path).ends]
    order.sort()
    return [path for _, path in order]


def below(paths: Sequence[Path], shares: Sequence[int]) -> tuple[Path, ...]:
    """The next layer: so many children of each path."""
    shared = zip(paths, shares, strict=True)
    return tuple([child for path, share in shared for child in children(path, share)])
