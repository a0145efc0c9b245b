"""What a forecast says of the paths that a search may demand, and what it costs to say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from statistics import fmean
from typing import ClassVar

from benchmarks.foresight import measure
from spex_agents.search import Decision, Expand, Finish, Limits, Path, Policy, Tree
from spex_agents.search.policy import State, children
from spex_agents.search.tree import Thought, TreeView
from spex_agents.speculation.config import Known, Speculation
from spex_agents.speculation.foresight.forecasts import FRESH, LARGE, WORK_ASIDE, ReplayForecast
from spex_agents.speculation.foresight.planning import forecast_of
from spex_agents.speculation.foresight.prediction import Prediction, Quantiles

FIRST = children((), 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Best(Policy):
    """Demands a child of the best thought of the first layer, or of the first one."""

    effort: ClassVar[int] = WORK_ASIDE * FRESH
    """So much that there is one replay after a decision."""

    by_reward: bool = True
    decided: list[Path] = field(default_factory=list, compare=False)

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        best = FIRST[0]
        if self.by_reward:
            best = max(FIRST, key=tree.reward)
        child = (*best, 0)
        self.decided.append(child)
        return state, Finish() if child in tree else Expand((child,))


@dataclass(frozen=True, slots=True, kw_only=True)
class UntilPerfect(Policy):
    """Demands one more thought, unless one of the first layer is perfect."""

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        child = (*FIRST[0], 0)
        ends = child in tree or any(tree.reward(path) >= 1 for path in FIRST)
        return state, Finish() if ends else Expand((child,))


def unjudged(number: int) -> Known:
    """The first layer is written, and nothing judged; decisions of different numbers differ."""
    thoughts = {path: Thought(text=f"{path}", tokens=1) for path in FIRST}
    tree = Tree("Which?", number).with_thoughts(thoughts)
    return Known(tree, None, Expand(FIRST), thoughts, {})


def forecast_by(policy: Policy) -> ReplayForecast:
    forecast = forecast_of(Speculation(), policy, Limits(depth=4), Prediction())
    assert isinstance(forecast, ReplayForecast)
    return forecast


def first_said(policy: Policy, decisions: int = 30, events: int = 40) -> list[float]:
    """What is said after each decision, from one replay, of the path that it demands."""
    forecast = forecast_by(policy)
    said: list[float] = []
    for number in range(decisions):
        known = unjudged(number)
        said += forecast(known).values()
        for _ in range(events):
            forecast(known)
    return said


def test_one_replay_is_believed_where_others_have_agreed_with_it() -> None:
    class Sure(Best):
        cautious: ClassVar[bool] = False

    said = first_said(Sure(by_reward=False))
    assert said[-1] > 0.8


def test_the_first_replay_of_a_search_is_taken_to_be_right_in_three_of_four_cases() -> None:
    assert 0.7 < first_said(Best(), decisions=1)[0] < 0.8


def test_one_replay_is_not_believed_where_others_have_gone_elsewhere() -> None:
    said = first_said(Best())
    # The best of sixteen unknown ones is each with the same probability.
    assert fmean(said[10:]) < 0.25 < said[0]


def test_what_replays_cost_is_bounded_over_the_events() -> None:
    policy = Best()
    forecast, known, events = forecast_by(policy), unjudged(0), 100
    for _ in range(events):
        forecast(known)
    costs = policy.effort * len(policy.decided)
    assert events / 2 * WORK_ASIDE <= costs <= (events + 2 * FRESH) * WORK_ASIDE


def test_a_large_search_renews_fewer_replays_at_an_event() -> None:
    made = []
    for thoughts in (len(FIRST), 8 * LARGE):
        policy, known = Best(), unjudged(0)
        more = children((), thoughts - len(FIRST), first=len(FIRST))
        there = {**known.thoughts, **dict.fromkeys(more, Thought(text="", tokens=1))}
        forecast = forecast_by(policy)
        for _ in range(256):
            forecast(replace(known, thoughts=there))
        made.append(len(policy.decided))
    few, many = made[1], made[0]
    assert 6 < many / few < 9


def test_an_event_renews_all_replays_of_a_small_search() -> None:
    class Small(Best):
        effort: ClassVar[int] = 0

    policy = Small()
    forecast, known = forecast_by(policy), unjudged(0)
    forecast(known)
    judged = {path: 0.9 if path == FIRST[3] else 0.1 for path in FIRST}
    tree = known.tree.with_rewards(judged)
    said = forecast(replace(known, tree=tree, rewards=judged))
    assert said.keys() == {(*FIRST[3], 0)}
    assert min(said.values()) > 0.9


def test_who_knew_rewards_early_would_be_faster_for_less_waste() -> None:
    faster, wasted = measure("rewards known", 1.5, seeds=1)
    assert faster > 2.4
    assert wasted < 0.3


def said_after(rewards: Sequence[float]) -> float:
    """How probable it is then that a search goes on that ends at a reward of 1."""
    prediction = Prediction()
    learn(prediction, rewards)
    forecast = forecast_of(Speculation(), UntilPerfect(), Limits(depth=4), prediction)
    return forecast(unjudged(0)).get((*FIRST[0], 0), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries(Policy):
    """Demands one whole answer after the other, whatever they are worth."""

    leaves_only: ClassVar[bool] = True

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        done = int(state or 0)
        tree.reward((done,))
        return done + 1, Expand(((done + 1,),))


def goes_on(searches: Sequence[Sequence[float]], failed: int, *, one_ends: bool) -> float:
    """How probable a try is after the one under way, of a search whose first ones have failed."""
    shared = Prediction()
    for rewards in searches:
        learn(Prediction(shared), rewards)
    prediction = Prediction(shared)
    learn(prediction, [0.0] * failed)
    policy = Tries()
    forecast = forecast_of(Speculation(), policy, Limits(depth=4), prediction, one_ends=one_ends)
    known = Known(Tree("Which?", 0), 0, Expand(((0,),)), {}, {})
    return forecast(known)[1,]


def learn(prediction: Prediction, rewards: Sequence[float]) -> None:
    known: dict[Path, float] = {(20 + at,): reward for at, reward in enumerate(rewards)}
    for path in known:
        prediction.learn_reward(path, {}, known)


def test_what_ends_a_search_at_a_reward_of_one_is_foreseen() -> None:
    half = [[1.0], [0.0] * 15] * 6  # the first try, or none
    assert goes_on(half, 0, one_ends=False) > 0.95
    assert 0.3 < goes_on(half, 0, one_ends=True) < 0.75


def test_a_search_that_has_failed_for_long_probably_goes_on() -> None:
    half = [[1.0], [0.0] * 15] * 6
    after = [goes_on(half, failed, one_ends=True) for failed in (0, 1, 8)]
    assert after == sorted(after)
    assert after[-1] > 0.85


def test_a_search_may_end_at_a_reward_of_one_where_rewards_take_few_values() -> None:
    assert said_after([]) < 0.7
    assert said_after([0.25, 0.5, 0.75, 0.5] * 6) < 0.9
    assert said_after(Random(1).sample([0.25, 0.5, 1.0, 0.5] * 6, 24)) < 0.2
    assert said_after([0.3 + index / 60 for index in range(24)]) > 0.95


def test_of_siblings_about_as_many_are_perfect_in_a_draw_as_should_be() -> None:
    """One in forty of five times eight: left to chance, none would be in every third layer."""
    quantiles = Quantiles(draws=8)
    perfect = [
        sum(
            quantiles.highest(path, draw, 0.025)
            for path in children((parent,), 5)
            for draw in range(8)
        )
        for parent in range(400)
    ]
    assert max(perfect) <= 2
    assert perfect.count(0) < 60
    assert 0.95 < fmean(perfect) < 1.05
