"""One failure ends a path, and not the search."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Container, Mapping, Sequence
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from searching import (
    FLAT,
    LIMITS,
    QUESTION,
    Outcome,
    WatchedEngine,
    config,
    make_engine,
    run_search,
)
from test_policies import LIMITS as SMALL
from test_policies import POLICIES

from spex_agents.answers.votes import Vote
from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import (
    EngineError,
    EngineUnavailable,
    PolicyError,
    RewardError,
    SettingsError,
)
from spex_agents.nodes import create_tot_graph, tree_of
from spex_agents.rewards.simulated import SimulatedReward
from spex_agents.search import (
    BestOfN,
    Dvts,
    Ets,
    Expand,
    Finish,
    Limits,
    Path,
    Policy,
    Rebase,
    Thought,
    TotBfs,
    TotDfs,
    Tree,
    draw,
)
from spex_agents.search.policy import Decision, State, check, check_state, children, voters
from spex_agents.search.registry import make_policy
from spex_agents.search.tree import TreeView
from spex_agents.speculation import Failures, Speculation
from spex_agents.speculation.solving import Result, solve

BEARS = Failures(share=1.0)


def path_in(request: Request) -> Path:
    return tuple(map(int, request.id.split("/")[-2].split(".")))


class Faulty(WatchedEngine):
    """Fails for some paths whenever it is asked, in its own way."""

    def __init__(
        self, paths: Container[Path], error: Exception | None = None, text: str | None = None
    ) -> None:
        super().__init__(SimulatedEngine(hardware=FLAT))
        self.paths = paths
        self.error = error or EngineError("the filter refuses this prompt")
        self.text = text

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        if path_in(request) not in self.paths:
            return await super().generate(prompt, request, sampling=sampling, max_tokens=max_tokens)
        await asyncio.sleep(0.1)
        if self.text is not None:
            return Thought(text=self.text, tokens=3, finish="step")
        raise self.error


class FaultyReward:
    """Judges all paths but some."""

    name = "faulty"
    needs_logprobs = False
    pure = True

    def __init__(self, paths: Container[Path], fault: object) -> None:
        self.inner = SimulatedReward(latency=0.1)
        self.paths = paths
        self.fault = fault

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        value = await self.inner.score(question, thoughts, request)
        if path_in(request) not in self.paths:
            return value
        if isinstance(self.fault, Exception):
            raise self.fault
        return self.fault  # type: ignore[return-value]


def run(policy: Policy, engine: WatchedEngine | None = None, **more: Any) -> Outcome:
    return run_search(policy, engine=engine, **{"failures": Failures(), **more})


# What is borne


@pytest.mark.parametrize(
    "how",
    [{}, {"error": ConnectionResetError("by peer")}, {"text": " \n\t "}, {"text": ""}],
    ids=["refused", "any exception", "white space", "nothing"],
)
@pytest.mark.parametrize("speculation", [None, Speculation()], ids=["off", "on"])
def test_a_thought_that_cannot_be_written_ends_its_path_alone(
    how: dict[str, Any], speculation: Speculation | None
) -> None:
    found = run(Rebase(width=4), Faulty([(1,)], **how), speculation=speculation)
    assert list(found.tree.failures()) == [(1,)]
    assert found.tree.thought((1,)).ends
    assert found.tree.lost((1,))
    assert not any(path[:1] == (1,) and len(path) > 1 for path in found.tree.thoughts)
    assert all(ballot.path[:1] != (1,) for ballot in found.ballots)
    assert found.answer is not None
    assert found.ledger.lost == 1


@pytest.mark.parametrize(
    "fault",
    [math.nan, 2.0, None, RewardError("neither yes nor no"), ValueError("no such key")],
    ids=repr,
)
@pytest.mark.parametrize("speculation", [None, Speculation()], ids=["off", "on"])
def test_a_reward_that_fails_ends_its_path_alone(
    fault: object, speculation: Speculation | None
) -> None:
    reward = FaultyReward([(2,)], fault)
    found = run(Rebase(width=4), reward=reward, speculation=speculation)
    (reason,) = found.tree.failures().values()
    assert "RewardError" in reason
    assert found.tree.thought((2,)).text  # what was written stays
    assert (2,) not in found.tree.rewards
    assert found.ledger.lost == 1


def test_a_failed_path_has_the_reward_that_the_setting_says() -> None:
    for engine, reward in ((Faulty([(1,)]), None), (None, FaultyReward([(1,)], math.nan))):
        more = {} if reward is None else {"reward": reward}
        found = run(Rebase(width=4), engine, failures=Failures(reward=0.0), **more)
        assert found.tree.rewards[1,] == 0.0
        assert not found.tree.lost((1,))
        assert all(ballot.path != (1,) for ballot in found.ballots)


def test_entries_of_a_list_go_on_without_one_that_failed() -> None:
    found = run(TotBfs(width=3, keep=2, generate="propose"), Faulty([(1,)]))
    assert list(found.tree.failures()) == [(1,)]
    assert found.tree.thought((2,)).text


# What ends the search


def test_more_failures_than_may_be_end_the_search_and_the_error_carries_the_best_so_far() -> None:
    engine = Faulty([(index,) for index in range(5)])
    with pytest.raises(EngineError, match="the filter refuses") as raised:
        run_virtual(solve(made(engine, BestOfN(width=16)), QUESTION))
    assert "5 of 16 thoughts have failed" in raised.value.__notes__[0]
    partial = raised.value.partial
    assert isinstance(partial, Result)
    assert partial.answer is not None
    assert len(partial.ballots) > 2
    assert partial.error is not None
    assert partial.ended.startswith("EngineError")
    assert len(partial.tree) == 11  # what was written, though nothing of that call is committed
    assert partial.ledger.decoded_tokens > 0


def made(engine: WatchedEngine, policy: Policy, **more: Any) -> Any:
    return config(engine, policy, **{"failures": Failures(), **more})


def test_four_of_sixteen_may_fail_and_two_in_any_case() -> None:
    paths = [(index,) for index in range(4)]
    assert len(run(BestOfN(width=16), Faulty(paths)).tree.failures()) == 4
    assert len(run(BestOfN(width=3), Faulty(paths[:2])).tree.failures()) == 2
    with pytest.raises(EngineError):
        run(BestOfN(width=2), Faulty(paths[:2]))  # nothing is left


def test_a_fault_of_the_whole_ends_the_search_at_once() -> None:
    engine = Faulty([(3,)], EngineUnavailable("401: the key is refused"))
    with pytest.raises(EngineUnavailable) as raised:
        run_virtual(solve(made(engine, BestOfN(width=16), failures=BEARS), QUESTION))
    assert raised.value.partial.tree.failures() == {}


def test_in_strict_mode_the_first_failure_ends_the_search() -> None:
    with pytest.raises(EngineError):
        run(Rebase(width=4), Faulty([(1,)]), failures=None)
    with pytest.raises(RewardError):
        run(Rebase(width=4), reward=FaultyReward([(1,)], math.nan), failures=None)
    with pytest.raises(RewardError, match="names no quality"):  # it was judged
        run(Rebase(width=4), Faulty([(1,)], text=""), failures=None)


def test_any_error_that_ends_a_search_carries_the_best_so_far() -> None:
    class Broken(BestOfN):
        def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
            if state:
                raise ZeroDivisionError
            return BestOfN.decide(self, state, tree)

    with pytest.raises(ZeroDivisionError) as raised:
        run_virtual(solve(made(make_engine(), Broken(width=4)), QUESTION))
    assert raised.value.partial.answer is not None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share": 1.5}, r"share=1.5: must lie in \[0, 1\]"),
        ({"least": -1}, "least=-1: must be at least 0"),
        ({"reward": math.nan}, r"reward=nan: must lie in \[0, 1\]"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Failures(**settings)


# A search in which some paths fail is the search in which they never were


class Without(Policy):
    """The policy as if some paths did not exist: whatever it demands of them is not asked for."""

    def __init__(self, policy: Policy, gone: Gone) -> None:
        self.policy, self.gone = policy, gone
        self.leaves_only = policy.leaves_only  # type: ignore[misc]
        self.action = policy.action  # type: ignore[method-assign]

    @property
    def needs_logprobs(self) -> bool:
        return self.policy.needs_logprobs

    def start(self) -> State:
        return self.policy.start(), ()

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        inner, asked = state
        while True:
            inner, decision = self.policy.decide(inner, self._seen(asked, tree))
            if isinstance(decision, Finish):
                return (inner, asked), decision
            asked = (*asked, *(path for path in decision.paths if path in self.gone))
            if left := tuple(path for path in decision.paths if path not in self.gone):
                return (inner, asked), Expand(left)

    def voters(self, state: State, tree: Tree) -> tuple[Path, ...] | None:
        return voters(self.policy, state[0], self._seen(state[1], tree))

    def _seen(self, asked: tuple[Path, ...], tree: TreeView) -> Tree:
        assert isinstance(tree, Tree)
        return tree.with_failures(dict.fromkeys(asked, "it does not exist"))


class Gone:
    """A fifth of all paths, by chance."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __contains__(self, path: object) -> bool:
        assert isinstance(path, tuple)
        return path != () and draw(self.seed, path, "gone").random() < 0.2


def samples_one_engine(policy: Policy) -> bool:
    sampled = getattr(policy, "generate", "sample") == "sample"
    return sampled and len(getattr(policy, "models", ("",))) == 1


@pytest.mark.parametrize("examples", [20, pytest.param(300, marks=pytest.mark.slow)])
def test_it_is_the_search_in_which_these_paths_never_existed(examples: int) -> None:
    @settings(max_examples=examples)
    @given(
        POLICIES.filter(samples_one_engine),
        st.integers(0, 10**6),
        st.sampled_from(get_args(Vote)),
        st.booleans(),
    )
    def holds(policy: Policy, seed: int, vote: Vote, judged: bool) -> None:
        gone = Gone(seed)
        more: dict[str, Any] = {"vote": vote, "seed": seed, "termination": None}
        reward = SimulatedReward(latency=0.1)
        whole = run(Without(policy, gone), reward=reward, failures=BEARS, **more)
        if not len(whole.tree):
            with pytest.raises(EngineError, match=r"all \d+ thoughts have failed"):
                run(policy, Faulty(gone), reward=reward, failures=BEARS, **more)
            return
        if judged:  # the rewards fail; where none is asked for, nothing does
            with_faults = run(policy, reward=FaultyReward(gone, math.nan), failures=BEARS, **more)
        else:
            with_faults = run(policy, Faulty(gone), reward=reward, failures=BEARS, **more)
        if judged and policy.leaves_only:
            return
        tree = with_faults.tree
        failures = tree.failures()
        assert all(path in gone for path in failures)
        there = {path: each for path, each in tree.thoughts.items() if path not in failures}
        assert there == whole.tree.thoughts
        assert tree.rewards == whole.tree.rewards
        assert with_faults.ballots == whole.ballots
        assert with_faults.answer == whole.answer

    holds()


@pytest.mark.parametrize(
    "policy",
    [
        Rebase(width=6),
        Ets(width=6),
        Dvts(beams=6, width=3),
        TotBfs(width=3, keep=2),
        TotDfs(width=3, threshold=0.2, solutions=2),
        BestOfN(width=6),
    ],
    ids=lambda policy: type(policy).__name__,
)
def test_a_policy_decides_as_if_its_children_were_fewer(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = 0
    for seed in range(60):
        gone = Gone(seed)

        def fewer(path: Path, count: int, first: int = 0, gone: Gone = gone) -> tuple[Path, ...]:
            return tuple(each for each in children(path, count, first) if each not in gone)

        lossy = grown(policy, seed, gone)
        with monkeypatch.context() as patch:
            for name in ("rebase", "dvts", "tot", "best_of_n"):
                patch.setattr(f"spex_agents.search.policies.{name}.children", fewer)
            try:
                there = grown(policy, seed, ())
            except PolicyError:  # no child is left below what it expands: it knows no such case
                continue
        compared += 1
        left = {path for path in lossy.thoughts if path not in gone}
        assert left == set(there.thoughts)
        assert lossy.rewards == there.rewards
    assert compared > 5


def grown(policy: Policy, seed: int, gone: Container[Path]) -> Tree:
    """The tree of a search in a world of chance, in which some paths fail."""
    tree, state, limits = Tree("q", seed), policy.start(), Limits(depth=5)
    while True:
        state, decision = policy.decide(state, tree)
        if isinstance(check(decision, tree, limits), Finish):
            return tree
        assert isinstance(decision, Expand)
        for path in decision.paths:
            rng = draw(seed, path, "test")
            thought = Thought(text=str(path), tokens=9, ends=rng.random() < 0.2)
            if path in gone:
                tree = tree.with_failures({path: "by chance"})
                continue
            tree = tree.with_thoughts({path: limits.close(thought, tree.chain(path[:-1]))})
            if tree.thought(path).ends or not policy.leaves_only:
                tree = tree.with_rewards({path: rng.choice([0.0, 0.5, 0.5, 1.0, rng.random()])})


@given(POLICIES, st.integers(0, 10**6), SMALL, st.sampled_from([0.1, 0.5, 0.9]))
def test_every_policy_ends_with_what_is_left(
    policy: Policy, seed: int, limits: Limits, share: float
) -> None:
    tree, state = Tree("q", seed), policy.start()
    for _ in range(600):
        state, decision = policy.decide(state, tree)
        check_state(state)
        if isinstance(check(decision, tree, limits), Finish):
            break
        assert isinstance(decision, Expand)
        for path in decision.paths:
            rng = draw(seed, path, "test")
            if rng.random() < share:
                tree = tree.with_failures({path: "by chance"})
                continue
            thought = Thought(text=str(path), tokens=1, ends=rng.random() < 0.2)
            tree = tree.with_thoughts({path: limits.close(thought, tree.chain(path[:-1]))})
            if tree.thought(path).ends or not policy.leaves_only:
                tree = tree.with_rewards({path: rng.random()})
    else:
        raise AssertionError(f"{policy} goes on for ever")
    assert not set(voters(policy, state, tree)) & set(tree.failures())
    assert policy.remaining(state, tree) is None or policy.remaining(state, tree) >= 0  # type: ignore[operator]


# Whatever fails, when and how often, running ahead changes nothing


@given(st.integers(0, 10**6), st.sampled_from(["rebase", "rstar", "rap", "dvts", "rest-mcts"]))
@settings(max_examples=8)
def test_the_tree_is_the_same_with_speculation_on_and_off(seed: int, name: str) -> None:
    def tree(speculation: Speculation | None) -> Tree:
        policy = make_policy(name)
        return run(
            policy, Faulty(Gone(seed)), seed=seed, failures=BEARS, speculation=speculation
        ).tree

    on, off = tree(Speculation()), tree(None)
    assert on == off
    assert on.sha256() == off.sha256()


# In a graph


def test_a_checkpoint_holds_what_failed_and_the_search_goes_on_from_it() -> None:
    async def ask(engine: Faulty, saver: InMemorySaver | None, **more: Any) -> Any:
        graph = create_tot_graph(
            engine, policy=Rebase(width=4), reward=SimulatedReward(), limits=LIMITS, **more
        ).compile(checkpointer=saver)
        return await graph.ainvoke({"question": QUESTION}, {"configurable": {"thread_id": "1"}})

    async def main() -> None:
        whole = await ask(Faulty([(1,)]), None)
        assert whole["failures"] == [
            {"path": [1], "reason": "EngineError: the filter refuses this prompt"}
        ]
        tree = tree_of(whole)
        assert list(tree.failures()) == [(1,)]
        assert whole["agreement"] == pytest.approx(agreement_of(whole["ballots"], whole["answer"]))
        assert whole["answer_path"] in [ballot["path"] for ballot in whole["ballots"]]
        saver = InMemorySaver()
        away = Faulty([(1,)])
        away.fails = lambda request, count: count > 6
        away.fails_with = EngineUnavailable
        with pytest.raises(EngineUnavailable) as raised:
            await ask(away, saver)
        assert isinstance(raised.value.partial, Result)
        again = await ask(Faulty([(1,)]), saver)
        assert again["tree_sha256"] == whole["tree_sha256"]
        assert again["failures"] == whole["failures"]

    run_virtual(main())


def agreement_of(ballots: Sequence[Mapping[str, Any]], answer: str) -> float:
    mine: float = sum(ballot["weight"] for ballot in ballots if ballot["answer"] == answer)
    total: float = sum(ballot["weight"] for ballot in ballots)
    return mine / total
