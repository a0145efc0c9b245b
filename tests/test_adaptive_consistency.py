"""Adaptive self-consistency: when it is settled, what it begins early, and how it reads answers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from searching import QUESTION, make_engine, run_search

from spex_agents.answers import AdaptiveStop, Ballot, MaxSeconds, Standing, WindowStop
from spex_agents.answers.termination import TerminationRule
from spex_agents.bench.never_slower import measure
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import SettingsError
from spex_agents.rewards import SimulatedReward
from spex_agents.search import AdaptiveConsistency, BestOfN, Expand, Finish, Path, Thought, Tree
from spex_agents.speculation import SearchConfig, Speculation, solve
from spex_agents.speculation.reporting.events import path_id

ANSWERS = st.lists(st.sampled_from(["12", "12.0", "7", "5", None]), min_size=40, max_size=40)
RULES = st.sampled_from([(AdaptiveStop(), 1), (AdaptiveStop(0.8), 3), (WindowStop(3), 3)])


def said(answer: str | None, *, written: bool = True) -> Thought:
    text = "Nobody knows." if answer is None else f"So it is \\boxed{{{answer}}}."
    return Thought(text=text if written else "", tokens=5 * written, ends=True, finish="stop")


def samples(policy: AdaptiveConsistency, answers: Sequence[str | None]) -> int:
    """How many are demanded where they answer so."""
    tree, state = Tree(QUESTION), policy.start()
    while True:
        state, decision = policy.decide(state, tree)
        if isinstance(decision, Finish):
            return len(tree)
        tree = tree.with_thoughts({path: said(answers[path[0]]) for path in decision.paths})


@pytest.mark.parametrize(
    ("answers", "count"),
    [
        (["4", "4.0", "4", "4"], 4),  # Beta(5, 1) is above 1/2 in 31 of 32, Beta(4, 1) in 15 of 16
        (["4", "5", "4", "4", "4", "4", "4", "4"], 7),  # Beta(7, 2): 0.965; Beta(6, 2): 0.9375
        (["4", None, "4", None, "4", "4"], 6),  # who has no answer has no vote
        (["4", "5"] * 4, 8),
    ],
)
def test_samples_are_asked_for_until_the_first_answer_is_ahead_for_good(
    answers: list[str | None], count: int
) -> None:
    assert samples(AdaptiveConsistency(width=8), answers) == count


def test_a_window_has_to_be_unanimous() -> None:
    policy = AdaptiveConsistency(width=12, batch=3, rule=WindowStop(3))
    assert samples(policy, ["4", "4", "5", "4", "5", "4", "7", "7", "7", "4", "4", "4"]) == 9


@given(ANSWERS, RULES)
def test_the_policy_asks_for_as_many_as_the_rule_lets_through(
    answers: list[str | None], how: tuple[TerminationRule, int]
) -> None:
    rule, batch = how
    count = samples(AdaptiveConsistency(width=40, batch=batch, rule=rule), answers)
    plain = [None if answer is None else answer.removesuffix(".0") for answer in answers]
    for asked in range(batch, 40, batch):
        ballots = [Ballot(answer, 1.0) for answer in plain[:asked] if answer is not None]
        if rule(Standing(ballots=ballots, vote="majority", remaining=9, tokens=0)):
            assert count == asked
            return
    assert count == 40


@given(ANSWERS, RULES, st.integers(1, 12), st.integers(1, 12))
def test_what_is_foreseen_while_answers_are_missing_is_asked_for_whatever_they_are(
    answers: list[str | None], how: tuple[TerminationRule, int], written: int, missing: int
) -> None:
    rule, batch = how
    policy = AdaptiveConsistency(width=40, batch=batch, rule=rule)
    known: dict[Path, Thought] = {(index,): said(answers[index]) for index in range(written)}
    pending: dict[Path, Thought] = {
        (written + index,): said(None, written=False) for index in range(missing)
    }
    asked = written + missing
    _, decision = policy.decide(asked, Tree(QUESTION).with_thoughts({**known, **pending}))
    if asked % batch == 0 and isinstance(decision, Expand):
        whole: dict[Path, Thought] = {(index,): said(answers[index]) for index in range(asked)}
        assert isinstance(policy.decide(asked, Tree(QUESTION).with_thoughts(whole))[1], Expand)


@pytest.mark.parametrize("seed", range(3))
def test_running_ahead_is_sooner_and_begins_no_sample_in_vain(seed: int) -> None:
    policy, engine = AdaptiveConsistency(width=12), make_engine()
    off = run_search(policy, seed=seed, vote="majority", termination=None)
    on = run_search(
        policy,
        seed=seed,
        engine=engine,
        vote="majority",
        termination=None,
        speculation=Speculation(),
    )
    assert on.tree == off.tree
    assert on.answer == off.answer
    assert on.seconds < off.seconds
    begun = {one.split("/")[-2] for one in engine.calls}
    assert begun == {path_id(path) for path in on.tree.thoughts}
    again = len(engine.calls) - len(begun)  # put off by the budget, as the line is not known yet
    assert again == on.ledger.retracted
    assert on.ledger.wasted_tokens == on.ledger.aborted_tokens


def test_answers_are_found_and_counted_as_the_search_does() -> None:
    def config(policy: AdaptiveConsistency | BestOfN) -> SearchConfig:
        return SearchConfig(
            engine=SimulatedEngine(),
            policy=policy,
            reward=SimulatedReward(),
            extract=lambda text: "something",
            canonical=lambda answer: answer.upper(),
            vote="majority",
            termination=None,
        )

    result = run_virtual(solve(config(AdaptiveConsistency()), QUESTION))
    assert len(result.tree) == 4  # all agree
    assert result.answer == "something"
    given = AdaptiveConsistency(width=5)
    assert config(given).policy == given


def test_a_rule_that_depends_on_timing_is_refused() -> None:
    for rule in (MaxSeconds(3), AdaptiveStop(eager=True)):
        with pytest.raises(SettingsError, match="depends on timing"):
            AdaptiveConsistency(rule=rule)


def test_what_it_needs_whatever_its_samples_say_is_certain_and_never_in_vain() -> None:
    rows, said = measure(["adaptive-consistency"], ["paper-7b", "limited API"], seeds=1)
    assert all(row.same_tree == 1 and row.waste == 0 and row.worst > 2 for row in rows)
    assert [(one.said, one.hit) for one in said] == [(1, 1)]
