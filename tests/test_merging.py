"""Candidates that say the same: one is scored and gone on with, and all that ended vote."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searching import LIMITS, QUESTION, Outcome, make_engine, run_search
from test_speculation import REWARDS, SAMPLED, WORLDS

from spex_agents import create_tot_graph
from spex_agents.engines import Proposer
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.engines.simulated.world import World
from spex_agents.errors import PolicyError, RewardError, SettingsError
from spex_agents.nodes import tree_of
from spex_agents.rewards import Reward, SimulatedReward, Verifier
from spex_agents.search import Beam, BestOfN, Policy, Rebase
from spex_agents.speculation import SearchConfig, Speculation, solve
from spex_agents.speculation.config import Failures, Merge


def by_length(texts: Sequence[str]) -> Sequence[Hashable]:
    """Few labels, so that much is merged."""
    return [len(text) % 3 for text in texts]


def searched(
    policy: Policy,
    merge: Merge | None,
    *,
    ahead: bool,
    seed: int = 0,
    world: World | None = None,
    reward: Reward | None = None,
) -> Outcome:
    engine = make_engine()
    if world is not None:
        engine.inner = SimulatedEngine(world, engine.inner.hardware)
    return run_search(
        policy,
        engine=engine,
        seed=seed,
        merge=merge,
        reward=reward or SimulatedReward(latency=0.5),
        failures=Failures(),
        speculation=Speculation(waste=9.0) if ahead else None,
    )


@settings(max_examples=20)
@given(SAMPLED, st.sampled_from(["text", "answer", by_length]), st.integers(0, 99), WORLDS, REWARDS)
def test_the_tree_is_the_same_with_speculation_and_without(
    policy: Policy, merge: Merge, seed: int, world: World, reward: Reward
) -> None:
    off = searched(policy, merge, ahead=False, seed=seed, world=world, reward=reward)
    on = searched(policy, merge, ahead=True, seed=seed, world=world, reward=reward)
    assert on.tree == off.tree
    assert (on.answer, on.ledger.merged) == (off.answer, off.ledger.merged)
    assert on.ledger.useful_tokens == off.ledger.useful_tokens
    for outcome in (off, on):
        check_merged(outcome)


def check_merged(outcome: Outcome) -> None:
    tree = outcome.tree
    assert outcome.ledger.merged == len(tree.merged())
    for path, other in tree.merged().items():
        assert tree.thought(other).same_as is None
        if tree.thought(path).failed is None:
            assert tree.rewards[path] == tree.rewards[other]
        else:
            assert path not in tree.rewards
            assert not any(below[: len(path)] == path for below in tree.thoughts if below != path)
    assert tree.failures() == {}


async def write(question: str, steps: Sequence[str], seed: int) -> str:
    if len(steps) == 2:
        return f"So it is \\boxed{{{seed % 2}}}, says {seed}."
    return ("One way.", "Another  way.", "Another way.")[seed % 3]


class Judge:
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    async def score(self, question: str, steps: Sequence[str]) -> float:
        self.asked.append(tuple(steps))
        return 0.5


def solved(policy: Policy, merge: Merge | None, judge: Judge, **given: object) -> object:
    config = SearchConfig(
        engine=Proposer(write, pure=True),
        policy=policy,
        reward=Verifier(judge.score, pure=True),
        limits=LIMITS,
        merge=merge,
        termination=None,
        speculation=None,
        **given,  # type: ignore[arg-type]
    )
    return run_virtual(solve(config, QUESTION))


@pytest.mark.parametrize("policy", [Beam(beams=8, width=4), Rebase(width=8)])
def test_steps_of_the_same_text_are_scored_once_and_gone_on_with_once(policy: Policy) -> None:
    judge, plain = Judge(), Judge()
    result = solved(policy, "text", judge)
    solved(policy, None, plain)
    assert len(judge.asked) == len(set(judge.asked)) < len(plain.asked)
    first = {" ".join(steps[0].split()) for steps in judge.asked if len(steps) == 1}
    assert first == {"One way.", "Another way."}
    assert sum(len(steps) == 1 for steps in judge.asked) == 2
    assert result.ledger.merged == len(result.merged) > 0  # type: ignore[attr-defined]
    assert result.failures == {}  # type: ignore[attr-defined]


def test_equal_answers_share_a_reward_and_all_of_them_vote() -> None:
    async def answer(question: str, steps: Sequence[str], seed: int) -> str:
        return f"\\boxed{{{seed % 2}.0}}" if seed % 3 else f"It is \\boxed{{{seed % 2}}}."

    judge = Judge()
    config = SearchConfig(
        engine=Proposer(answer, pure=True),
        policy=BestOfN(width=12),
        reward=Verifier(judge.score, pure=True),
        merge="answer",
        vote="majority",
        termination=None,
    )
    result = run_virtual(solve(config, QUESTION))
    assert len(judge.asked) == 2
    assert len(result.ballots) == 12
    assert len(result.merged) == 10
    assert {ballot.reward for ballot in result.ballots} == {0.5}


def test_who_repeats_a_path_that_fails_fails_with_it() -> None:
    async def fails(question: str, steps: Sequence[str]) -> float:
        if "1" in steps[-1]:
            raise ValueError("no")
        return 0.5

    async def answer(question: str, steps: Sequence[str], seed: int) -> str:
        return f"\\boxed{{{int(seed % 5 == 0)}}}"

    config = SearchConfig(
        engine=Proposer(answer, pure=True),
        policy=BestOfN(width=12),
        reward=Verifier(fails, pure=True),
        merge="text",
        termination=None,
    )
    result = run_virtual(solve(config, QUESTION, seed=3))
    assert result.answer == "0"
    assert len(result.failures) == 1
    lost = {path: result.tree.lost(path) for path in result.tree.thoughts}
    assert lost == {path: "1" in each.text for path, each in result.tree.thoughts.items()}


def test_a_function_that_does_not_label_each_text_is_named() -> None:
    def broken(texts: Sequence[str]) -> Sequence[Hashable]:
        raise ValueError("no vectors")

    for merge, said in ((lambda texts: [0], "returned 1 labels"), (broken, "no vectors")):
        with pytest.raises((PolicyError, RewardError), match=said):
            solved(Rebase(width=4), merge, Judge())
    with pytest.raises(SettingsError, match="merge"):
        solved(Rebase(width=4), "vectors", Judge())  # type: ignore[arg-type]


async def test_a_checkpoint_remembers_what_was_merged() -> None:
    graph = create_tot_graph(
        Proposer(write, pure=True),
        policy=Beam(beams=8, width=4),
        reward=Verifier(Judge().score, pure=True),
        merge="text",
    ).compile()
    state = await graph.ainvoke({"question": QUESTION})
    tree = tree_of(json.loads(json.dumps(state, default=str)))
    assert state["ledger"]["merged"] == len(tree.merged()) > 0
    assert tree.failures() == {}
    assert tree.sha256() == state["tree_sha256"]
