"""Several rewards as one, and what they are worth, learnt from outcomes."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from searching import QUESTION, run_search
from typer.testing import CliRunner

from spex_agents.cli import app
from spex_agents.engines.base import Request
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import RewardError, SettingsError
from spex_agents.rewards import (
    Calculator,
    Calibrated,
    Calibration,
    Confidence,
    Ensemble,
    Outcome,
    Reward,
    SimulatedReward,
    Verifier,
    VoteConfidence,
    outcomes,
    outcomes_of,
)
from spex_agents.search import Rebase, Thought
from spex_agents.speculation.config import Speculation

PATH = [Thought(text="a", tokens=1)]


def request() -> Request:
    return Request(id="run/0/reward-1", seed=7)


def fixed(value: float, *, pure: bool = True, seconds: float = 0) -> Reward:
    async def score(question: str, steps: Sequence[str]) -> float:
        await asyncio.sleep(seconds)
        return value

    return Verifier(score, pure=pure, name=f"fixed {value}")


def mixed(scores: Sequence[float], **settings: Any) -> float:
    ensemble = Ensemble(tuple(fixed(score) for score in scores), **settings)
    return run_virtual(ensemble.score(QUESTION, PATH, request()))


SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=5)


@given(SCORES, st.data())
def test_mixtures_lie_between_their_members(scores: list[float], data: st.DataObject) -> None:
    weights = data.draw(
        st.lists(st.floats(0, 100), min_size=len(scores), max_size=len(scores)).filter(
            lambda weights: sum(weights) > 1e-3
        )
    )
    assert mixed(scores, by="min") == min(scores)
    for mean in (mixed(scores), mixed(scores, weights=tuple(weights))):
        assert 0 <= mean <= 1
        assert min(scores) - 1e-9 <= mean <= max(scores) + 1e-9


def test_weights_count() -> None:
    assert mixed([0.0, 1.0], weights=(1, 3)) == 0.75
    assert mixed([0.3, 1.0], weights=(2, 0)) == 0.3


def test_members_are_asked_at_once() -> None:
    async def main() -> float:
        await Ensemble((fixed(0.5, seconds=3), fixed(0.5, seconds=2))).score(
            QUESTION, PATH, request()
        )
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 3


def test_a_mixture_of_one_is_that_one() -> None:
    votes = VoteConfidence(SimulatedEngine(), samples=8)
    path = [Thought(text="Step 1, quality 0.500000.", tokens=9)]
    alone, together = request(), request()
    score = run_virtual(votes.score(QUESTION, path, alone))
    assert run_virtual(Ensemble((votes,)).score(QUESTION, path, together)) == score
    assert alone.tokens == together.tokens > 0


def test_a_mixture_is_as_pure_and_as_demanding_as_its_members() -> None:
    assert Ensemble((fixed(1), fixed(1))).pure
    assert not Ensemble((fixed(1), fixed(1, pure=False))).pure
    assert Ensemble((fixed(1), Confidence())).needs_logprobs
    assert not Ensemble((fixed(1), Calculator())).seeded
    assert Ensemble((fixed(1), VoteConfidence(SimulatedEngine()))).seeded


def test_a_member_that_fails_is_named_and_ends_the_others() -> None:
    async def main() -> float:
        with pytest.raises(RewardError, match=r"'fixed 7' returned 7"):
            await Ensemble((fixed(0.5, seconds=9), fixed(7))).score(QUESTION, PATH, request())
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) < 9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rewards": ()}, "at least one reward"),
        ({"rewards": (Confidence,)}, "is a class"),
        ({"by": "max"}, "by='max'"),
        ({"weights": (1,)}, "must be 2, one a reward"),
        ({"weights": (0, 0)}, "not all 0"),
        ({"weights": (-1, 2)}, "at least 0"),
        ({"weights": (1, 2), "by": "min"}, "leave them out"),
    ],
)
def test_mixtures_refuse_settings_that_make_no_sense(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        Ensemble(**{"rewards": (fixed(0), fixed(1)), **settings})


def rows(weights: Sequence[float], intercept: float, count: int) -> list[Outcome]:
    """Outcomes drawn from known coefficients."""
    rng = Random(5)
    drawn = []
    for _ in range(count):
        rewards = tuple(rng.random() for _ in weights)
        logit = intercept + sum(w * r for w, r in zip(weights, rewards, strict=True))
        drawn.append(Outcome(rewards, rng.random() < 1 / (1 + math.exp(-logit))))
    return drawn


@pytest.mark.parametrize(
    ("weights", "intercept"), [((4.0,), -2.0), ((-3.0,), 1.0), ((5.0, -2.0, 0.0), -1.0)]
)
def test_a_calibration_finds_the_coefficients_that_the_data_came_from(
    weights: tuple[float, ...], intercept: float
) -> None:
    found = Calibration.fit(rows(weights, intercept, 6000))
    assert found.weights == pytest.approx(weights, abs=0.3)
    assert found.intercept == pytest.approx(intercept, abs=0.3)
    assert found == Calibration.fit(rows(weights, intercept, 6000))


def test_a_calibration_is_the_minimum_of_its_loss() -> None:
    data = rows((4.0, 1.0), -2.0, 40)
    ridge = 0.5

    def loss(at: Sequence[float]) -> float:
        total = ridge / 2 * sum(value * value for value in at)
        for rewards, right in data:
            logit = at[0] + sum(w * r for w, r in zip(at[1:], rewards, strict=True))
            total += math.log1p(math.exp(-logit if right else logit))
        return total

    found = Calibration.fit(data, ridge=ridge)
    best = [found.intercept, *found.weights]
    for index in range(3):
        for step in (-1e-3, 1e-3):
            nearby = [value + step * (at == index) for at, value in enumerate(best)]
            assert loss(nearby) > loss(best)


@pytest.mark.parametrize(
    ("data", "low", "high"),
    [
        ([Outcome((score / 10,), right=True) for score in range(10)], 0.9, 1.0),
        ([Outcome((score / 10,), right=False) for score in range(10)], 0.0, 0.1),
        ([Outcome((0.5,), right=True), Outcome((0.5,), right=False)], 0.45, 0.55),
        ([Outcome((1.0,), right=True)], 0.5, 1.0),
    ],
)
def test_data_without_two_sides_give_a_calibration_too(
    data: list[Outcome], low: float, high: float
) -> None:
    assert low < Calibration.fit(data).probability([0.5]) < high


def test_data_that_a_threshold_tells_apart_give_a_steep_but_finite_one() -> None:
    data = [Outcome((score / 10, 0.3), right=score > 4) for score in range(10)]
    loose, tight = (Calibration.fit(data, ridge=ridge) for ridge in (1e-6, 1.0))
    assert loose.probability([0.2, 0.3]) < 0.01
    assert loose.probability([0.8, 0.3]) > 0.99
    assert tight.weights[0] < loose.weights[0] < 1e3


def test_rewards_on_hopeless_scales_still_give_one() -> None:
    data = [Outcome((score * 1e6,), right=score > 4) for score in range(10)]
    found = Calibration.fit(data)
    assert found.probability([0.0]) < found.probability([9e6]) <= 1


@given(SCORES, st.integers(0, 50))
def test_a_calibration_of_positive_weight_keeps_the_order(scores: list[float], seed: int) -> None:
    calibration = Calibration(weights=(Random(seed).uniform(0.1, 9),), intercept=-1.0)
    ordered = [calibration.probability([score]) for score in sorted(scores)]
    assert ordered == sorted(ordered)
    assert all(0 <= chance <= 1 for chance in ordered)


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        ([], {}, "at least one row"),
        ([Outcome((), right=True)], {}, "at least one row"),
        ([Outcome((1.0,), right=True), Outcome((1.0, 2.0), right=True)], {}, "same number"),
        ([Outcome((math.nan,), right=True)], {}, "not finite"),
        ([Outcome((1.0,), right=True)], {"ridge": 0.0}, "ridge=0.0"),
    ],
)
def test_a_calibration_says_what_it_cannot_be_fitted_to(
    data: list[Outcome], settings: dict[str, float], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        Calibration.fit(data, **settings)


def test_a_calibration_is_kept_as_data(tmp_path: Path) -> None:
    calibration = Calibration.fit(rows((4.0, 1.0), -2.0, 50))
    calibration.save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == calibration


@pytest.mark.parametrize(
    "text", [None, "", "[]", '{"weights": 1}', '{"weights": [1], "intercept": NaN}']
)
def test_what_is_no_calibration_is_named(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "c.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError, match=r"c\.json"):
        Calibration.load(file)


def test_a_calibrated_reward_wants_the_rewards_it_was_fitted_to() -> None:
    with pytest.raises(SettingsError, match="calibration of 2 rewards, given 1"):
        Calibrated((Calculator(),), Calibration(weights=(1.0, 2.0), intercept=0.0))


def test_a_calibrated_mixture_searches_the_same_tree_with_speculation() -> None:
    reward = Calibrated(
        (SimulatedReward(latency=0.5), fixed(0.5)),
        Calibration(weights=(6.0, 1.0), intercept=-3.0),
    )
    plain = run_search(Rebase(width=4), reward=reward)
    ahead = run_search(Rebase(width=4), reward=reward, speculation=Speculation())
    assert plain.tree.sha256() == ahead.tree.sha256()
    assert len(set(plain.tree.rewards.values())) > 1


def test_rows_come_from_what_the_command_line_prints() -> None:
    collected: list[Outcome] = []
    for seed in range(4):
        told = CliRunner().invoke(
            app, ["solve", QUESTION, "--engine", "simulated", "--json", "--seed", str(seed)]
        )
        result = json.loads(told.stdout)
        found = outcomes(result, "12")
        leaves = [row for row in result["tree"] if row["ends"]]
        assert [row.rewards for row in found] == [(leaf["reward"],) for leaf in leaves]
        assert [row.right for row in found] == ["{12}" in leaf["text"] for leaf in leaves]
        collected += found
    calibration = Calibration.fit(collected)
    chances = [calibration.probability(row.rewards) for row in collected]
    share = sum(row.right for row in collected) / len(collected)
    assert sum(chances) / len(chances) == pytest.approx(share, abs=0.05)


def test_rows_of_several_rewards_come_from_a_tree() -> None:
    done = run_search(Rebase(width=4))
    votes = VoteConfidence(SimulatedEngine(), samples=2)
    rewards = (SimulatedReward(latency=3), fixed(0.5, seconds=2), votes)

    async def main() -> list[Outcome]:
        return await outcomes_of(done.tree, "12", rewards)

    found = run_virtual(main())
    leaves = list(done.tree.leaves())
    assert [row.rewards[:2] for row in found] == [(done.tree.reward(leaf), 0.5) for leaf in leaves]
    assert [row.right for row in found] == [
        "{12}" in done.tree.thought(leaf).text for leaf in leaves
    ]
    assert found == run_virtual(main())
    assert len(Calibration.fit(found).weights) == 3
    with pytest.raises(RewardError, match="'fixed 7' returned 7"):
        run_virtual(outcomes_of(done.tree, "12", [fixed(7)]))


def test_leaves_without_a_reward_are_no_rows_and_those_without_an_answer_are_wrong() -> None:
    def leaf(text: str, reward: float | None) -> dict[str, Any]:
        return {"path": [0, 1], "text": text, "ends": True, "reward": reward}

    trunk = {"path": [0], "text": "2 + 2", "ends": False, "reward": 0.5}
    for text, reward, expected in (
        ("and so on", 0.3, [Outcome((0.3,), right=False)]),
        ("The answer is 4", None, []),
    ):
        assert outcomes({"tree": [trunk, leaf(text, reward)]}, "4") == expected


def test_a_mixture_takes_rewards_only() -> None:
    with pytest.raises(SettingsError, match="has no name"):
        Ensemble((cast(Reward, object()),))
