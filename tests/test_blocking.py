"""Policies that block: asked in worker threads, and nothing of that outlives the session."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from typing import ClassVar

import pytest
from processes import PATIENCE
from searching import QUESTION, config, make_engine, search

from spex_agents.engines.simulated.hardware import Hardware
from spex_agents.rewards.simulated import SimulatedReward
from spex_agents.search import Ets, Policy, Rebase, Rstar, Tree
from spex_agents.search.policy import Decision, State
from spex_agents.search.tree import Path, TreeView
from spex_agents.speculation.config import Known, Speculation
from spex_agents.speculation.session import Session

QUICK = Hardware(name="quick", slots=96, weights=0.0001)
"""A step of 0.1 ms, for searches in real time."""

AT_ONCE = SimulatedReward(latency=0.005)


PRUNING = Ets(width=6, cost=2.0, distance=0.8)


class Blocking(Rebase):
    """REBASE, asked in worker threads; it notes in which."""

    blocking: ClassVar[bool] = True
    threads: ClassVar[set[int]] = set()

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        Blocking.threads.add(threading.get_ident())
        return Rebase.decide(self, state, tree)


class Recorded:
    """Foresees what it is told to, once it is let go; it counts how many ask it at a time."""

    def __init__(self, chances: Mapping[Path, float]) -> None:
        self.chances = chances
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.known: list[Known] = []
        self.running = self.most = 0

    def __call__(self, known: Known) -> Mapping[Path, float]:
        self.running += 1
        self.most = max(self.most, self.running)
        self.known.append(known)
        self.begun.release()
        assert self.go.acquire(timeout=PATIENCE)
        self.running -= 1
        return self.chances


async def acquired(semaphore: threading.Semaphore) -> None:
    assert await asyncio.to_thread(semaphore.acquire, timeout=PATIENCE)


def session(policy: Policy, forecast: Recorded | None = None) -> Session:
    speculation = Speculation(forecast=forecast) if forecast is not None else Speculation()
    made = config(make_engine(QUICK), policy, reward=AT_ONCE, speculation=speculation)
    return Session(made, Tree(QUESTION, 3), run="run")


@pytest.mark.parametrize(
    ("policy", "plain"),
    [(PRUNING, PRUNING), (Blocking(width=6), Rebase(width=6))],
    ids=["ets", "rebase"],
)
async def test_the_tree_is_the_same_in_threads(policy: Policy, plain: Policy) -> None:
    trees, tasks = [], asyncio.all_tasks()
    for chosen, speculation in ((plain, None), (policy, None), (policy, Speculation())):
        engine = make_engine(QUICK)
        made = config(engine, chosen, reward=AT_ONCE, speculation=speculation)
        async with Session(made, Tree(QUESTION, 3), run="run") as opened:
            await search(opened)
        assert (engine.inner.running, engine.inner.waiting) == (0, 0)
        assert asyncio.all_tasks() == tasks
        trees.append(opened.tree)
    assert trees[0] == trees[1] == trees[2]
    assert opened.ledger.plans > 0


async def test_decisions_and_forecasts_stay_off_the_loop() -> None:
    Blocking.threads.clear()
    async with session(Blocking(width=4)) as opened:
        await search(opened)
    assert Blocking.threads
    assert threading.get_ident() not in Blocking.threads


async def test_forecasts_are_made_one_at_a_time_on_snapshots() -> None:
    forecast = Recorded({})
    async with session(Blocking(width=4), forecast) as opened:
        decision = await opened.decide()
        await acquired(forecast.begun)
        assert forecast.known[0].thoughts == {}
        await opened.expand(decision.paths)  # type: ignore[union-attr]
        assert len(opened.memo.thoughts) == 4
        assert forecast.known[0].thoughts == {}  # of the moment it was asked about
        assert not forecast.known[0].outdated()
        forecast.go.release()
        await acquired(forecast.begun)  # again, for all that has changed meanwhile, once
        assert len(forecast.known[1].thoughts) == 4
        forecast.go.release(9)
    assert forecast.most == 1


async def test_what_was_foreseen_before_a_decision_is_dropped_after_it() -> None:
    forecast = Recorded({(0, 0): 1.0, (1, 0): 1.0})
    async with session(Rebase(width=2), None) as plain:
        decision = await plain.decide()
        await plain.expand(decision.paths)  # type: ignore[union-attr]
    async with session(Blocking(width=2), forecast) as opened:
        decision = await opened.decide()
        await acquired(forecast.begun)
        await opened.expand(decision.paths)  # type: ignore[union-attr]
        await opened.evaluate(decision.paths)  # type: ignore[union-attr]
        await opened.decide()
        assert forecast.known[0].outdated()
        forecast.go.release()
        await acquired(forecast.begun)
        assert opened.ledger.launched == 0
        forecast.go.release(9)


async def test_a_guess_begun_after_the_snapshot_is_not_retracted_by_it() -> None:
    forecast = Recorded({})
    slow = Hardware(name="slow", slots=96, weights=10.0)
    made = config(make_engine(slow), Blocking(width=2), speculation=Speculation(forecast=forecast))
    async with Session(made, Tree(QUESTION, 3), run="run") as opened:
        opened.memo.launch((7,))
        await opened.decide()
        await acquired(forecast.begun)
        opened.memo.launch((8,))
        forecast.go.release()
        assert opened.planner is not None
        assert opened.planner.forecasting is not None
        await asyncio.wait([opened.planner.forecasting])
        assert opened.ledger.retracted == 1
        assert (7,) not in opened.memo.writing
        assert (8,) in opened.memo.writing
        forecast.go.release(9)


async def test_closing_waits_for_a_forecast_and_applies_nothing_of_it() -> None:
    tasks, forecast = asyncio.all_tasks(), Recorded({(0,): 1.0})
    opened = session(Blocking(width=2), forecast)
    await opened.decide()
    await acquired(forecast.begun)
    assert not forecast.known[0].outdated()
    closing = asyncio.create_task(opened.close())
    await asyncio.sleep(0)  # it has begun
    assert forecast.known[0].outdated()
    assert not closing.done()
    forecast.go.release()
    await closing
    assert forecast.running == 0
    assert (opened.ledger.launched, opened.ledger.plans) == (0, 0)
    assert asyncio.all_tasks() == tasks


async def test_closing_goes_on_without_a_forecast_that_hangs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("spex_agents.speculation.running.jobs.CLOSE_SECONDS", 0.05)
    tasks, forecast = asyncio.all_tasks(), Recorded({})
    opened = session(Blocking(width=2), forecast)
    await opened.decide()
    await acquired(forecast.begun)
    await opened.close()
    assert "1 calls were not aborted" in caplog.text
    forecast.go.release()
    await asyncio.wait(asyncio.all_tasks() - tasks)
    assert opened.ledger.plans == 0


async def test_a_search_can_be_cancelled_while_its_policy_decides() -> None:
    class Slow(Blocking):
        begun: ClassVar[threading.Event] = threading.Event()
        go: ClassVar[threading.Event] = threading.Event()

        def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
            Slow.begun.set()
            assert Slow.go.wait(PATIENCE)
            return Rebase.decide(self, state, tree)

    tasks = asyncio.all_tasks()
    opened = session(Slow(width=2))
    deciding = asyncio.create_task(opened.decide())
    await asyncio.to_thread(Slow.begun.wait, 30)
    deciding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await deciding
    Slow.go.set()
    await opened.close()
    assert opened.state == Slow(width=2).start()
    assert asyncio.all_tasks() == tasks


async def test_a_forecast_that_fails_is_told_and_the_search_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(known: Known) -> Mapping[Path, float]:
        raise ValueError("no idea")

    speculation = Speculation(forecast=fails)
    made = config(make_engine(QUICK), Blocking(width=3), reward=AT_ONCE, speculation=speculation)
    with caplog.at_level(logging.ERROR):
        async with Session(made, Tree(QUESTION, 3), run="run") as opened:
            answer, _ = await search(opened)
    assert answer is not None
    assert caplog.text.count("the search goes on without running ahead") == 1


def test_other_policies_are_asked_on_the_loop() -> None:
    assert not Rebase().blocking
    assert not Rstar().blocking
