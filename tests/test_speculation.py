"""Speculation changes the clock and nothing else: whole searches in many worlds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searching import (
    FLAT,
    LIMITS,
    QUESTION,
    WatchedEngine,
    config,
    make_engine,
    paths_of,
    run_search,
    through_json,
)

from spex_agents.answers.termination import ExactStop, MarginStop
from spex_agents.engines.base import Request
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.engines.simulated.hardware import HARDWARE, Hardware
from spex_agents.engines.simulated.world import SyntheticWorld
from spex_agents.rewards.simulated import SimulatedReward
from spex_agents.search import (
    Beam,
    Dvts,
    Expand,
    Finish,
    Policy,
    Rap,
    Rebase,
    RestMcts,
    Rstar,
    RstarActions,
    Thought,
    TotBfs,
    TotDfs,
    Tree,
    registry,
)
from spex_agents.search.policy import Decision, State
from spex_agents.search.prompts import SUBQUESTION
from spex_agents.search.registry import make_policy, sizes
from spex_agents.search.tree import TreeView
from spex_agents.speculation.config import Speculation
from spex_agents.speculation.reporting.events import ThoughtEvent
from spex_agents.speculation.reporting.ledger import Ledger
from spex_agents.speculation.session import Session
from spex_agents.speculation.slots.budget import Budget
from spex_agents.speculation.solving import Result, solve


class Greedy(Policy):
    """A user's own policy: of three thoughts go on from the best."""

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        path = tuple(state)
        layer = [(*path, index) for index in range(3)]
        if layer[0] not in tree:
            return path, Expand(tuple(layer))
        best = max(layer, key=tree.reward)
        if tree.thought(best).ends:
            return path, Finish()
        return best, Expand(tuple((*best, index) for index in range(3)))


POLICIES: list[Policy] = [
    *(make_policy(name, **dict.fromkeys(sizes(name), 4)) for name in registry.POLICIES),
    Rebase(width=8, temperature=1.0),
    Beam(beams=6, width=2),
    Beam(beams=4, width=2, lookahead=2),
    RestMcts(rollouts=6, width=2, gate=0.6),
    Rstar(rollouts=5, width=2),
    Rstar(rollouts=4, width=3, exploration=0.5),
    Rstar(rollouts=4, width=3, create="all"),
    Dvts(beams=6, width=2),
    TotBfs(width=2, keep=2, select="sample"),
    TotDfs(width=2, solutions=2),
    TotBfs(width=3, keep=2, generate="propose"),
    TotDfs(width=2, generate="propose"),
    RstarActions(rollouts=8, width=1),
    Rap(rollouts=3, width=2, step=SUBQUESTION),
    Rap(rollouts=4, width=2, select="puct"),
    Greedy(),
]
SAMPLED = st.sampled_from(
    [policy for policy in POLICIES for _ in range(1 if policy.blocking else 4)]
)
"""A policy that blocks takes its time in tests as well, so it is drawn a quarter as often."""
REWARDS = st.builds(
    SimulatedReward,
    latency=st.sampled_from([0.0, 0.05, 0.5, 5.0]),
    spread=st.sampled_from([0.0, 1.5]),
    pure=st.booleans(),
)
HARDWARES = st.sampled_from(
    [
        *HARDWARE.values(),
        Hardware(name="one", slots=1, weights=0.02),
        Hardware(name="three", slots=3, weights=0.02, compute=0.01),
    ]
)
WORLDS = st.sampled_from(
    [
        SyntheticWorld(),
        SyntheticWorld(ends=0.5, ends_from=1),
        SyntheticWorld(mean_tokens=20, sigma=0.0),  # all thoughts end at the same moment
        SyntheticWorld(sigma=1.2, wrong=("7",)),
    ]
)
SPECULATIONS = st.builds(
    lambda forecast, capacity, allocation, draws, threshold: Speculation(
        forecast=forecast,
        draws=draws,
        threshold=threshold,
        budget=Budget(capacity, allocation=allocation),
    ),
    st.sampled_from(["replay", "paper"]),
    st.none() | st.integers(1, 96),
    st.sampled_from(["benefit", "paper"]),
    st.sampled_from([1, 4]),
    st.sampled_from([0.1, 0.5]),
)
FAILS = {
    "none": None,
    "every guess": lambda request, call: not request.demanded,
    "one guess in three": lambda request, call: not request.demanded and call % 3 == 0,
    "the fifth call": lambda request, call: call == 5,
    "the first call": lambda request, call: call == 0,
}


@pytest.mark.parametrize("examples", [100, pytest.param(300, marks=pytest.mark.slow)])
def test_the_tree_is_the_same_and_every_token_accounted_for(examples: int) -> None:
    @settings(max_examples=examples)
    @given(
        policy=SAMPLED,
        seed=st.integers(0, 10**6),
        reward=REWARDS,
        hardware=HARDWARES,
        world=WORLDS,
        speculation=SPECULATIONS,
        fails=st.sampled_from(sorted(FAILS)),
        fails_at_once=st.booleans(),
        termination=st.sampled_from([ExactStop(), MarginStop(min_answers=2), None]),
    )
    def holds(
        *,
        policy: Policy,
        seed: int,
        reward: SimulatedReward,
        hardware: Hardware,
        world: SyntheticWorld,
        speculation: Speculation,
        fails: str,
        fails_at_once: bool,
        termination: ExactStop | None,
    ) -> None:
        def watched(kind: str) -> WatchedEngine:
            inner = SimulatedEngine(world, hardware)
            return WatchedEngine(inner, fails=FAILS[kind], fails_at_once=fails_at_once)

        off = run_search(
            policy, seed=seed, reward=reward, termination=termination, engine=watched("none")
        )
        engine = watched(fails)
        on = run_search(
            policy,
            seed=seed,
            reward=reward,
            termination=termination,
            engine=engine,
            speculation=speculation,
            retries=1,
        )
        assert on.tree.sha256() == off.tree.sha256()
        assert on.tree == off.tree
        assert list(on.tree.thoughts) == list(off.tree.thoughts) == paths_of(on.decisions)
        assert on.answer == off.answer
        assert on.decisions == off.decisions

        assert on.ledger.decoded_tokens == on.decoded
        assert on.ledger.useful_tokens == off.ledger.useful_tokens == off.decoded
        assert off.ledger.wasted_tokens == 0
        guesses = [call for call in engine.calls.values() if not call.demanded]
        assert on.ledger.launched >= len(guesses)  # some are taken, or retracted, before they begin
        assert on.ledger.hits + on.ledger.retracted <= on.ledger.launched
        assert on.ledger.promoted <= on.ledger.hits
        engine.check_none_redone()
        assert speculation.budget is not None
        assert speculation.budget.in_flight == 0

    holds()


@pytest.mark.parametrize(
    ("policy", "least"),
    [(Rebase(width=8), 1.2), (Rstar(rollouts=8, width=3), 1.5), (Greedy(), 1.2)],
    ids=["rebase", "rstar", "a user's own"],
)
def test_any_policy_is_speculated(policy: Policy, least: float) -> None:
    off = on = 0.0
    for seed in range(3):
        reward = SimulatedReward(latency=1.0)
        slow = run_search(policy, seed=seed, reward=reward)
        fast = run_search(policy, seed=seed, reward=reward, speculation=Speculation())
        assert fast.tree == slow.tree
        assert fast.ledger.hits > 0
        assert fast.ledger.saved_seconds > 0
        off += slow.seconds
        on += fast.seconds
    assert off / on > least


def test_the_same_run_is_the_same_to_the_token() -> None:
    def run() -> tuple[str, float, Ledger]:
        outcome = run_search(Rebase(width=8), seed=5, speculation=Speculation())
        outcome.ledger.plan_seconds = 0.0  # computing time is real time
        return outcome.tree.sha256(), outcome.seconds, outcome.ledger

    assert run() == run()


def test_text_that_was_only_speculated_stays_out_of_the_tree() -> None:
    events: list[ThoughtEvent] = []

    async def main() -> Result:
        made = config(make_engine(), Rebase(width=8), speculation=Speculation())
        return await solve(made, QUESTION, seed=3, listener=events.append)

    result = run_virtual(main())
    accepted = [event for event in events if event["status"] == "accepted"]
    assert [event["text"] for event in accepted] == [
        thought.text for thought in result.tree.thoughts.values()
    ]
    assert {event["id"] for event in events if event["status"] == "scored"} == {
        event["id"] for event in accepted
    }
    guessed = [event["id"] for event in events if event["status"] == "speculative"]
    assert len(guessed) == result.ledger.launched > 0
    assert set(guessed) - {event["id"] for event in accepted}, "nothing was guessed in vain"
    cancelled = [event for event in events if event["status"] == "cancelled"]
    assert len(cancelled) == result.ledger.retracted


# What speculation costs the search


@settings(max_examples=40)
@given(
    policy=SAMPLED,
    seed=st.integers(0, 10**6),
    capacity=st.integers(8, 40),
    latency=st.sampled_from([0.05, 2.0]),
    forecast=st.sampled_from(["replay", "paper"]),
)
def test_within_its_capacity_speculation_never_keeps_demanded_work_waiting(
    policy: Policy, seed: int, capacity: int, latency: float, forecast: str
) -> None:
    # Every step takes 20 ms here, however many run: a request that starts at once ends on time.
    hardware = Hardware(name="flat", slots=capacity, weights=0.02)
    engine = WatchedEngine(SimulatedEngine(hardware=hardware))
    speculation = Speculation(forecast=forecast, budget=Budget(capacity))  # type: ignore[arg-type]
    run_search(
        policy,
        seed=seed,
        engine=engine,
        reward=SimulatedReward(latency=latency),
        speculation=speculation,
    )
    demanded = [call for call in engine.calls.values() if call.demanded]
    assert demanded
    for call in demanded:
        assert call.ended is not None
        assert call.ended - call.begun == pytest.approx(call.request.tokens * 0.02, abs=1e-6)


@settings(max_examples=40)
@given(policy=SAMPLED, seed=st.integers(0, 10**6), capacity=st.integers(1, 12))
def test_no_more_than_the_capacity_is_in_flight_unless_demanded(
    policy: Policy, seed: int, capacity: int
) -> None:
    engine = make_engine()
    run_search(policy, seed=seed, engine=engine, speculation=Speculation(budget=Budget(capacity)))
    for at in {call.begun for call in engine.calls.values()}:
        flying = [
            call
            for call in engine.calls.values()
            if call.begun <= at and call.ended is not None and call.ended > at
        ]
        # A guess that was promoted counts as demanded from then on, and none begins beyond.
        guesses = [call for call in flying if not call.request.demanded]
        assert len(guesses) == 0 or len(flying) <= capacity


# Rewards with side effects


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_an_impure_reward_is_never_called_for_a_thought_that_nobody_demanded(
    policy: Policy,
) -> None:
    called: list[str] = []

    class Recording(SimulatedReward):
        async def score(
            self, question: str, thoughts: Sequence[Thought], request: Request
        ) -> float:
            called.append(thoughts[-1].text)
            return await SimulatedReward.score(self, question, thoughts, request)

    reward = Recording(latency=1.0, spread=1.0, pure=False)
    on = run_search(policy, seed=2, reward=reward, speculation=Speculation())
    scored = [thought.text for path, thought in on.tree.thoughts.items() if path in on.tree.rewards]
    assert sorted(called) == sorted(scored)


# Several searches on one engine


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(2, 5),
    capacity=st.none() | st.integers(4, 64),
    allocation=st.sampled_from(["benefit", "paper"]),
)
def test_searches_that_share_an_engine_find_the_trees_they_find_alone(
    seed: int, count: int, capacity: int | None, allocation: str
) -> None:
    policies = [POLICIES[(seed + index) % len(POLICIES)] for index in range(count)]
    alone = [
        run_search(policy, seed=seed + index).tree.sha256() for index, policy in enumerate(policies)
    ]
    engine = make_engine(HARDWARE["paper-7b"])
    budget = Budget(capacity, allocation=allocation)  # type: ignore[arg-type]

    async def main() -> list[Result]:
        return await asyncio.gather(
            *(
                solve(
                    config(engine, policy, speculation=Speculation(budget=budget)),
                    QUESTION,
                    seed=seed + index,
                    run=f"run{index}",
                )
                for index, policy in enumerate(policies)
            )
        )

    results = run_virtual(main())
    assert [result.tree.sha256() for result in results] == alone
    total = Ledger()
    for result in results:
        total.add(result.ledger)
    assert total.decoded_tokens == engine.inner.decoded_tokens
    assert (engine.inner.running, engine.inner.waiting, budget.in_flight) == (0, 0, 0)
    engine.check_none_redone()


# Cancelling a search


def test_a_search_can_be_cancelled_at_any_moment() -> None:
    rng = Random(1)
    whole = {
        policy: run_search(policy, speculation=Speculation(budget=Budget(16))).seconds
        for policy in POLICIES[::2]
    }

    async def cancel_at(moment: float, policy: Policy, *, abort_seconds: float) -> None:
        engine = make_engine(FLAT, abort_seconds=abort_seconds)
        budget = Budget(16)
        made = config(engine, policy, speculation=Speculation(budget=budget))
        task = asyncio.create_task(solve(made, QUESTION))
        await asyncio.sleep(moment)
        task.cancel()
        if abort_seconds:
            await asyncio.sleep(abort_seconds / 2)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert (engine.inner.running, engine.inner.waiting, budget.in_flight) == (0, 0, 0)

    for _ in range(200):
        policy = rng.choice(list(whole))
        moment = rng.uniform(0, whole[policy] * 0.7)  # a slow abort changes what is begun
        run_virtual(cancel_at(moment, policy, abort_seconds=rng.choice([0.0, 0.0, 1.0])))


# Resuming a search


@settings(max_examples=60)
@given(
    policy=SAMPLED,
    seed=st.integers(0, 10**6),
    decisions=st.integers(0, 8),
    decided=st.booleans(),
    speculated=st.booleans(),
)
def test_a_search_that_was_stopped_goes_on_to_the_same_tree(
    policy: Policy, seed: int, decisions: int, decided: bool, speculated: bool
) -> None:
    whole = run_search(policy, seed=seed)
    speculation = Speculation(budget=Budget(16)) if speculated else None

    async def main() -> tuple[Tree, str | None]:
        engine = make_engine()
        made = config(engine, policy, speculation=speculation)
        pending: Decision | None = None
        async with Session(made, Tree(QUESTION, seed), run="first") as first:
            for _ in range(decisions):
                if not isinstance(decision := await first.decide(), Expand):
                    pending = decision
                    break
                await first.expand(decision.paths)
                await first.evaluate(decision.paths)
            else:
                if decided:  # stopped between a decision and its thoughts
                    pending = await first.decide()
            tree, state = first.tree, first.state
        rows = Tree(tree.question, tree.seed, dict(tree.thoughts), dict(tree.rewards))
        async with Session(made, rows, run="second", state=through_json(state)) as second:
            while True:
                decision = pending or await second.decide()
                pending = None
                if not isinstance(decision, Expand):
                    break
                await second.expand(decision.paths)
                await second.evaluate(decision.paths)
            return second.tree, await second.answer()

    tree, answer = run_virtual(main())
    assert tree == whole.tree
    assert answer == whole.answer


def test_limits_hold_in_a_speculated_tree() -> None:
    tree = run_search(Rebase(width=8), seed=1, speculation=Speculation()).tree
    for path in tree.thoughts:
        assert len(path) <= LIMITS.depth
        assert sum(thought.tokens for thought in tree.chain(path)) <= LIMITS.path_tokens
