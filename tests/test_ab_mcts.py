"""AB-MCTS: decisions worked by hand, and its rule written a second time from the paper."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spex_agents.errors import SettingsError
from spex_agents.search import AbMcts, Expand, Finish, Path, Thought, Tree
from spex_agents.search.action import WHOLE
from spex_agents.search.policies import ab_mcts
from spex_agents.search.policies.answer_tree import Sums
from spex_agents.search.tree import draw, uniforms


def grown(policy: AbMcts, rewards: Mapping[Path, float], seed: int = 0) -> list[Path]:
    """What a search demands whose tries get these rewards; the others get 0."""
    tree, state = Tree("q", seed), policy.start()
    while True:
        state, decision = policy.decide(state, tree)
        if isinstance(decision, Finish):
            return list(state)
        assert isinstance(decision, Expand)
        (path,) = decision.paths
        tree = tree.with_thoughts({path: Thought(text=str(path), tokens=1)})
        tree = tree.with_rewards({path: rewards.get(path, 0.0)})


def reward_of(path: Path) -> float:
    """Some reward for any path."""
    return round(draw(3, path, "reward").random(), 3)


class Everywhere(dict[Path, float]):
    def get(self, path: Path, default: float = 0.0) -> float:  # type: ignore[override]
        return reward_of(path)


def test_without_chance_the_means_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a quarter turn Student's t is 0, and a draw the posterior's mean, sum/(1 + n)."""

    def still(seed: int, path: Path, purpose: str) -> tuple[float, float]:
        # But for the second decision's K: t(1) of 1, and so sqrt(0.1) = 0.316.
        return (0.5**0.5, 0.0) if purpose == "ab-mcts deeper 1" else (0.5, 0.25)

    monkeypatch.setattr(ab_mcts, "uniforms", still)
    rewards = {(0,): 0.6, (0, 0): 0.9, (0, 1): 0.2, (0, 2): 0.0, (1,): 0.5, (2,): 0.0}
    asked = grown(AbMcts(rollouts=8), rewards)
    assert asked == [
        (0,),  # nothing is there
        (0, 0),  # G = {.6}: .6/2 = .3 < .316: on to (0,), which has no child
        (0, 1),  # K = {.9}: .9/2 = .45 > .3; at (0,): G = {.9} .45, K empty 0: wider
        (0, 2),  # K = {.9, .2}: 1.1/3 = .367 > .3; at (0,): G .367, K 0: wider
        (1,),  # K = {.9, .2, 0}: 1.1/4 = .275 < .3: wider
        (2,),  # G = {.6, .5}: 1.1/3 = .367 > .275: wider
        (3,),  # G = {.6, .5, 0}: 1.1/4 = .275, not below .275: wider
        (0, 3),  # G = {.6, .5, 0, 0}: 1.1/5 = .22 < .275; (0,) has 1.7/5 = .34, (1,) has .25
    ]


def test_each_model_writes_the_children_of_its_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ab_mcts, "uniforms", lambda *_: (0.5, 0.25))
    models = ("a", "b")
    # K is empty, so all are children of the question: (0,), (2,) .. are of a, (1,), (3,) .. of b.
    rewards: dict[Path, float] = {(0,): 0.2, (1,): 0.5, (3,): 0.1, (5,): 0.0, (2,): 0.9}
    # Thompson: sums/(1 + n). a 0, b 0: a. a .1, b 0: a. Its second brings .9: a 1.1/3 = .37, ...
    assert grown(AbMcts(rollouts=4, models=models), rewards) == [(0,), (2,), (4,), (6,)]
    # UCB: a, as none has any; b, as it has none; then .2 and .5 + sqrt(2 ln 2): b; .1 in the mean
    # of b is .3 + sqrt(ln 3) = 1.35 against .2 + sqrt(2 ln 3) = 1.68: a.
    policy = AbMcts(rollouts=4, models=models, choice="ucb")
    assert grown(policy, rewards) == [(0,), (1,), (3,), (2,)]
    # A prior that thinks of b as .9: b .9, its .5 and .1 bring (.9 + .5)/2 = .7, (1.5)/3 = .5, ...
    policy = AbMcts(rollouts=5, models=models, means=(0.3, 0.9))
    assert grown(policy, rewards) == [(1,), (3,), (5,), (7,), (0,)]
    assert [policy.action(path).engine for path in ((0,), (1,), (1, 4))] == ["a", "b", "a"]


def second_opinion(policy: AbMcts, made: list[Path], seed: int) -> Path:
    """The rule, written down once more with sets of rewards and no regard for time."""
    count, time = len(policy.models), len(made)
    reward = {path: reward_of(path) for path in made}

    def value(path: Path, role: str, rewards: list[float], model: int | None = None) -> float:
        purpose = f"ab-mcts {role} {time}"
        if policy.posterior == "beta":
            rng = draw(seed, path, purpose)
            total = sum(rewards)
            return rng.betavariate(0.5 + total, 0.5 + len(rewards) - total)
        mean = policy.means[model] if policy.means and model is not None else 0.0
        kappa, nu, n = 1.0 + len(rewards), 1.0 + len(rewards), len(rewards)
        average = fmean(rewards) if rewards else 0.0
        spread = sum((r - average) ** 2 for r in rewards) + n * (average - mean) ** 2 / kappa
        tau2 = (0.1 + spread) / nu
        one, other = uniforms(seed, path, purpose)
        student = math.sqrt(nu * (one ** (-2 / nu) - 1)) * math.cos(2 * math.pi * other)
        return (mean + n * average) / kappa + math.sqrt(tau2 / kappa) * student

    def descendants(path: Path) -> list[Path]:
        return [other for other in made if other[: len(path)] == path and other != path]

    def best_model(node: Path, own: list[list[float]]) -> int:
        if count == 1:
            return 0
        if policy.choice == "ucb":
            total = sum(map(len, own))
            scores = [
                fmean(each) + math.sqrt(2) * math.sqrt(math.log(total) / len(each))
                if each
                else math.inf
                for each in own
            ]
        else:
            scores = [value(node, f"model {arm}", each, arm) for arm, each in enumerate(own)]
        return scores.index(max(scores))

    node: Path = ()
    while True:
        kids = [path for path in made if path[:-1] == node and len(path) == len(node) + 1]
        model: int | None = None
        if policy.choice == "stack" and count > 1:
            own = [
                [
                    reward[p]
                    for kid in kids
                    for p in (kid, *descendants(kid))
                    if kid[-1] % count == arm
                ]
                for arm in range(count)
            ]
            model = best_model(node, own)
            kids = [kid for kid in kids if kid[-1] % count == model]
        g = value(node, "wider", [reward[kid] for kid in kids], model)
        k = value(node, "deeper", [reward[p] for kid in kids for p in descendants(kid)], model)
        if not kids or g >= k:
            if model is None:
                arms = [[reward[p] for p in made if p[-1] % count == arm] for arm in range(count)]
                model = best_model(node, arms)
            same = [p for p in made if p[:-1] == node and len(p) == len(node) + 1]
            return (*node, sum(p[-1] % count == model for p in same) * count + model)
        draws = [
            value(kid, "child", [reward[p] for p in (kid, *descendants(kid))], model)
            for kid in kids
        ]
        node = kids[draws.index(max(draws))]


@given(
    seed=st.integers(0, 10**6),
    models=st.sampled_from([("",), ("a", "b"), ("", "b", "c")]),
    posterior=st.sampled_from(["gaussian", "beta"]),
    choice=st.sampled_from(["thompson", "ucb", "stack"]),
)
def test_it_decides_as_the_rule_written_a_second_time(
    seed: int, models: tuple[str, ...], posterior: str, choice: str
) -> None:
    policy = AbMcts(
        rollouts=20,
        models=models,
        posterior=posterior,  # type: ignore[arg-type]
        choice=choice,  # type: ignore[arg-type]
    )
    asked = grown(policy, Everywhere(), seed)
    assert asked == [second_opinion(policy, asked[:time], seed) for time in range(len(asked))]


@pytest.mark.parametrize(
    ("nu", "quantile", "within"), [(1, 1.0, 0.5), (5, 2.015, 0.9), (30, 1.697, 0.9)]
)
def test_draws_are_those_of_student(nu: int, quantile: float, within: float) -> None:
    count = nu - 1  # of rewards of 0.5: nu_n = 1 + n
    rewards = Sums(count, 0.5 * count, 0.25 * count)
    kappa = float(nu)
    centre = 0.5 * count / kappa
    tau2 = (0.1 + count * 0.25 / kappa) / nu
    draws = [ab_mcts.gaussian(rewards, uniforms(1, (index,), "t")) for index in range(20_000)]
    t = [(one - centre) / math.sqrt(tau2 / kappa) for one in draws]
    assert fmean(abs(one) < quantile for one in t) == pytest.approx(within, abs=0.01)
    assert fmean(one < 0 for one in t) == pytest.approx(0.5, abs=0.01)


def test_where_a_path_has_ended_nothing_is_demanded_below() -> None:
    tree, state = Tree("q"), AbMcts(rollouts=30).start()
    for _ in range(30):
        state, decision = AbMcts(rollouts=30).decide(state, tree)
        assert isinstance(decision, Expand)
        (path,) = decision.paths
        assert len(path) <= 2
        thought = Thought(text=str(path), tokens=1, ends=len(path) == 2)
        tree = tree.with_thoughts({path: thought}).with_rewards({path: reward_of(path)})


def test_the_best_answer_is_the_search_s_and_the_earliest_of_equal_ones() -> None:
    rewards = {(0,): 0.5, (1,): 0.9, (0, 0): 0.9}
    tree = Tree("q").with_thoughts({path: Thought(text="t", tokens=1) for path in rewards})
    tree = tree.with_rewards(rewards)
    assert AbMcts().voters(tuple(rewards), tree) == ((1,),)
    assert AbMcts(counted="all").voters(tuple(rewards), tree) == tuple(rewards)
    assert AbMcts().remaining(tuple(rewards), tree) == 2
    assert AbMcts().remaining(tuple(rewards), tree.with_rewards({(1,): 1.0})) == 0


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"means=\(0\.5,\): must be one for each of the 2"):
        AbMcts(models=("a", "b"), means=(0.5,))
    with pytest.raises(SettingsError, match="posterior='gauss': must be"):
        AbMcts(posterior="gauss")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="again='answer': must have refines=True"):
        AbMcts(again=WHOLE)
    with pytest.raises(SettingsError, match="each once"):
        AbMcts(models=("a", "a"))
