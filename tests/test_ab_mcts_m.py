"""AB-MCTS-M: the grid against the model's joint normal distribution, and decisions by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spex_agents.errors import SettingsError
from spex_agents.search import AbMctsM, Expand, Path, Thought, Tree
from spex_agents.search.policies import ab_mcts_m as module
from spex_agents.search.policies.ab_mcts_m import Group, Posterior, posterior, pruned
from spex_agents.search.policies.answer_tree import Child, Sums

REWARDS = [[0.9, 0.7, 0.8], [0.2], [0.4, 0.45]]


def group(rewards: list[float]) -> Group:
    mean = sum(rewards) / len(rewards)
    return len(rewards), mean, sum((reward - mean) ** 2 for reward in rewards)


def joint(alpha: float, noise: float) -> tuple[float, list[tuple[float, float]]]:
    """The log density of all rewards; mean and variance of one more of each child, and a new one.

    All of them are jointly normal: mu is in each, alpha_c in those of a child.
    """
    of = [child for child, rewards in enumerate(REWARDS) for _ in rewards]
    places = [*of, 0, 1, 2, 3]  # one more of each, and one of a new child
    same = np.equal.outer(places, places).astype(float)
    size = len(places)
    covariance = 0.2**2 * np.ones((size, size)) + alpha**2 * same + noise**2 * np.eye(size)
    n = len(of)
    y = np.array([reward for rewards in REWARDS for reward in rewards]) - 0.5
    seen, across = covariance[:n, :n], covariance[n:, :n]
    solved = np.linalg.solve(seen, y)
    _, determinant = np.linalg.slogdet(seen)
    mean = 0.5 + across @ solved
    variance = np.diag(covariance[n:, n:] - across @ np.linalg.solve(seen, across.T))
    return float(-(y @ solved + determinant) / 2), list(zip(mean, variance, strict=True))


def test_the_grid_is_the_posterior_of_the_joint_normal_model() -> None:
    found = posterior(tuple(map(group, REWARDS)))
    assert len(found.cells) == module.CELLS**2
    logs = []
    for alpha, noise in zip(found.alpha, found.noise, strict=True):
        prior = -(alpha**2) / (2 * 0.2**2) - noise**2 / (2 * 0.3**2)
        # Per log of the scales, in which the grid is even.
        logs.append(joint(alpha, noise)[0] + prior + math.log(alpha) + math.log(noise))
    expected = np.exp(np.array(logs) - max(logs))
    weights = np.diff([0.0, *found.cells])
    assert weights / weights.sum() == pytest.approx(expected / expected.sum(), abs=1e-9)


def test_a_draw_is_of_the_model_given_its_cell() -> None:
    found = posterior(tuple(map(group, REWARDS)))
    for where in (0.1, 0.5, 0.9):
        cell = int(np.searchsorted(found.cells, where * found.cells[-1]))
        _, predictions = joint(found.alpha[cell], found.noise[cell])
        for each, (mean, variance) in zip([*map(group, REWARDS), None], predictions, strict=True):
            assert found.draw(each, (where, 0.5)) == pytest.approx(mean, abs=1e-9)
            above = found.draw(each, (where, 0.8413447460685429))
            assert above - mean == pytest.approx(math.sqrt(variance), abs=1e-9)


def test_equal_rewards_do_not_break_it() -> None:
    found = posterior((group([0.5] * 6), group([0.5] * 6)))
    assert math.isfinite(found.cells[-1])
    assert found.draw(None, (0.5, 0.5)) == pytest.approx(0.5, abs=0.01)


def test_a_child_of_equal_rewards_is_passed_over() -> None:
    def child(*rewards: float) -> Child:
        own, *further = rewards
        below = tuple(Child((0, index), reward, Sums(), ()) for index, reward in enumerate(further))
        return Child((0,), own, Sums(len(further)), below)

    assert not pruned(child(0.5, 0.5, 0.5))  # three are too few
    assert pruned(child(0.5, 0.501, 0.504, 0.9))  # 3 of 4, to two decimals
    assert not pruned(child(0.5, 0.5, 0.4, 0.9))


def commit(tree: Tree, rewards: dict[Path, float]) -> Tree:
    tree = tree.with_thoughts({path: Thought(text="t", tokens=1) for path in rewards})
    return tree.with_rewards(rewards)


def test_decisions_where_the_draws_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    values: dict[Group | None, float] = {}
    monkeypatch.setattr(Posterior, "draw", lambda self, group, chance: values[group])
    policy = AbMctsM(rollouts=9)
    rewards: dict[Path, float] = {(0,): 0.5, (1,): 0.75}
    tree = commit(Tree("q"), rewards)
    first, second = (1, 0.5, 0.0), (1, 0.75, 0.0)

    def next_path() -> Path:
        _, decision = policy.decide(tuple(rewards), tree)
        assert isinstance(decision, Expand)
        return decision.paths[0]

    values |= {None: 0.6, first: 0.5, second: 0.55}
    assert next_path() == (2,)  # a new child draws the most
    values[first] = 0.7
    assert next_path() == (0, 0)  # the first does, and has no child: a leaf always writes one
    # Four equal rewards at and below the first: the second is next best, though below a new one.
    rewards |= {(0, 0): 0.5, (0, 1): 0.5, (0, 2): 0.5}
    tree = commit(Tree("q"), rewards)
    values[4, 0.5, 0.0] = 0.7
    assert next_path() == (1, 0)


def test_the_settings_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="choice='stack': must be"):
        AbMctsM(choice="stack")  # type: ignore[arg-type]
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"numpy is missing.*spex-agents\[ets\]"):
        AbMctsM()
