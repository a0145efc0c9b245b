"""Refine and LATS: rounds worked by hand, what a try is told, and tries that fail."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from growing import grown

from spex_agents.engines import Proposer
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.errors import PromptTooLong, SettingsError
from spex_agents.rewards import Verifier
from spex_agents.search import Critique, Lats, Policy, Refine
from spex_agents.search.action import STEP
from spex_agents.speculation.config import Failures, SearchConfig, Speculation
from spex_agents.speculation.result import Result
from spex_agents.speculation.solving import solve


def test_a_chain_ends_with_the_first_try_that_is_good_enough() -> None:
    rewards = {(0,): 0.2, (0, 0): 0.9, (0, 0, 0): 0.4}
    policy = Refine(rollouts=5, threshold=0.8)
    asked, tree, state = grown(policy, rewards)
    assert asked == [((0,),), ((0, 0),)]
    assert policy.voters(state, tree) == ((0, 0),)
    asked, tree, state = grown(Refine(rollouts=3), rewards)
    assert asked == [((0,),), ((0, 0),), ((0, 0, 0),)]
    assert policy.voters(state, tree) == ((0, 0),)


def test_chains_go_on_side_by_side_until_one_is_good() -> None:
    asked, _, _ = grown(Refine(rollouts=9, width=2), {(1, 0, 0): 1.0})
    assert asked == [((0,), (1,)), ((0, 0), (1, 0)), ((0, 0, 0), (1, 0, 0))]


def test_a_try_that_fails_is_written_again_beside_it() -> None:
    asked, _, _ = grown(Refine(rollouts=4), {}, fails=[(0,), (1, 0)])
    assert asked == [((0,),), ((1,),), ((1, 0),), ((1, 1),)]
    asked, _, _ = grown(Refine(rollouts=9, failures=1), {}, fails=[(0,), (1, 0)])
    assert asked == [((0,),), ((1,),), ((1, 0),)]


def test_rounds_of_lats_worked_by_hand() -> None:
    rewards = {(0,): 0.5, (1,): 0.4, (0, 0): 0.1, (0, 1): 0.0, (1, 0): 0.3, (1, 1): 0.6}
    policy = Lats(rollouts=4, width=2, exploration=1.0)
    asked, tree, state = grown(policy, rewards)
    # 2: both once of 2: .5 against .4. 3: (0,) is .6/3 + sqrt(ln 4 / 3) = .88, (1,) .4 + sqrt(ln 4)
    # = 1.58. 4: of 6, (0,) .2 + sqrt(ln 6 / 3) = .97 and (1,) 1.3/3 + .77 = 1.21; below it
    # (1, 1) .6 against (1, 0) .3.
    assert asked == [
        ((0,), (1,)),
        ((0, 0), (0, 1)),
        ((1, 0), (1, 1)),
        ((1, 1, 0), (1, 1, 1)),
    ]
    assert policy.voters(state, tree) == ((1, 1),)


def test_lats_goes_no_deeper_than_it_may_and_ends_where_nothing_is_left() -> None:
    asked, _, _ = grown(Lats(rollouts=9, width=2, depth=2), {(0,): 0.9})
    assert asked == [((0,), (1,)), ((0, 0), (0, 1)), ((1, 0), (1, 1))]
    asked, _, _ = grown(Lats(rollouts=9, width=2), {}, fails=[(0,), (1,)])
    assert asked == [((0,), (1,))]


async def guess(question: str, steps: Sequence[str], seed: int) -> str:
    """Says how many tries it was shown."""
    return f"Try. \\boxed{{{len(steps)}}}"


async def judge(question: str, steps: Sequence[str]) -> float:
    (only,) = steps
    number = int(only[-2])
    return Critique(number / 4, f"{number} is too small" if number < 4 else "right")


def found(policy: Policy, speculation: Speculation | None) -> Result:
    made = SearchConfig(
        engine=Proposer(guess, pure=True),
        policy=policy,
        reward=Verifier(judge, pure=True, speaks=True),
        speculation=speculation,
    )
    return run_virtual(solve(made, "How many?"))


@pytest.mark.parametrize(
    "policy", [Refine(rollouts=9), Lats(rollouts=20, width=2, exploration=0.2)]
)
def test_tries_improve_until_one_is_right(policy: Policy) -> None:
    off, on = found(policy, None), found(policy, Speculation())
    assert off.answer == on.answer == "4"
    assert off.tree.sha256() == on.tree.sha256()
    assert max(map(len, off.tree.thoughts)) == 5
    assert on.path is not None
    said = on.tree.rewards[on.path]
    assert isinstance(said, Critique)
    assert said.words == "right"


def test_a_search_goes_on_without_tries_that_fail() -> None:
    async def sometimes(question: str, steps: Sequence[str], seed: int) -> str:
        if seed % 3 == 0:
            raise PromptTooLong("too long")
        return await guess(question, steps, seed)

    made = SearchConfig(
        engine=Proposer(sometimes, pure=True),
        policy=Refine(rollouts=12),
        reward=Verifier(judge, pure=True, speaks=True),
        failures=Failures(share=1.0),
    )
    result = run_virtual(solve(made, "How many?", seed=4))
    assert result.answer == "4"
    assert result.failures


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"threshold=0: must lie in \(0, 1\]"):
        Refine(threshold=0)
    with pytest.raises(SettingsError, match="again='step': must have refines=True"):
        Lats(again=STEP)
