"""A session's memo table: what is begun early, taken, retracted, and closed."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from searching import FLAT, QUESTION, WatchedEngine, check_idle, config, make_engine, search

from spex_agents.answers.limits import MaxTokens
from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.engines.simulated.hardware import Hardware
from spex_agents.errors import (
    EngineError,
    PolicyError,
    RewardError,
    SessionClosed,
    SettingsError,
)
from spex_agents.rewards.simulated import SimulatedReward
from spex_agents.search import Beam, Expand, Finish, Limits, Policy, Rebase, Thought, Tree
from spex_agents.search.policy import Decision, State
from spex_agents.search.tree import Path, TreeView
from spex_agents.speculation.config import Known, Speculation
from spex_agents.speculation.reporting.events import ThoughtEvent
from spex_agents.speculation.running.jobs import CLOSE_SECONDS
from spex_agents.speculation.session import Session
from spex_agents.speculation.slots.budget import Budget
from spex_agents.speculation.solving import solve


def nothing(known: Known) -> dict[Path, float]:
    return {}


def on_session(
    body: Callable[[Session, WatchedEngine], Awaitable[None]],
    engine: WatchedEngine | None = None,
    *,
    budget: Budget | None = None,
    **settings: Any,
) -> None:
    """Run `body` on a session and a virtual clock, and check that nothing outlives it.

    Unless `settings` say otherwise, nothing is begun early but what `body` launches itself.
    """
    opened: list[Session] = []

    def keep(known: Known) -> dict[Path, float]:
        return {path: 1.0 for session in opened for path in session.memo.writing}

    async def main() -> None:
        watched = make_engine() if engine is None else engine
        quiet = Speculation(forecast=keep, budget=budget)
        made = config(watched, **{"speculation": quiet, **settings})
        async with Session(made, Tree(QUESTION), run="run") as session:
            opened.append(session)
            await body(session, watched)
        check_idle(watched)
        assert session.ledger.decoded_tokens == watched.inner.decoded_tokens

    run_virtual(main())


# Running ahead


def test_a_thought_begun_early_is_taken_as_it_is() -> None:
    async def body(session: Session, engine: WatchedEngine) -> None:
        session.memo.launch((0,))
        await asyncio.sleep(10)
        before = asyncio.get_running_loop().time()
        thoughts = await session.expand([(0,)])
        assert asyncio.get_running_loop().time() == before
        assert session.tree.thoughts == thoughts
        assert len(engine.calls) == 1
        assert engine.promoted == []
        assert (session.ledger.launched, session.ledger.hits, session.ledger.promoted) == (1, 1, 0)

    on_session(body)


def test_a_guess_under_way_is_promoted_when_it_is_demanded() -> None:
    async def body(session: Session, engine: WatchedEngine) -> None:
        for index in range(3):  # one slot: the others wait
            session.memo.launch((index,))
        await asyncio.sleep(0.1)
        await session.expand([(2,)])
        assert engine.promoted == ["run/2/thought-1"]
        assert engine.calls["run/2/thought-1"].request.demanded
        assert engine.calls["run/0/thought-1"].outcome == "done"  # it ran already
        assert engine.calls["run/1/thought-1"].outcome == "running"  # overtaken
        assert session.ledger.promoted == 1

    one_slot = Hardware(name="one", slots=1, weights=0.02)
    on_session(body, make_engine(one_slot))


@dataclass(frozen=True)
class Judged(SimulatedReward):
    """A reward that asks an engine, as the session sees it."""

    engine: WatchedEngine | None = None


@pytest.mark.parametrize("judge", ["own", "other", None])
def test_the_reward_under_way_of_a_demanded_thought_is_hurried_too(judge: str | None) -> None:
    watched = make_engine()
    asked = {"own": watched, "other": make_engine()}.get(str(judge))

    async def body(session: Session, engine: WatchedEngine) -> None:
        session.memo.launch((0,))
        await asyncio.sleep(3)  # written after 1 to 2 s
        session.memo.scores.launch((0,))  # scored 5 s later
        request = session.memo.scoring[(0,)].request
        guessed = request.demanded
        assert not guessed
        await session.expand([(0,)])
        assert request.demanded
        await session.evaluate([(0,)])
        if asked is not None:
            assert asked.promoted == [request.id]
        if asked is not engine:  # who writes has nothing to do with it
            assert engine.promoted == []

    reward = Judged(latency=5.0, engine=asked)
    on_session(body, watched, reward=reward)


def test_a_retracted_guess_is_cancelled_at_the_engine() -> None:
    async def body(session: Session, engine: WatchedEngine) -> None:
        session.memo.launch((0,))
        await asyncio.sleep(0.1)  # five steps of 20 ms
        assert engine.inner.running == 1
        session.memo.retract((0,))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert engine.inner.running == 0
        assert engine.calls["run/0/thought-1"].outcome == "cancelled"
        assert session.ledger.retracted == session.ledger.aborts == 1
        assert session.ledger.wasted_tokens == 5
        await session.expand([(0,)])  # demanded after all: written again
        assert engine.calls["run/0/thought-2"].outcome == "done"
        assert session.ledger.useful_tokens == session.tree.thought((0,)).tokens

    on_session(body)


def test_a_thought_demanded_while_its_retraction_lingers_is_written_anew() -> None:
    async def body(session: Session, engine: WatchedEngine) -> None:
        session.memo.launch((0,))
        await asyncio.sleep(0.1)
        session.memo.retract((0,))
        taken = await session.expand([(0,)])
        assert engine.calls["run/0/thought-1"].outcome == "cancelled"
        assert engine.calls["run/0/thought-1"].ended is None
        assert session.memo.thoughts == taken
        assert session.ledger.abort_seconds == 0
        await asyncio.sleep(30)
        assert session.ledger.slowest_abort == pytest.approx(20)

    on_session(body, make_engine(abort_seconds=20.0))


@pytest.mark.parametrize("at_once", [True, False])
def test_a_guess_that_fails_is_no_error_of_the_search(*, at_once: bool) -> None:
    async def body(session: Session, engine: WatchedEngine) -> None:
        session.memo.launch((0,))
        await asyncio.sleep(10)
        assert session.ledger.failed == 1
        await session.expand([(0,)])
        assert [call.outcome for call in engine.began("0")] == ["failed", "done"]
        assert session.ledger.hits == 0

    on_session(body, make_engine(fails=lambda request, call: call == 0, fails_at_once=at_once))


def test_a_guess_that_fails_once_it_is_demanded_is_written_again() -> None:
    async def body(session: Session, engine: WatchedEngine) -> None:
        session.memo.launch((0,))
        await asyncio.sleep(0.1)
        await session.expand([(0,)])
        assert [call.outcome for call in engine.began("0")] == ["failed", "done"]

    on_session(body, make_engine(fails=lambda request, call: call == 0))


@pytest.mark.parametrize("at_once", [True, False])
def test_a_guess_that_failed_is_not_guessed_again(*, at_once: bool) -> None:
    async def body(session: Session, engine: WatchedEngine) -> None:
        await search(session)
        assert session.ledger.failed > 0
        for name in {name.rpartition("-")[0] for name in engine.calls}:
            tries = [call for key, call in engine.calls.items() if key.rpartition("-")[0] == name]
            assert sum(call.outcome == "failed" for call in tries) <= 1

    engine = make_engine(fails=lambda request, call: not request.demanded, fails_at_once=at_once)
    on_session(body, engine, speculation=Speculation())


def test_what_is_begun_already_is_not_begun_again() -> None:
    async def body(session: Session, engine: WatchedEngine) -> None:
        taking = asyncio.create_task(session.memo.take((0,)))
        await asyncio.sleep(0.1)
        session.memo.launch((0,))
        await taking
        session.memo.launch((0,))
        await asyncio.sleep(10)
        assert len(engine.calls) == 1
        assert session.ledger.launched == 0

    on_session(body)


def test_what_is_under_way_is_taken_before_what_begins_can_push_it_out() -> None:
    async def body(session: Session, engine: WatchedEngine) -> None:
        session.memo.launch((1,), 0.2)
        await asyncio.sleep(0.1)
        await session.expand([(0,), (1,)])
        assert (session.ledger.hits, session.ledger.retracted) == (1, 0)
        assert list(session.tree.thoughts) == [(0,), (1,)]

    on_session(body, budget=Budget(1))


def test_children_are_committed_by_index_not_by_finish() -> None:
    async def body(session: Session, engine: WatchedEngine) -> None:
        paths = [(index,) for index in range(8)]
        await session.expand(paths)
        ended = [call.ended for call in engine.calls.values()]
        assert ended != sorted(ended, key=lambda at: at or 0.0)
        assert list(session.tree.thoughts) == paths

    on_session(body)


def test_a_policy_that_fails_on_predicted_trees_is_still_a_policy() -> None:
    class Reader(Policy):
        def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
            if state and "quality" not in tree.thought((0,)).text:
                raise ValueError("a predicted thought has no text")
            return True, Finish() if state else Expand(((0,), (1,)))

    async def body(session: Session, engine: WatchedEngine) -> None:
        await search(session)
        assert len(session.tree) == 2

    on_session(body, policy=Reader(), speculation=Speculation())


# Closing


def test_a_closed_session_refuses_work() -> None:
    async def body(session: Session, engine: WatchedEngine) -> None:
        await session.expand([(0,)])
        await session.close()
        with pytest.raises(SessionClosed, match="takes no more work: open another session"):
            session.memo.launch((1,))
        with pytest.raises(SessionClosed):
            await session.memo.take((1,))
        with pytest.raises(SessionClosed):
            await session.expand([(1,)])
        with pytest.raises(SessionClosed):
            await session.evaluate([(0,)])
        assert len(engine.calls) == 1
        assert "closed" in repr(session)

    on_session(body)


def test_who_waits_for_a_thought_hears_that_its_session_was_closed() -> None:
    async def body(session: Session, engine: WatchedEngine) -> None:
        taking = asyncio.create_task(session.memo.take((0,)))
        await asyncio.sleep(0.1)
        await session.close()
        with pytest.raises(SessionClosed, match="thought 0 was cancelled with its session"):
            await taking

    on_session(body)


def test_closing_outlasts_repeated_cancellation_of_the_closer() -> None:
    async def body(session: Session, engine: WatchedEngine) -> None:
        loop = asyncio.get_running_loop()
        for index in range(4):
            session.memo.launch((index,))
        await asyncio.sleep(0.5)
        closer = asyncio.create_task(session.close())
        for _ in range(5):
            await asyncio.sleep(0.3)
            closer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closer
        assert loop.time() == pytest.approx(2.5)  # 0.5 s of work and 2 s of aborting
        check_idle(engine)

    on_session(body, make_engine(abort_seconds=2.0))


def test_closing_twice_at_once_waits_for_the_same_end() -> None:
    async def body(session: Session, engine: WatchedEngine) -> None:
        session.memo.launch((0,))
        await asyncio.sleep(0.1)
        await asyncio.gather(session.close(), session.close())
        await session.close()
        assert engine.calls["run/0/thought-1"].ended == pytest.approx(2.1)

    on_session(body, make_engine(abort_seconds=2.0))


def test_closing_waits_for_an_abort_only_so_long(caplog: pytest.LogCaptureFixture) -> None:
    async def body(session: Session, engine: WatchedEngine) -> None:
        session.memo.launch((0,))
        await asyncio.sleep(0.1)
        await session.close()
        assert asyncio.get_running_loop().time() == pytest.approx(0.1 + CLOSE_SECONDS)
        await asyncio.sleep(10)

    with caplog.at_level(logging.WARNING):
        on_session(body, make_engine(abort_seconds=15.0))
    assert "1 calls were not aborted in 10.0 s" in caplog.text


def test_a_session_being_closed_is_offered_no_slot() -> None:
    budget = Budget(1)

    async def body(session: Session, engine: WatchedEngine) -> None:
        other = Session(session.config, Tree(QUESTION), run="other")
        request = Request(id="other/0/thought-1", seed=0)
        budget.begin(other.memo, (0,), request)
        budget.offer(session.memo, {(0,): 1.0})
        closer = asyncio.create_task(session.close())
        await asyncio.sleep(0)  # it has begun to close
        budget.end(request)  # a slot falls free
        await closer
        assert session.ledger.launched == 0

    on_session(body, budget=budget)


def test_the_fault_of_one_search_costs_no_other_its_thought() -> None:
    def complain(event: ThoughtEvent) -> None:
        raise ValueError("a listener of another search")

    async def main() -> None:
        engine = make_engine()
        budget = Budget(1)
        made = config(engine, speculation=Speculation(forecast=nothing, budget=budget))
        unheard: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: unheard.append(str(context["exception"]))
        )
        async with (
            Session(made, Tree(QUESTION), run="one") as one,
            Session(made, Tree(QUESTION), run="other", listener=complain) as other,
        ):
            taking = asyncio.create_task(one.memo.take((0,)))
            await asyncio.sleep(0.1)
            budget.offer(other.memo, {(0,): 1.0})
            await taking  # and the slot goes to the other search
        assert unheard == ["a listener of another search"]
        assert list(engine.calls) == ["one/0/thought-1", "other/0/thought-1"]
        check_idle(engine)

    run_virtual(main())


def test_a_promotion_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(WatchedEngine):
        async def promote(self, request: Request) -> None:
            raise EngineError("no promotion here")

    async def body(session: Session, engine: WatchedEngine) -> None:
        session.memo.launch((0,))
        await asyncio.sleep(0.1)
        await session.expand([(0,)])
        gc.collect()

    on_session(body, Stubborn(SimulatedEngine(hardware=FLAT)))
    assert caplog.text == ""


# Faults on demand


def test_an_engine_that_fails_on_demand_can_be_asked_again() -> None:
    async def body(session: Session, engine: WatchedEngine) -> None:
        decision = await session.decide()
        assert isinstance(decision, Expand)
        with pytest.raises(EngineError, match="fails in the end"):
            await session.expand(decision.paths)
        assert len(session.tree) == 0
        await session.expand(decision.paths)
        assert list(session.tree.thoughts) == list(decision.paths)
        assert [len(engine.began(str(path[0]))) for path in decision.paths] == [2, 1, 1, 1]
        await session.evaluate(decision.paths)
        await search(session)

    on_session(body, make_engine(fails=lambda request, call: call == 0))


def test_any_exception_of_an_engine_is_an_engine_error() -> None:
    class Broken(WatchedEngine):
        async def generate(
            self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
        ) -> Thought:
            raise ZeroDivisionError("oops")

    async def body(session: Session, engine: WatchedEngine) -> None:
        with pytest.raises(
            EngineError, match=r"simulated/flat failed: ZeroDivisionError\('oops'\)"
        ):
            await session.expand([(0,)])

    on_session(body, Broken(SimulatedEngine(hardware=FLAT)))


class Faulty(SimulatedReward):
    """A reward that gives what it is told to."""

    def __init__(self, gives: object) -> None:
        super().__init__()
        object.__setattr__(self, "gives", gives)

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        await asyncio.sleep(0.01)
        gives = self.gives  # type: ignore[attr-defined]
        if isinstance(gives, Exception):
            raise gives
        return gives  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("gives", "message"),
    [
        (float("nan"), "returned nan: must be a number in"),
        (float("inf"), "returned inf"),
        (1.5, "returned 1.5"),
        (-0.1, "returned -0.1"),
        ("0.5", "returned '0.5'"),
        (None, "returned None"),
        (ValueError("oops"), r"reward 'simulated' failed: ValueError\('oops'\)"),
        (RewardError("my own"), "my own"),
    ],
)
@pytest.mark.parametrize("speculation", [None, Speculation()], ids=["alone", "speculated"])
def test_a_reward_that_fails_ends_the_search_cleanly(
    gives: object, message: str, speculation: Speculation | None
) -> None:
    async def body(session: Session, engine: WatchedEngine) -> None:
        with pytest.raises(RewardError, match=message):
            await search(session)
        assert not session.tree.rewards

    on_session(body, reward=Faulty(gives), speculation=speculation)


def test_a_reward_that_failed_can_be_asked_again() -> None:
    reward = Faulty(ValueError("busy"))

    async def body(session: Session, engine: WatchedEngine) -> None:
        await session.expand([(0,), (1,)])
        with pytest.raises(RewardError):
            await session.evaluate([(0,), (1,)])
        object.__setattr__(reward, "gives", 0.25)
        assert await session.evaluate([(0,), (1,)]) == {(0,): 0.25, (1,): 0.25}

    on_session(body, reward=reward)


def test_a_policy_that_breaks_its_contract_is_told_the_path() -> None:
    class Twice(Policy):
        def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
            return (), Expand(((0,),))

    async def body(session: Session, engine: WatchedEngine) -> None:
        with pytest.raises(PolicyError, match=r"path \(0,\) was demanded twice"):
            await search(session)

    on_session(body, policy=Twice(), speculation=Speculation())


def test_a_state_that_no_checkpoint_holds_is_refused() -> None:
    class Listing(Policy):
        def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
            return ((0, [1]),), Expand(((0,),))

    async def body(session: Session, engine: WatchedEngine) -> None:
        with pytest.raises(PolicyError, match=r"policy state holds \[1\] of type list"):
            await session.decide()
        assert session.state == ()

    on_session(body, policy=Listing())


async def test_a_decision_that_is_cancelled_can_be_asked_again() -> None:
    # Answers in need of algebra are brought to their form on a thread: a moment to be cancelled in.
    engine = make_engine(Hardware(name="fast", slots=8, weights=1e-6))
    made = config(
        engine,
        Beam(beams=4, width=2),
        limits=Limits(depth=3),
        reward=SimulatedReward(latency=0.0),
        extract=lambda text: "x^2 + 1" if text.splitlines()[-1][5] in "01" else None,
    )
    async with Session(made, Tree(QUESTION, 2), run="run") as session:
        decision = await session.decide()
        assert isinstance(decision, Expand)
        await session.expand(decision.paths)
        await session.evaluate(decision.paths)
        assert list(session.tree.leaves())
        before = session.state
        task = asyncio.create_task(session.decide())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert session.state == before
        expected = made.policy.decide(before, session.tree)
        assert (await session.decide(), session.state) == (expected[1], expected[0])


def test_a_search_that_its_rule_has_ended_stays_ended() -> None:
    async def body(session: Session, engine: WatchedEngine) -> None:
        await search(session)
        assert session.stopped == "MaxTokens(limit=300)"
        before = session.tree, session.state
        assert await session.decide() == Finish()
        assert (session.tree, session.state) == before
        other = Session(
            session.config,
            session.tree,
            run="other",
            state=session.state,
            stopped=session.stopped,
        )
        assert await other.decide() == Finish()
        await other.close()

    on_session(body, policy=Rebase(width=4), termination=MaxTokens(300))


def test_an_empty_question_is_refused_before_any_call() -> None:
    engine = make_engine()
    with pytest.raises(SettingsError, match="question='  ': must not be empty"):
        run_virtual(solve(config(engine, Rebase()), "  "))
    assert not engine.calls
