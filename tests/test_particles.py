"""Particle filtering: rounds worked by hand, and what resampling may lose."""

from __future__ import annotations

from random import Random

import pytest
from growing import grown

from spex_agents.errors import SettingsError
from spex_agents.search import Particles, Path, Thought, Tree
from spex_agents.search.policies import particles as module
from spex_agents.search.policies.particles import resample, weight


class Given(Random):
    """A generator whose uniform numbers are given."""

    def __init__(self, numbers: list[float]) -> None:
        super().__init__(0)
        self.numbers = numbers

    def random(self) -> float:
        return self.numbers.pop(0)


def test_rounds_worked_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {
        "particles 0": [0.1, 0.5, 0.9],  # weights 4, 1, 1/4 of 5.25: below .762, .952, 1
        "particles 1": [0.2, 0.7, 0.95],
    }
    monkeypatch.setattr(module, "draw", lambda seed, path, purpose: Given(numbers[purpose]))
    rewards = {(0,): 0.8, (1,): 0.5, (2,): 0.2, (0, 0): 0.9, (0, 1): 0.5, (1, 0): 0.5}
    # (0,) is drawn twice and (1,) once: two thoughts below the one, one below the other.
    # Then weights 9, 1, 1 of 11, below .818, .909, 1: (0, 0) twice, (1, 0) once. (0, 0) has ended:
    # it takes two places as it is, and (1, 0) gets a thought.
    asked, tree, state = grown(
        Particles(width=3), rewards, otherwise=0.5, ends=[(0, 0), (0, 1), (1, 0, 0)]
    )
    assert asked == [((0,), (1,), (2,)), ((0, 0), (0, 1), (1, 0)), ((1, 0, 0),)]
    assert Particles(width=3).voters(state, tree) == ((0, 0),)
    twice = Particles(width=3, counted="particles").voters(state, tree)
    assert twice == ((0, 0), (0, 0), (1, 0, 0))
    assert Particles(width=3, counted="ended").voters(state, tree) is None


def test_a_reward_of_1_is_no_infinite_weight() -> None:
    tree = Tree("q").with_thoughts({(0,): Thought(text="t", tokens=1)})
    assert weight(tree.with_rewards({(0,): 1.0}), (0,)) == pytest.approx(1e7, rel=1e-6)
    assert weight(tree.with_rewards({(0,): 0.0}), (0,)) == pytest.approx(1e-7, rel=1e-6)


def test_draws_are_in_proportion_to_the_weights() -> None:
    paths: list[Path] = [(0,), (1,)]
    drawn = resample(paths, [3.0, 1.0], 20_000, 0, Tree("q", 5))
    assert drawn.count((0,)) / len(drawn) == pytest.approx(0.75, abs=0.01)


def test_an_iteration_begins_anew_and_keeps_a_path_that_competes() -> None:
    rewards: dict[Path, float] = {(index, 0): 0.3 + index / 10 for index in range(6)}
    ends = tuple((index, below) for index in range(12) for below in range(6))
    policy = Particles(width=3, iterations=2, kept=1)
    asked, tree, state = grown(policy, rewards, otherwise=0.5, ends=ends)
    assert asked[0] == ((0,), (1,), (2,))
    second = next(at for at, paths in enumerate(asked[1:], 1) if len(paths[0]) == 1)
    assert asked[second] == ((3,), (4,))
    assert len(policy.voters(state, tree) or ()) == 1


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SettingsError, match="kept=8: must be below width=8"):
        Particles(iterations=2, kept=8)
    with pytest.raises(SettingsError, match="counted='all': must be"):
        Particles(counted="all")  # type: ignore[arg-type]
