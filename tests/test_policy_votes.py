"""Who votes, and what it weighs: as the sources count, and as we do where we count otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st
from searching import make_engine, run_search
from test_policies import LIMITS, commit, demanded, grow, walk

from spex_agents.answers import Extract, at_end, boxed, either, extract_answer, last_number
from spex_agents.answers.votes import Ballot, elect
from spex_agents.engines.base import Request
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import SettingsError
from spex_agents.rewards import Reward, as_reward
from spex_agents.rewards.combining.aggregate import By
from spex_agents.search import (
    Beam,
    BestOfN,
    Dvts,
    Expand,
    Finish,
    Limits,
    Path,
    Policy,
    Rap,
    Rebase,
    RestMcts,
    RstarActions,
    Thought,
    TotBfs,
    TotDfs,
    Tree,
)
from spex_agents.search.policy import State, voters
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.solving import solve

DEEP: tuple[Path, ...] = tuple(product(range(3), repeat=3))
"""The paths of three thoughts, each with three children."""


def end(
    policy: Policy,
    rewards: Mapping[Path, float],
    ends: tuple[Path, ...],
    *,
    otherwise: float = 0.0,
) -> tuple[State, Tree]:
    """The last state of a search in this world, and its tree."""
    tree, state = Tree("q"), policy.start()
    while True:
        state, decision = policy.decide(state, tree)
        if isinstance(decision, Finish):
            return state, tree
        tree = commit(tree, {path: rewards.get(path, otherwise) for path in decision.paths}, ends)


# ReST-MCTS*: the solution alone, or all ended paths


REWARDS: Mapping[Path, float] = {(0,): 0.5, (1,): 0.6, (1, 2): 0.2, (0, 0): 0.3, (0, 1): 0.4}
ENDS: tuple[Path, ...] = ((1, 2), (0, 0), (0, 1), (1, 0), (1, 1), (0, 1, 2))


def test_when_the_rounds_run_out_the_thought_of_the_highest_value_is_the_solution() -> None:
    policy = RestMcts(rollouts=2, width=2, gate=1.0)
    state, tree = end(policy, REWARDS, ENDS)
    # 1: V(1) = 0.3 + 0.1 = 0.4 by its roll-out (1, 2), which ends. 2: the unvisited (0,), whose
    # better child (0, 1) ends: V(0, 1) = V(0) = 0.4. The deepest of the equal ones is the solution.
    assert voters(policy, state, tree) == ((0, 1),)
    ours = RestMcts(rollouts=2, width=2, gate=1.0, counted="ended")
    state, tree = end(ours, REWARDS, ENDS)
    assert voters(ours, state, tree) == ((1, 2), (0, 0), (0, 1))


def test_a_solution_that_has_not_ended_is_written_to_its_end() -> None:
    policy = RestMcts(rollouts=1, width=2, steps=0, gate=None)
    asked, state = walk(policy, {(0,): 0.9, (1,): 0.6, (0, 2): 0.1}, ends=((0, 2),))
    # Without a step in the roll-out V(0) is 0.9 still; the source would lower it to 0.45.
    assert state[0].root[2][0][1] == 0.9
    assert asked == [(0,), (1,), (0, 2)]


def test_a_gate_takes_a_step_that_holds_for_a_solution_and_none_does_not() -> None:
    _, gated = end(RestMcts(rollouts=5, width=2, steps=1), {}, DEEP, otherwise=1.0)
    _, free = end(RestMcts(rollouts=5, width=2, steps=1, gate=None), {}, DEEP, otherwise=1.0)
    assert len(gated) < len(free) / 2


def test_the_first_visit_of_rest_mcts_is_worth_what_it_is_said_to_be() -> None:
    # V(0) = 0.5 after the first round, by a roll-out that says the same; (1,) has 0.3 + u.
    rewards = {(0,): 0.5, (1,): 0.3, (0, 2): 0.5}
    _, tree = end(RestMcts(rollouts=2, width=2, steps=1, unvisited=0.1), rewards, DEEP)
    assert (0, 0) in tree
    _, tree = end(RestMcts(rollouts=2, width=2, steps=1, unvisited=0.8), rewards, DEEP)
    assert (1, 0) in tree


# RAP: the mean backed up and the maximum over visits; leaves that were walked to


RAP: Mapping[Path, float] = {(0,): 0.6, (1,): 0.5, (0, 0): 0.1, (1, 0): 0.9}
"""Two thoughts deep; what is not named has the reward 0."""
RAP_ENDS = ((0, 0), (0, 1), (1, 0), (1, 1))


def test_rap_backs_up_the_mean_and_takes_the_maximum_as_its_source_does() -> None:
    # 1: (0,) by its reward, (0, 0): 0.35. 2: 0.35 against 0.5 of the unvisited (1,), and on to
    # (1, 0): 0.7, which stays the largest.
    policy = Rap(rollouts=4, width=2, exploration=0.1)
    state, _ = end(policy, RAP, RAP_ENDS)
    assert state[0] == ((0, 0), (1, 0), (1, 0), (1, 0))
    # Sums and their mean: (0,) has 0.7 of two rewards, which 0.5 of one never reaches.
    policy = Rap(rollouts=4, width=2, exploration=0.1, back_up="sum", value="mean")
    state, _ = end(policy, RAP, RAP_ENDS)
    assert state[0] == ((0, 0),) * 4


def test_in_rap_siblings_that_nobody_walked_to_do_not_vote() -> None:
    policy = Rap(rollouts=4, width=2, exploration=0.1)
    state, tree = end(policy, RAP, RAP_ENDS)
    assert voters(policy, state, tree) == ((0, 0), (1, 0))
    ours = Rap(rollouts=4, width=2, exploration=0.1, counted="ended")
    assert set(voters(ours, state, tree)) == set(RAP_ENDS)


# DVTS


def test_in_dvts_the_whole_last_layer_of_a_subtree_votes() -> None:
    rewards: dict[Path, float] = {(0,): 0.9, (1,): 0.8, (2,): 0.7, (3,): 0.1}
    ends: tuple[Path, ...] = ((0,), (1,), (2,))
    policy = Dvts(beams=4, width=2)
    state, tree = end(policy, rewards, ends)
    assert voters(policy, state, tree) == ((0,), (1,), (2,))  # (3,) has not ended: no answer
    ours = Dvts(beams=4, width=2, counted="kept")
    assert voters(ours, state, tree) == ((0,), (2,))


# Beam search


def test_beam_search_votes_as_often_as_it_has_beams() -> None:
    rewards: dict[Path, float] = dict.fromkeys([(0,), (1,), (2,)], 0.5)
    policy = Beam(beams=3, width=1)
    # (0,) and (1,) end; of the three copies of (2,) two end, so four have ended: three vote.
    state, tree = end(policy, rewards, ((0,), (1,), (2, 0), (2, 2)))
    assert voters(policy, state, tree) == ((0,), (1,), (2, 0))
    ours = Beam(beams=3, width=1, counted="ended")
    assert voters(ours, state, tree) == ((0,), (1,), (2, 0), (2, 2))
    assert ours.remaining(state, tree) == 0


def test_where_too_few_have_ended_the_first_vote_once_more() -> None:
    policy = Beam(beams=3, width=3)
    # One path is kept; (1,) and (2, 0) end, (2, 1) is lost with its siblings' layer.
    tree = commit(Tree("q"), {(0,): 0.1, (1,): 0.9, (2,): 0.5}, ends=((1,),))
    state, decision = policy.decide(policy.decide(policy.start(), Tree("q"))[0], tree)
    assert demanded(decision) == ((2, 0), (2, 1), (2, 2))
    tree = tree.with_failures({(2, 1): "filtered", (2, 2): "filtered"})
    tree = commit(tree, {(2, 0): 0.5}, ends=((2, 0),))
    state, decision = policy.decide(state, tree)
    assert decision == Finish()
    assert voters(policy, state, tree) == ((1,), (2, 0), (1,))
    assert voters(Beam(beams=3, width=3, counted="ended"), state, tree) == ((1,), (2, 0))


def test_a_beam_that_repeats_another_is_not_kept() -> None:
    def layer(policy: Policy) -> tuple[Path, ...]:
        rewards: dict[Path, float] = {(0,): 0.9, (1,): 0.9, (2,): 0.8, (3,): 0.1}
        tree = Tree("q").with_thoughts(
            {path: Thought(text="AABC"[path[0]], tokens=1) for path in rewards}
        )
        state, _ = policy.decide(policy.start(), tree)
        return demanded(policy.decide(state, tree.with_rewards(rewards))[1])

    assert {path[0] for path in layer(Beam(beams=4, width=2))} == {0, 2}
    assert {path[0] for path in layer(Beam(beams=4, width=2, distinct=False))} == {0, 1}


# The original ToT


def test_depth_first_enters_the_better_child_before_it_takes_a_worse_one_that_has_ended() -> None:
    rewards = {(0,): 0.9, (1,): 0.4, (0, 0): 0.8, (0, 1): 0.1}
    asked, state = walk(TotDfs(width=2, threshold=0.3), rewards, ends=((1,), (0, 0)))
    assert asked == [(0,), (1,), (0, 0), (0, 1)]
    assert state[3] == ((0, 0),)


def test_depth_first_visits_children_as_they_were_proposed_if_asked_to() -> None:
    rewards = {(0,): 0.4, (1,): 0.9, (0, 0): 0.5, (0, 1): 0.5}
    policy = TotDfs(width=2, threshold=0.3, order="proposed")
    assert walk(policy, rewards, ends=((0, 0),))[0] == [(0,), (1,), (0, 0), (0, 1)]


def test_steps_are_thoughts_visited() -> None:
    rewards = {(0,): 0.9, (1,): 0.8, (0, 0): 0.1, (0, 1): 0.1, (1, 0): 0.9, (1, 1): 0.1}
    ends = ((1, 0),)
    # (0,), both its children in vain, (1,), (1, 0).
    assert walk(TotDfs(width=2, steps=5), rewards, ends)[1][3] == ((1, 0),)
    assert walk(TotDfs(width=2, steps=4), rewards, ends)[1][3] == ()


def test_breadth_first_returns_the_best_of_what_has_ended() -> None:
    rewards: dict[Path, float] = {(0,): 0.3, (1,): 0.9, (2,): 0.5}
    policy = TotBfs(width=3, keep=2)
    state, tree = end(policy, rewards, ((0,), (1,), (2,)))
    assert voters(policy, state, tree) == ((1,), (2,))
    ours = TotBfs(width=3, keep=2, counted="ended")
    assert voters(ours, state, tree) == ((0,), (1,), (2,))


# rStar


@given(st.integers(0, 10**6), st.integers(1, 20), LIMITS)
def test_rstar_counts_children_that_it_created_and_did_not_walk_to_if_asked_to(
    seed: int, rollouts: int, limits: Limits
) -> None:
    steps = grow(RstarActions(rollouts=rollouts, width=1, create="all"), seed, limits)
    policy = RstarActions(rollouts=rollouts, width=1)
    for step in steps:
        if isinstance(step.decision, Expand):
            parents = {path[:-1] for path in step.decision.paths}
            assert len(parents) == 1
            (parent,) = parents
            assert len(step.decision.paths) == policy.branches(parent)
    last = steps[-1]
    # The walks are those of the search that creates what it walks to.
    ours = grow(policy, seed, limits)[-1]
    assert last.after == ours.after
    assert set(ours.tree.thoughts) <= set(last.tree.thoughts)
    assert set(ours.tree.leaves()) <= set(last.tree.leaves())


# Best-of-n, a few at a time


def test_best_of_n_asks_for_a_batch_at_a_time_if_told_to() -> None:
    steps = grow(BestOfN(width=5, batch=2), 0, Limits())
    asked = [step.decision.paths for step in steps if isinstance(step.decision, Expand)]
    assert asked == [((0,), (1,)), ((2,), (3,)), ((4,),)]


# Who has written no answer


class Written(SimulatedEngine):
    """Writes paths of two thoughts: of four, one ends with a box."""

    ends = (r"So it is \boxed{4}.", "That makes 5", "It comes to 5", "5 in all")

    async def generate(self, prompt: Prompt, request: Request, **more: object) -> Thought:
        first, *rest = map(int, request.id.split("/")[1].split("."))
        if not rest:
            return Thought(text=f"{first}: there are 3 and 2.\n", tokens=8)
        text = self.ends[(first + rest[0]) % len(self.ends)]
        return Thought(text=text, tokens=4, ends=True)


async def likes_all(question: str, steps: Sequence[str]) -> float:
    return 0.5


@pytest.mark.parametrize(
    "policy",
    [Beam(beams=4, width=1), Dvts(beams=4, width=4), Dvts(beams=4, width=1)],
    ids=["beam", "dvts of one subtree", "dvts of four"],
)
@pytest.mark.parametrize(
    ("extract", "votes", "answer"),
    [
        (extract_answer, ["4"], "4"),
        (either(boxed, at_end(last_number)), ["4", "5", "5", "5"], "5"),
    ],
    ids=["a path without an answer abstains", "it votes with its last number"],
)
def test_a_path_without_an_answer_abstains_and_votes_with_its_last_number_as_in_the_source(
    policy: Policy, extract: Extract, votes: list[str], answer: str
) -> None:
    engine = Written()
    reward: Reward = as_reward(likes_all, engine)
    config = SearchConfig(
        engine=engine, policy=policy, reward=reward, extract=extract, termination=None
    )
    found = run_virtual(solve(config, "What is 3 + 2?"))
    assert sorted(ballot.answer for ballot in found.ballots) == votes
    assert found.answer == answer
    assert all(len(path) == 2 for path in found.tree.leaves())  # a number ends no path midway


# What a vote weighs


@pytest.mark.parametrize(
    ("weight", "make"),
    [
        ("last", lambda rewards: rewards[-1]),
        ("min", min),
        ("prod", prod),
        ("mean", lambda rewards: sum(rewards) / len(rewards)),
    ],
)
def test_a_vote_may_weigh_what_all_steps_of_its_path_do_while_the_search_goes_by_the_last(
    weight: By, make: Callable[[Sequence[float]], float]
) -> None:
    last = run_search(Rebase(width=6), seed=3)
    found = run_search(Rebase(width=6), seed=3, weight=weight, engine=make_engine())
    assert found.tree == last.tree  # the search is the same
    paths = [path for path in found.tree.leaves() if len(path) > 1]
    assert paths
    for ballot in found.ballots:
        rewards = [found.tree.reward(ballot.path[:at]) for at in range(1, len(ballot.path) + 1)]
        assert ballot.reward == pytest.approx(make(rewards))
    assert found.answer == elect(found.ballots, "weighted")


def test_the_same_tree_may_elect_another_answer_by_another_weight() -> None:
    by_last = [Ballot("a", 0.9), Ballot("b", 0.8)]
    by_min = [Ballot("a", 0.1), Ballot("b", 0.7)]
    assert (elect(by_last, "weighted"), elect(by_min, "weighted")) == ("a", "b")


@pytest.mark.parametrize(
    ("make", "setting", "message"),
    [
        (Beam, {"counted": "all"}, "counted='all': must be one of 'filled', 'ended'"),
        (Dvts, {"counted": "all"}, "counted='all': must be one of 'layer', 'kept'"),
        (TotBfs, {"counted": "all"}, "counted='all': must be one of 'kept', 'ended'"),
        (TotDfs, {"order": "random"}, "order='random': must be one of 'reward', 'proposed'"),
        (Rap, {"value": "sum"}, "value='sum': must be one of 'max', 'mean'"),
        (RestMcts, {"counted": "all"}, "counted='all': must be one of 'best', 'ended'"),
        (RstarActions, {"create": "some"}, "create='some': must be one of 'walked', 'all'"),
        (BestOfN, {"batch": 0}, "batch=0: must be a whole number of at least 1"),
    ],
)
def test_a_way_that_there_is_not_is_refused(
    make: Callable[..., Policy], setting: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        make(**setting)
