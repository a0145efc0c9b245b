"""Policies: allocations worked out by hand, properties on random trees, broken contracts."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from searching import through_json

from spex_agents.answers import AdaptiveStop, WindowStop
from spex_agents.errors import PolicyError, SettingsError
from spex_agents.search import (
    AbMcts,
    AbMctsM,
    AdaptiveConsistency,
    Beam,
    BestOfN,
    Dvts,
    Ets,
    Expand,
    Finish,
    Lats,
    Limits,
    Particles,
    Policy,
    Rap,
    Rebase,
    Refine,
    RestMcts,
    Rstar,
    RstarActions,
    TotBfs,
    TotDfs,
    registry,
)
from spex_agents.search.action import Action, before_try
from spex_agents.search.policies.answer_tree import AnswerTree
from spex_agents.search.policies.nodes import Node
from spex_agents.search.policies.rap import priors
from spex_agents.search.policy import (
    Decision,
    State,
    check,
    check_state,
    settled,
    voters,
)
from spex_agents.search.registry import make_policy, sizes
from spex_agents.search.tree import Path, Thought, Tree, TreeView, draw

LN2 = math.log(2)


def commit(tree: Tree, thoughts: Mapping[Path, float | None], ends: tuple[Path, ...] = ()) -> Tree:
    """Add thoughts with their rewards; those in `ends` end their paths."""
    tree = tree.with_thoughts(
        {path: Thought(text=str(path), tokens=1, ends=path in ends) for path in thoughts}
    )
    return tree.with_rewards(
        {path: reward for path, reward in thoughts.items() if reward is not None}
    )


def demanded(decision: Decision) -> tuple[Path, ...]:
    assert isinstance(decision, Expand)
    return decision.paths


# REBASE: n_i = ceil(W * w_i / (w_i + ... + w_k)) in order of falling reward, W shrinking by n_i


@pytest.mark.parametrize(
    ("width", "temperature", "rewards", "shares"),
    [
        # weights 4 : 2 : 1. W=7: ceil(28/7)=4; W=3: ceil(6/3)=2; W=1: 1
        (7, 1.0, [2 * LN2, LN2, 0.0], (4, 2, 1)),
        # W=8: ceil(32/7)=5; W=3: ceil(6/3)=2; W=1: 1
        (8, 1.0, [2 * LN2, LN2, 0.0], (5, 2, 1)),
        # W=4: ceil(16/7)=3; W=1: ceil(2/3)=1; nothing left
        (4, 1.0, [2 * LN2, LN2, 0.0], (3, 1, 0)),
        # weights 1 : e^-2 : e^-4 = 1 : 0.1353 : 0.0183, sum 1.1536.
        # W=16: ceil(13.87)=14; W=2: ceil(2 * 0.1353 / 0.1536 = 1.76)=2; nothing left
        (16, 0.2, [0.9, 0.5, 0.1], (14, 2, 0)),
        # weights 1 : 0.6065 : 0.3679, sum 1.9744.
        # W=16: ceil(8.10)=9; W=7: ceil(7 * 0.6065 / 0.9744 = 4.36)=5; W=2: 2
        (16, 0.2, [0.6, 0.5, 0.4], (9, 5, 2)),
        # equal rewards that divide the width: exact quotas, no ceiling too many
        (4, 0.2, [0.5] * 4, (1, 1, 1, 1)),
        (48, 0.2, [0.1] * 16, (3,) * 16),
        (49, 0.2, [0.7] * 7, (7,) * 7),
        # W=5 over two: ceil(2.5)=3, then 2
        (5, 0.2, [0.3, 0.3], (3, 2)),
        # a reward too far below to weigh anything gets what the ceilings leave
        (4, 0.001, [1.0, 0.0], (4, 0)),
        (1, 0.2, [0.5], (1,)),
    ],
)
def test_rebase_shares(
    width: int, temperature: float, rewards: list[float], shares: tuple[int, ...]
) -> None:
    assert Rebase(temperature=temperature).allocate(width, rewards) == shares


@given(st.integers(1, 64), st.integers(1, 16), st.floats(0, 1), st.floats(0.001, 10))
def test_equal_rewards_share_a_width_they_divide_equally(
    each: int, count: int, reward: float, temperature: float
) -> None:
    shares = Rebase(temperature=temperature).allocate(each * count, [reward] * count)
    assert shares == (each,) * count


@given(
    st.integers(0, 256),
    st.lists(st.floats(0, 1), min_size=1, max_size=64),
    st.floats(0.001, 10),
)
def test_the_shares_add_up_to_the_width_and_the_better_never_gets_less(
    width: int, rewards: list[float], temperature: float
) -> None:
    rewards.sort(reverse=True)
    shares = Rebase(temperature=temperature).allocate(width, rewards)
    assert sum(shares) == width
    assert min(shares) >= 0
    # A ceiling takes at most one from those after it.
    assert all(one + 1 >= other for one, other in pairwise(shares))


def test_rebase_by_hand() -> None:
    policy = Rebase(width=4, temperature=1.0)
    tree = Tree("q")
    state, decision = policy.decide(policy.start(), tree)
    assert demanded(decision) == ((0,), (1,), (2,), (3,))
    # (3,) ends, so 3 are left. Weights of (1,), (0,), (2,): 4 : 2 : 1.
    # ceil(12/7)=2; W=1: ceil(2/3)=1; nothing is left for (2,).
    tree = commit(tree, {(0,): LN2, (1,): 2 * LN2, (2,): 0.0, (3,): 0.9}, ends=((3,),))
    state, decision = policy.decide(state, tree)
    assert demanded(decision) == ((1, 0), (1, 1), (0, 0))
    assert policy.remaining(state, tree) == 3
    # All three of a layer tie, (1, 1) ends: W=2 over (0, 0) and (1, 0), the smaller path first.
    tree = commit(tree, {(1, 0): 0.5, (1, 1): 0.5, (0, 0): 0.5}, ends=((1, 1),))
    state, decision = policy.decide(state, tree)
    assert demanded(decision) == ((0, 0, 0), (1, 0, 0))
    tree = commit(tree, {(0, 0, 0): 0.1, (1, 0, 0): 0.2}, ends=((0, 0, 0), (1, 0, 0)))
    state, decision = policy.decide(state, tree)
    assert decision == Finish()
    assert policy.remaining(state, tree) == 0


# Beam search


def test_beam_keeps_the_best_and_refills_the_layer() -> None:
    policy = Beam(beams=4, width=2)
    tree = Tree("q")
    state, decision = policy.decide(policy.start(), tree)
    assert demanded(decision) == ((0,), (1,), (2,), (3,))
    # 4 / 2 = 2 are kept; (1,) and (2,) tie for the second place: the smaller path wins.
    tree = commit(tree, {(0,): 0.1, (1,): 0.5, (2,): 0.5, (3,): 0.9})
    state, decision = policy.decide(state, tree)
    assert demanded(decision) == ((1, 0), (3, 0), (1, 1), (3, 1))
    # Two end, of the two that live both are kept.
    tree = commit(tree, {(3, 0): 1.0, (3, 1): 0.2, (1, 0): 1.0, (1, 1): 0.3}, ends=((3, 0), (1, 0)))
    state, decision = policy.decide(state, tree)
    assert demanded(decision) == ((1, 1, 0), (3, 1, 0), (1, 1, 1), (3, 1, 1))
    # Only one lives, and takes all four; three have ended by now and two before: five, the end.
    ends = ((1, 1, 0), (1, 1, 1), (3, 1, 0))
    tree = commit(tree, dict.fromkeys(demanded(decision), 0.5), ends=ends)
    assert policy.decide(state, tree)[1] == Finish()


def test_beam_expands_fewer_paths_more_often_the_first_of_the_layer_once_more() -> None:
    policy = Beam(beams=8, width=2)
    tree = Tree("q")
    state, decision = policy.decide(policy.start(), tree)
    # Three of at most four to keep live: 8 = 3 + 3 + 2.
    rewards = {path: path[0] / 10 for path in demanded(decision)}
    tree = commit(tree, rewards, ends=tuple((index,) for index in range(5)))
    _, decision = policy.decide(state, tree)
    assert demanded(decision) == (
        *((5, 0), (6, 0), (7, 0)),
        *((5, 1), (6, 1), (7, 1)),
        *((5, 2), (6, 2)),
    )


def test_beam_ends_when_none_lives() -> None:
    policy = Beam(beams=2, width=1)
    state, _ = policy.decide(policy.start(), Tree("q"))
    tree = commit(Tree("q"), {(0,): 0.1, (1,): 0.2}, ends=((0,), (1,)))
    assert policy.decide(state, tree)[1] == Finish()


def test_beam_with_lookahead_judges_by_the_end_of_the_roll_out() -> None:
    policy = Beam(beams=4, width=2, lookahead=2)
    tree = Tree("q")
    state, _ = policy.decide(policy.start(), tree)
    tree = commit(tree, {(0,): 0.9, (1,): 0.1, (2,): 0.5, (3,): 1.0}, ends=((3,),))
    # Roll-outs of the three that live, at index 4.
    state, decision = policy.decide(state, tree)
    assert demanded(decision) == ((0, 4), (1, 4), (2, 4))
    tree = commit(tree, {(0, 4): 0.6, (1, 4): 0.8, (2, 4): 0.2}, ends=((1, 4),))
    state, decision = policy.decide(state, tree)
    assert demanded(decision) == ((0, 4, 4), (2, 4, 4))
    # They end at 0.3, 0.8 and 0.7: (1,) and (2,) are kept, the two with the lowest rewards of their
    # own. Their children are new, and the answer of the roll-out (1, 4) does not vote.
    tree = commit(tree, {(0, 4, 4): 0.3, (2, 4, 4): 0.7})
    state, decision = policy.decide(state, tree)
    assert demanded(decision) == ((1, 0), (2, 0), (1, 1), (2, 1))
    assert policy.voters(state, tree) == ((3,),)
    ends = ((1, 0), (1, 1), (2, 1))
    tree = commit(tree, dict.fromkeys(demanded(decision), 0.5), ends=ends)
    state, decision = policy.decide(state, tree)
    assert decision == Finish()
    assert policy.voters(state, tree) == ((3,), (1, 0), (1, 1), (2, 1))


# Best-of-n


def test_best_of_n_asks_once() -> None:
    policy = BestOfN(width=3)
    state, decision = policy.decide(policy.start(), Tree("q"))
    assert demanded(decision) == ((0,), (1,), (2,))
    tree = commit(Tree("q"), {(0,): 0.1, (1,): 0.2, (2,): 0.2}, ends=((0,), (1,), (2,)))
    assert policy.decide(state, tree)[1] == Finish()
    assert policy.action((0,)).to_end
    assert policy.leaves_only


# RSTAR


OUTCOMES: Mapping[Path, float] = {(0, 0): 0.8, (1, 0): 0.2, (0, 1): 0.1, (1, 1): 0.9}
"""All leaves of a tree two thoughts deep."""


def walk(
    policy: Policy, outcomes: Mapping[Path, float], ends: tuple[Path, ...] | None = None
) -> tuple[list[Path], State]:
    """Every path that `policy` demands, in order; `outcomes` has the rewards, `ends` the leaves.

    Without `ends` all that has a reward is a leaf.
    """
    tree, state = Tree("q"), policy.start()
    asked: list[Path] = []
    while True:
        state, decision = policy.decide(state, tree)
        if isinstance(decision, Finish):
            return asked, state
        asked += decision.paths
        leaves = tuple(outcomes) if ends is None else ends
        tree = commit(tree, {path: outcomes.get(path) for path in decision.paths}, ends=leaves)


def test_rstar_that_creates_all_children_walks_to_one_and_counts_the_others() -> None:
    # Rollout 1 creates (0,) and (1,), walks to (0,), creates both below it and ends at (0, 0).
    # 2: (1,) is there, and unexplored: both below it, to (1, 0). 3: to (0, 1), there by now.
    policy = Rstar(rollouts=3, width=2, create="all")
    rewards = {**OUTCOMES, (0,): 0.5, (1,): 0.6}
    asked, state = walk(policy, rewards, tuple(OUTCOMES))
    assert asked == [(0,), (1,), (0, 0), (0, 1), (1, 0), (1, 1)]
    assert state[0] == ((0, 0), (1, 0), (0, 1))
    assert not policy.leaves_only  # all of them are scored
    tree = Tree("q").with_thoughts({(0,): Thought(text="a", tokens=1, ends=True)})
    assert policy.voters(state, tree) is None  # (1, 1) too, which no rollout has walked to
    assert policy.remaining(policy.start(), tree) is None


def test_rstar_by_hand() -> None:
    # c = 2. Rollouts 1 and 2 take the unexplored (0,) and (1,): leaves 0.8 and 0.2.
    # 3: 0.8 + 2 sqrt(ln 2 / 1) = 2.47 against 0.2 + 1.67 = 1.87: (0,), then unexplored (0, 1): 0.1.
    # 4: 0.9 / 2 + 2 sqrt(ln 3 / 2) = 1.93 against 0.2 + 2 sqrt(ln 3) = 2.30: (1,), then (1, 1).
    # 5: 0.45 + 2 sqrt(ln 4 / 2) = 2.12 against 1.1 / 2 + 1.67 = 2.22: (1,); there
    #    0.2 + 1.67 against 0.9 + 1.67: (1, 1), a leaf met before: nothing to demand, but it counts.
    # 6: 0.45 + 2 sqrt(ln 5 / 2) = 2.24 against 2.0 / 3 + 2 sqrt(ln 5 / 3) = 2.13: (0,); there
    #    0.8 + 1.67 against 0.1 + 1.67: (0, 0), met before too.
    asked, state = walk(Rstar(rollouts=6, width=2), OUTCOMES)
    assert asked == [(0,), (0, 0), (1,), (1, 0), (0, 1), (1, 1)]
    assert state[0] == ((0, 0), (1, 0), (0, 1), (1, 1), (1, 1), (0, 0))


def test_rstar_without_exploration_follows_the_best_value() -> None:
    # 3: 0.8 against 0.2: (0, 1) gives 0.1. 4: 0.45 against 0.2: (0,), there 0.8: (0, 0) again.
    asked, state = walk(Rstar(rollouts=4, width=2, exploration=0.0), OUTCOMES)
    assert asked == [(0,), (0, 0), (1,), (1, 0), (0, 1)]
    assert state[0] == ((0, 0), (1, 0), (0, 1), (0, 0))


def test_rstar_breaks_ties_by_index() -> None:
    asked, state = walk(Rstar(rollouts=5, width=3), {(0,): 0.5, (1,): 0.5, (2,): 0.5})
    assert asked == [(0,), (1,), (2,)]
    assert state[0] == ((0,), (1,), (2,), (0,), (1,))


def test_rstar_spends_every_rollout_on_a_tree_too_small_for_them() -> None:
    asked, state = walk(Rstar(rollouts=50, width=1), {(0,): 0.5})
    assert asked == [(0,)]
    assert state[0] == ((0,),) * 50


# DVTS, the original ToT and RAP on small trees worked out by hand


def test_dvts_keeps_the_best_of_each_subtree_whatever_the_others_say() -> None:
    policy = Dvts(beams=4, width=2)
    state, decision = policy.decide(policy.start(), Tree("q"))
    assert demanded(decision) == ((0,), (1,), (2,), (3,))
    tree = commit(Tree("q"), {(0,): 0.9, (1,): 0.8, (2,): 0.1, (3,): 0.2})
    state, decision = policy.decide(state, tree)
    assert demanded(decision) == ((0, 0), (0, 1), (3, 0), (3, 1))
    tree = commit(tree, {(0, 0): 0.5, (0, 1): 0.5, (3, 0): 0.3, (3, 1): 0.9}, ends=((0, 0), (3, 0)))
    state, decision = policy.decide(state, tree)
    # The first subtree has kept (0, 0), which has ended; the second goes on below (3, 1), and the
    # leaf (3, 0) of a layer that is not its last does not vote.
    assert demanded(decision) == ((3, 1, 0), (3, 1, 1))
    assert policy.voters(state, tree) == ((0, 0),)
    assert policy.remaining(state, tree) == 2


def test_tot_keeps_the_best_of_a_layer_and_samples_by_weight() -> None:
    policy = TotBfs(width=2, keep=2)
    tree = commit(Tree("q"), {(0,): 0.2, (1,): 0.9}, ends=())
    _, decision = policy.decide(((0,), (1,)), tree)
    assert demanded(decision) == ((1, 0), (1, 1), (0, 0), (0, 1))
    kept = [
        demanded(TotBfs(width=1, keep=1, select="sample").decide(((0,), (1,)), each)[1])[0][:1]
        for each in (commit(Tree("q", seed), {(0,): 0.2, (1,): 0.8}) for seed in range(400))
    ]
    assert 0.72 < kept.count((1,)) / 400 < 0.88  # 0.8 expected


def test_tot_depth_first_follows_the_best_child_and_goes_back_where_none_is_good() -> None:
    policy = TotDfs(width=2, threshold=0.5)
    asked, state = walk(
        policy,
        {(0,): 0.6, (1,): 0.9, (1, 0): 0.1, (1, 1): 0.5, (0, 0): 0.4, (0, 1): 0.7},
        ends=((0, 1),),
    )
    # (1,) is better; neither of its children is above 0.5, so the search goes back to (0,).
    assert asked == [(0,), (1,), (1, 0), (1, 1), (0, 0), (0, 1)]
    assert policy.voters(state, Tree("q")) == ((0, 1),)


def test_rap_by_puct_explores_what_the_model_itself_would_write() -> None:
    # Rollouts end at (0,), then where Q + P sqrt(N_parent) / (1 + N) is largest. P of the mean
    # log-probabilities ln .6, ln .3 and ln .1 is .6, .3 and .1.
    said = {(0,): math.log(0.6), (1,): math.log(0.3), (2,): math.log(0.1)}
    thoughts: dict[Path, Thought] = {
        path: Thought(text="so", tokens=2, ends=True, logprobs=(each, each))
        for path, each in said.items()
    }
    tree = Tree("q").with_thoughts(thoughts)
    assert priors(tuple(said), tree) == pytest.approx({(0,): 0.6, (1,): 0.3, (2,): 0.1})
    tree = tree.with_rewards({(0,): 0.5, (1,): 0.45, (2,): 0.4})
    policy = Rap(rollouts=4, width=3, select="puct")
    state, decision = policy.decide(policy.start(), Tree("q"))
    assert isinstance(decision, Expand)
    state, decision = policy.decide(state, tree)
    # 1: the best reward, (0,). 2: .5 + .6 / 2 = .8 against .45 + .3 = .75: (0,).
    # 3: .5 + .6 * 1.41 / 3 = .78 against .45 + .3 * 1.41 = .87: (1,).
    # 4: .5 + .6 * 1.73 / 3 = .85 against .45 + .3 * 1.73 / 2 = .71: (0,).
    assert (state[0], decision) == (((0,), (0,), (1,), (0,)), Finish())
    assert policy.needs_logprobs
    assert not Rap().needs_logprobs


def test_shares_are_equal_where_no_log_probabilities_are_known() -> None:
    paths = [(0,), (1,)]
    tree = Tree("q").with_thoughts({path: Thought(text="", tokens=0) for path in paths})
    assert priors(paths, tree) == {(0,): 0.5, (1,): 0.5}


def test_rap_takes_the_reward_of_an_unvisited_thought_for_its_value() -> None:
    policy = Rap(rollouts=2, width=2, exploration=1.0, back_up="sum", value="mean")
    rewards = {(0,): 0.6, (1,): 0.5, (0, 0): 0.9, (0, 1): 0.2, (1, 0): 0.3, (1, 1): 0.1}
    asked, state = walk(policy, rewards, ends=((0, 0), (0, 1), (1, 0), (1, 1)))
    # Rollout 1: (0,), then (0, 0); its return at (0,) is 0.6 + 0.9 = 1.5. Rollout 2: N = 1 at the
    # root, so ln N = 0 and the values alone decide: 1.5 of (0,) beats the 0.5 of (1,), and at (0,)
    # the return 0.9 of (0, 0) beats the reward 0.2 of (0, 1).
    assert asked == [(0,), (1,), (0, 0), (0, 1)]
    assert state[0] == ((0, 0), (0, 0))


# ReST-MCTS*


def values(node: Node, path: Path = ()) -> dict[Path, tuple[int, float]]:
    """Visits and value of a thought and of all below it."""
    visits, value, below = node
    found = {path: (visits, round(value, 9))}
    for index, each in enumerate(below):
        found |= values(each, (*path, index))
    return found


def test_rest_mcts_by_hand() -> None:
    rewards = {
        (0,): 0.5,
        (1,): 0.3,
        (0, 2): 0.7,
        (0, 2, 2): 0.6,
        (1, 0): 0.4,
        (1, 1): 0.8,
        (1, 1, 2): 0.2,
        (0, 0): 0.2,
        (0, 1): 0.1,
        (1, 0, 0): 0.85,
        (1, 0, 1): 0.3,
        (1, 0, 0, 2): 0.85,
        (1, 0, 0, 2, 2): 0.8,
    }
    asked, state = walk(
        RestMcts(rollouts=4, width=2, steps=2), rewards, ends=((1, 1, 2), (0, 0), (1, 0, 0, 2, 2))
    )
    assert asked == [
        # 1: the root's children; below the better (0,) a roll-out of two, at index 2. Their best is
        #    0.7: V(0) = 0.25 + 0.35 = 0.6, N = 1; the root has V = 0.6, N = 1.
        *((0,), (1,)),
        *((0, 2), (0, 2, 2)),
        # 2: 0.6 + 0.7 sqrt(2 ln 1 / 1) = 0.6 against 0.3 + 1 of the unvisited (1,). The roll-out of
        #    (1, 1) ends at once: V(1, 1) = 0.4 + 0.1 = 0.5 = V(1), N = 1; root (0.6 + 0.5) / 2.
        *((1, 0), (1, 1)),
        (1, 1, 2),
        # 3: 0.6 + 0.7 sqrt(2 ln 2) = 1.42 against 0.5 + 0.82: (0,). (0, 0) has ended, no roll-out:
        #    V(0, 0) = 0.2 = V(0), N(0) = 2; root (2 * 0.2 + 0.5) / 3 = 0.3, N = 3.
        *((0, 0), (0, 1)),
        # 4: 0.2 + 0.7 sqrt(2 ln 3 / 2) = 0.93 against 0.5 + 0.7 sqrt(2 ln 3) = 1.54: (1,); there
        #    0.4 + 1 of the unvisited (1, 0) against 0.5 + 0.7 sqrt(2 ln 1 / 1): (1, 0).
        *((1, 0, 0), (1, 0, 1)),
        *((1, 0, 0, 2), (1, 0, 0, 2, 2)),
    ]
    # V(1, 0, 0) = 0.85 = V(1, 0); V(1) = (0.85 + 0.5) / 2 = 0.675, N = 2; the root's
    # (2 * 0.2 + 2 * 0.675) / 4 = 0.4375.
    selected, _, passed = state
    assert (selected, passed) == (((), (1,), (0,), (1, 0)), False)
    assert values(selected.root) == {
        (): (4, 0.4375),
        (0,): (2, 0.2),
        (1,): (2, 0.675),
        (0, 0): (1, 0.2),
        (0, 1): (0, 0.1),
        (1, 0): (1, 0.85),
        (1, 1): (1, 0.5),
        (1, 0, 0): (1, 0.85),
        (1, 0, 1): (0, 0.3),
    }


def test_rest_mcts_ends_with_a_value_above_the_gate_and_writes_its_path_to_the_end() -> None:
    policy = RestMcts(rollouts=9, width=2, steps=1)
    rewards = {(0,): 0.9, (1,): 0.1, (0, 2): 0.98, (1, 0): 0.0, (1, 1): 0.0, (1, 0, 2): 0.0}
    rewards[0, 2, 2] = 0.5
    ends = ((1, 0, 2), (0, 2, 2))
    asked, state = walk(policy, rewards, ends)
    # V(0) = 0.45 + 0.49 = 0.94. 2: 0.94 against 0.1 + 1: (1,), which comes to 0. 3: (0,) by far,
    # and 0.94 passes: its roll-out goes on to its end, and that alone votes, though (1, 0, 2) ends.
    assert asked == [(0,), (1,), (0, 2), (1, 0), (1, 1), (1, 0, 2), (0, 2, 2)]
    assert policy.voters(state, commit(Tree("q"), dict(rewards), ends)) == ((0, 2, 2),)


def test_rest_mcts_counts_rounds_that_select_a_leaf() -> None:
    # Both end at once. 1: (0,). 2: 0.5 against 0.4 + 1: (1,), a leaf: nothing but a visit.
    # 3: 0.5 + 0.7 sqrt(2 ln 2) against 0.4 + 0.7 sqrt(2 ln 2): (0,).
    asked, state = walk(RestMcts(rollouts=3, width=2), {(0,): 0.5, (1,): 0.4})
    assert asked == [(0,), (1,)]
    assert values(state[0].root) == {(): (3, 0.466666667), (0,): (2, 0.5), (1,): (1, 0.4)}


# Properties of every policy on random trees


def of_any_size(name: str) -> st.SearchStrategy[Policy]:
    return st.fixed_dictionaries({size: st.integers(1, 8) for size in sizes(name)}).map(
        lambda given: make_policy(name, **given)
    )


POLICIES = st.one_of(
    *map(of_any_size, registry.POLICIES),
    st.builds(Rebase, width=st.integers(1, 12), temperature=st.sampled_from([0.05, 0.2, 2.0])),
    st.sampled_from([(1, 1), (4, 1), (4, 2), (6, 3), (8, 4), (5, 5)]).map(
        lambda sizes: Beam(beams=sizes[0], width=sizes[1])
    ),
    st.builds(
        Ets,
        width=st.integers(1, 8),
        cost=st.sampled_from([0.5, 2.0]),
        coverage=st.sampled_from([0.0, 1.5]),
        nodes=st.sampled_from([0, 1000]),
        distance=st.sampled_from([0.05, 0.5]),
    ),
    st.builds(Beam, beams=st.just(4), width=st.sampled_from([2, 4]), lookahead=st.integers(1, 3)),
    st.builds(
        RestMcts,
        rollouts=st.integers(1, 10),
        width=st.integers(1, 3),
        steps=st.integers(0, 3),
        gate=st.sampled_from([0.4, 0.9]),
    ),
    st.sampled_from([(1, 1), (4, 1), (4, 2), (6, 3), (8, 4)]).map(
        lambda sizes: Dvts(beams=sizes[0], width=sizes[1])
    ),
    st.builds(
        TotBfs,
        width=st.integers(1, 4),
        keep=st.integers(1, 4),
        select=st.sampled_from(["greedy", "sample"]),
        generate=st.sampled_from(["sample", "propose"]),
    ),
    st.builds(
        RstarActions,
        rollouts=st.integers(1, 12),
        width=st.integers(1, 2),
        create=st.sampled_from(["walked", "all"]),
    ),
    st.builds(Rstar, rollouts=st.integers(1, 6), width=st.integers(1, 3), create=st.just("all")),
    st.builds(BestOfN, width=st.integers(1, 9), batch=st.integers(1, 4)),
    st.builds(Beam, beams=st.just(4), width=st.just(2), counted=st.just("ended")),
    st.builds(Dvts, beams=st.just(6), width=st.just(3), counted=st.just("kept")),
    st.builds(TotBfs, width=st.integers(1, 3), keep=st.just(2), counted=st.just("ended")),
    st.builds(RestMcts, rollouts=st.integers(1, 6), counted=st.just("ended")),
    st.builds(RestMcts, rollouts=st.integers(1, 6), gate=st.none()),
    st.builds(
        Rap,
        rollouts=st.integers(1, 8),
        width=st.integers(1, 3),
        back_up=st.sampled_from(["mean", "sum"]),
        value=st.sampled_from(["max", "mean"]),
        select=st.sampled_from(["uct", "puct"]),
        counted=st.sampled_from(["walked", "ended"]),
    ),
    st.builds(
        AdaptiveConsistency,
        width=st.integers(1, 9),
        batch=st.integers(1, 4),
        rule=st.sampled_from([AdaptiveStop(0.7), WindowStop(2)]),
    ),
    st.builds(AbMctsM, rollouts=st.integers(1, 8), models=st.sampled_from([("",), ("a", "b")])),
    st.builds(
        Refine,
        rollouts=st.integers(1, 5),
        width=st.integers(1, 3),
        threshold=st.sampled_from([0.5, 1.0]),
    ),
    st.builds(
        Lats,
        rollouts=st.integers(1, 6),
        width=st.integers(1, 3),
        depth=st.integers(1, 3),
        threshold=st.sampled_from([0.9, 1.0]),
    ),
    st.builds(
        Particles,
        width=st.integers(2, 5),
        iterations=st.integers(1, 3),
        counted=st.sampled_from(["best", "particles", "ended"]),
    ),
    st.builds(
        AbMcts,
        rollouts=st.integers(1, 12),
        models=st.sampled_from([("",), ("", "other"), ("a", "b", "c")]),
        posterior=st.sampled_from(["gaussian", "beta"]),
        choice=st.sampled_from(["thompson", "ucb", "stack"]),
        counted=st.sampled_from(["best", "all"]),
    ),
    st.builds(
        TotDfs,
        width=st.integers(1, 3),
        threshold=st.sampled_from([0.0, 0.5, 0.9]),
        steps=st.integers(1, 20),
        solutions=st.integers(1, 3),
        order=st.sampled_from(["reward", "proposed"]),
    ),
)
LIMITS = st.builds(
    Limits,
    step_tokens=st.integers(1, 40),
    path_tokens=st.integers(1, 120),
    depth=st.integers(1, 6),
)


@dataclass(frozen=True)
class Step:
    """A decision, and all that it was made of."""

    state: State
    tree: Tree
    after: State
    decision: Decision


def grow(policy: Policy, seed: int, limits: Limits, *, most: int = 400) -> list[Step]:
    """Drive a policy over a random tree until it finishes; rewards repeat often."""
    tree, state, steps = Tree("q", seed), policy.start(), []
    for _ in range(most):
        after, decision = policy.decide(state, tree)
        steps.append(Step(state, tree, after, check(decision, tree, limits)))
        if isinstance(decision, Finish):
            return steps
        state = check_state(after)
        thoughts, rewards = {}, {}
        for path in decision.paths:
            rng = draw(seed, path, "test")
            action = policy.action(path)
            above = before_try(policy.action, path)
            before = tree.chain(path[:-1])[above:]
            to_end = action.to_end
            most_tokens = limits.room(before, to_end=to_end)
            thought = Thought(
                text=str(path),
                tokens=rng.randint(0, most_tokens),
                ends=(to_end and not action.refines) or rng.random() < 0.2,
            )
            thoughts[path] = limits.close(thought, before, above=above)
            if thoughts[path].ends or not policy.leaves_only:
                rewards[path] = rng.choice([0.0, 0.5, 0.5, 1.0, rng.random()])
        tree = tree.with_thoughts(thoughts).with_rewards(rewards)
    raise AssertionError(f"{policy} has not finished after {most} decisions")


@given(POLICIES, st.integers(0, 10**6), LIMITS)
def test_decisions_repeat_and_change_nothing_they_are_given(
    policy: Policy, seed: int, limits: Limits
) -> None:
    for step in grow(policy, seed, limits):
        hash_before, state_before = step.tree.sha256(), json.dumps(step.state)
        assert policy.decide(step.state, step.tree) == (step.after, step.decision)
        assert policy.decide(step.state, step.tree) == (step.after, step.decision)
        assert (step.tree.sha256(), json.dumps(step.state)) == (hash_before, state_before)


@given(POLICIES, st.integers(0, 10**6), LIMITS)
def test_a_state_from_a_checkpoint_decides_the_same(
    policy: Policy, seed: int, limits: Limits
) -> None:
    for step in grow(policy, seed, limits):
        after, decision = policy.decide(through_json(step.state), step.tree)
        assert (after, decision) == (step.after, step.decision)
        assert policy.remaining(through_json(after), step.tree) == policy.remaining(
            step.after, step.tree
        )


@given(POLICIES, st.integers(0, 10**6), LIMITS)
def test_no_more_votes_come_than_the_policy_said(policy: Policy, seed: int, limits: Limits) -> None:
    steps = grow(policy, seed, limits)

    def votes(step: Step) -> Counter[Path]:
        return Counter(voters(policy, step.after, step.tree))

    last = votes(steps[-1])
    for step in steps:
        remaining, now = policy.remaining(step.after, step.tree), votes(step)
        # A vote that is lost counts as two: one less, and another one more.
        assert remaining is None or (last - now).total() + (now - last).total() <= remaining


@given(POLICIES, st.integers(0, 10**6), LIMITS)
def test_voters_are_ended_paths_and_stay_voters(policy: Policy, seed: int, limits: Limits) -> None:
    before: tuple[Path, ...] = ()
    for step in grow(policy, seed, limits):
        named = policy.voters(step.after, step.tree)
        tries = {path for path in step.tree.thoughts if policy.action(path).refines}
        assert set(named or ()) <= {*step.tree.leaves(), *tries}
        may_lose = isinstance(policy, TotBfs | AnswerTree | Refine | Lats)
        if not may_lose and policy.remaining(step.after, step.tree) is not None:
            # In their places: a later vote does not win a tie.
            now = voters(policy, step.after, step.tree)
            assert now[: len(before)] == before
            before = now


@given(POLICIES, st.integers(0, 10**6), LIMITS)
def test_all_that_comes_lies_below_the_frontier(policy: Policy, seed: int, limits: Limits) -> None:
    steps = grow(policy, seed, limits)
    last = steps[-1]
    for step, later in zip(steps, [*steps[1:], last], strict=True):
        frontier = policy.frontier(through_json(step.after), step.tree)
        if frontier is not None:
            told = set(voters(policy, step.after, step.tree))
            new = set(voters(policy, later.after, later.tree)) - told
            for decision in (step.decision, later.decision):
                new |= set(decision.paths) if isinstance(decision, Expand) else set()
            assert all(any(path[: len(tip)] == tip for tip in frontier) for path in new)
        path = settled(policy, step.after, step.tree)
        assert path == settled(policy, last.after, last.tree)[: len(path)]
        leaves = voters(policy, last.after, last.tree)
        assert all(leaf[: len(path)] == path for leaf in leaves)


@given(POLICIES, st.integers(0, 10**6), LIMITS)
def test_a_policy_that_has_finished_stays_finished(
    policy: Policy, seed: int, limits: Limits
) -> None:
    last = grow(policy, seed, limits)[-1]
    again = policy.decide(through_json(last.after), last.tree)
    assert again == (last.after, Finish())


@given(POLICIES, st.integers(0, 10**6), LIMITS)
def test_no_path_outgrows_a_cap(policy: Policy, seed: int, limits: Limits) -> None:
    tree = grow(policy, seed, limits)[-1].tree
    for path in tree.thoughts:
        chain = tree.chain(path)[before_try(policy.action, path) :]
        assert len(path) <= limits.depth
        assert sum(thought.tokens for thought in chain) <= limits.path_tokens
        if not policy.action(path).to_end:
            assert all(thought.tokens <= limits.step_tokens for thought in chain)


def layers(steps: list[Step]) -> Iterator[tuple[Tree, tuple[Path, ...]]]:
    return ((step.tree, step.decision.paths) for step in steps if isinstance(step.decision, Expand))


@given(st.integers(1, 16), st.integers(0, 10**6), LIMITS)
def test_rebase_spends_its_width_less_the_paths_that_ended_in_every_layer(
    width: int, seed: int, limits: Limits
) -> None:
    steps = grow(Rebase(width=width), seed, limits)
    for depth, (tree, layer) in enumerate(layers(steps), start=1):
        assert len(layer) == width - len(list(tree.leaves()))
        assert {len(path) for path in layer} == {depth}
    assert len(list(steps[-1].tree.leaves())) == width


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 10**6), LIMITS)
def test_beam_fills_every_layer_from_its_best(
    kept: int, width: int, seed: int, limits: Limits
) -> None:
    for tree, layer in layers(grow(Beam(beams=kept * width, width=width), seed, limits)):
        assert len(layer) == kept * width
        parents = {path[:-1] for path in layer} - {()}
        live = [path for path in tree.thoughts if len(path) == len(layer[0]) - 1]
        live = [path for path in live if not tree.thought(path).ends]
        assert len(parents) == (min(kept, len(live)) if parents else 0)
        left = [tree.reward(path) for path in live if path not in parents]
        assert not left or max(left) <= min(tree.reward(path) for path in parents)


@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 10**6), LIMITS)
def test_rstar_demands_one_thought_at_a_time_and_ends_every_rollout(
    rollouts: int, width: int, seed: int, limits: Limits
) -> None:
    steps = grow(Rstar(rollouts=rollouts, width=width), seed, limits)
    for _, layer in layers(steps):
        assert len(layer) == 1
        assert layer[0][-1] < width
    walked = steps[-1].after[0]
    assert len(walked) == rollouts
    assert set(walked) == set(steps[-1].tree.leaves())


# Broken contracts


TREE = commit(Tree("q"), {(0,): 0.5, (1,): 0.5, (0, 0): 0.5}, ends=((1,),))


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        (Expand(((2,), (2,))), r"path \(2,\) was demanded twice"),
        (Expand(((0,),)), r"path \(0,\) was demanded twice"),
        (Expand(((2, 0),)), r"path \(2, 0\) has no parent \(2,\) in the tree"),
        (Expand(((2,), (2, 0))), r"path \(2, 0\) has no parent \(2,\) in the tree"),
        (Expand(((1, 0),)), r"path \(1, 0\) lies below \(1,\), whose path has ended"),
        (Expand(((0, 0, 0),)), r"path \(0, 0, 0\) is beyond the depth cap of 2"),
        (Expand(((),)), r"path \(\) is not a path"),
        (Expand(((-1,),)), r"path \(-1,\) is not a path"),
        (Expand(((0, "1"),)), r"path \(0, '1'\) is not a path"),  # type: ignore[arg-type]
        (Expand(([0],)), r"path \[0\] is not a path"),  # type: ignore[arg-type]
        (Expand((3,)), r"path 3 is not a path"),  # type: ignore[arg-type]
        (Expand(((True,),)), r"path \(True,\) is not a path"),
        (Expand(()), r"Expand\(\(\)\) demands nothing"),
        (None, "decide returned None: return"),
        (((0, 1),), r"decide returned \(\(0, 1\),\): return"),
    ],
)
def test_a_decision_that_breaks_the_contract_names_its_path(decision: object, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        check(decision, TREE, Limits(depth=2))


def test_a_decision_that_keeps_the_contract_passes() -> None:
    for decision in (Finish(), Expand(((2,), (0, 1)))):
        assert check(decision, TREE, Limits(depth=2)) is decision


@pytest.mark.parametrize(
    ("state", "kind"),
    [([1], "list"), ({"a": 1}, "dict"), ((1, (2, {3})), "set"), (object(), "object")],
)
def test_a_state_that_no_checkpoint_holds_is_refused(state: object, kind: str) -> None:
    with pytest.raises(PolicyError, match=f"of type {kind}: use None, bool, int, float, str"):
        check_state(state)


@pytest.mark.parametrize("state", [None, True, 1, 0.5, "a", (), (1, ("a", (None,)))])
def test_plain_states_pass(state: object) -> None:
    assert check_state(state) == state


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rebase(width=0), "width=0: must be a whole number of at least 1"),
        (lambda: Rebase(temperature=0), "temperature=0: must be above 0"),
        (lambda: Beam(beams=0), "beams=0: must be a whole number of at least 1"),
        (lambda: Beam(beams=4, width=3), "width=3: must be at least 1 and divide beams=4"),
        (lambda: Beam(lookahead=-1), "lookahead=-1: must be at least 0"),
        (lambda: RestMcts(rollouts=0), "rollouts=0: must be a whole number of at least 1"),
        (lambda: RestMcts(exploration=-0.1), "exploration=-0.1: must be at least 0"),
        (lambda: RestMcts(steps=-1), "steps=-1: must be at least 0"),
        (lambda: RestMcts(blend=2), r"blend=2: must lie in \[0, 1\]"),
        (lambda: RestMcts(gate=-1), r"gate=-1: must lie in \[0, 1\]"),
        (lambda: BestOfN(width=0), "width=0: must be a whole number of at least 1"),
        (lambda: Rstar(rollouts=0), "rollouts=0: must be a whole number of at least 1"),
        (lambda: Rstar(width=0), "width=0: must be a whole number of at least 1"),
        (lambda: Rstar(exploration=-1.0), "exploration=-1.0: must be at least 0"),
    ],
)
def test_settings_outside_their_range_are_refused(make: type[Policy], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make()


def test_a_policy_needs_only_decide() -> None:
    class Once(Policy):
        def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
            return True, Finish() if state else Expand(((0,),))

    policy = Once()
    assert not policy.leaves_only
    assert policy.action((0,)) == Action()
    assert policy.start() == ()
    assert policy.remaining((), Tree("q")) is None
    assert [type(step.decision) for step in grow(policy, 0, Limits())] == [Expand, Finish]
