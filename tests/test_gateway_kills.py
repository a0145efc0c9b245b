"""Whose search it is and what it is charged, however gateways on one PostgreSQL die."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from gateways import ASKED
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from postgres import postgres
from sqlalchemy import text

from spex_agents.server.gateway.database import Database, open_database
from spex_agents.server.gateway.errors import ApiError
from spex_agents.server.gateway.keys import Key
from spex_agents.server.gateway.quotas import Quotas
from spex_agents.server.gateway.records import Charge, Record, Records
from spex_agents.server.gateway.replicas import Shared
from spex_agents.server.gateway.requests import ChatRequest
from spex_agents.server.gateway.search import Search

T = TypeVar("T")

KEY = Key(name="tutors", concurrency=3, tokens=3000)
HELD = 300
"""Tokens that a search may take."""

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "begin", "begin", "end", "kill", "wake", "take_over"]),
        st.integers(0, 2),  # which gateway
        st.integers(0, 30),  # which search
        st.sampled_from([0, 30, HELD]),  # what a run has taken
        st.sampled_from([False, False, True]),  # whether the gateway dies in the middle of it
    ),
    min_size=60,
    max_size=60,
)
STALE = "UPDATE pgqueuer SET heartbeat = now() - interval '1 day' WHERE queue_manager_id = :name"
CLEAN = ("DELETE FROM spex_searches", "DELETE FROM spex_usage", "DELETE FROM pgqueuer")


def identity(number: int) -> str:
    return f"{number:032x}"


def record(number: int, run: str, state: Any = "running") -> Record:
    search = Search(
        id=identity(number),
        owner=KEY.name,
        created=time.time(),
        request=ChatRequest.model_validate(ASKED),
        state=state,
        run=run,
    )
    return search.record()


@dataclass(eq=False)
class Gateway:
    """What a gateway knows: its jobs, and the runs of its searches by their numbers."""

    jobs: Shared
    runs: dict[int, str] = field(default_factory=dict)


class Kills:
    """Begins, ends, kills and takes over, and compares with what ought to be."""

    def __init__(self, database: Database, runner: asyncio.Runner) -> None:
        self.database, self.runner = database, runner
        self.records = Records(self.database)
        self.quotas = Quotas(self.database)
        self.gateways = [self.new_gateway() for _ in range(3)]
        self.dead: list[Gateway] = []
        self.owner: dict[int, str] = {}
        """Which run may save a search that runs, by its number."""

        self.done: set[int] = set()
        self.held: dict[int, int] = {}
        self.charged = 0
        self.count = 0
        for statement in CLEAN:
            self.do(self.database.execute(text(statement)))

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def new_gateway(self) -> Gateway:
        jobs: Any = self.database.jobs
        return Gateway(Shared(jobs._pool, silence_seconds=3600))

    def step(self, what: str, index: int, number: int, tokens: int, dies: bool) -> None:
        if what == "begin":
            self.begin(index, number, dies)
        elif what == "end":
            self.end(index, tokens, dies)
        elif what == "kill":
            self.kill(index)
        elif what == "wake":
            self.wake(tokens)
        else:
            self.take_over(index)
        self.nothing_is_lost_or_charged_twice()

    def new_run(self) -> str:
        self.count += 1
        return f"run {self.count}"

    def begin(self, index: int, number: int, dies: bool) -> None:
        """A gateway lets a search in and makes it a job; it may die in between."""
        if number in self.done:
            return
        gateway, run = self.gateways[index], self.new_run()
        left = KEY.tokens - self.charged - sum(self.held.values()) if KEY.tokens else 0
        fits = len(self.owner) < KEY.concurrency and left > 0
        admitted = self.quotas.admit(KEY, record(number, run), estimate=HELD, ahead=HELD)
        if number not in self.owner and not fits:
            with pytest.raises(ApiError) as refused:
                self.do(admitted)
            assert refused.value.status == 429
            return
        grant = self.do(admitted)
        if number in self.owner:
            assert grant is None
            return
        assert grant is not None
        assert grant.tokens == left
        self.owner[number], self.held[number] = run, min(HELD, left)
        if dies:
            self.kill(index)
            return
        assert self.do(gateway.jobs.take(identity(number)))
        gateway.runs[number] = run

    def end(self, index: int, tokens: int, dies: bool) -> None:
        """A gateway saves and charges one of its runs; it may die before it ends the job."""
        gateway = self.gateways[index]
        if not gateway.runs:
            return
        number = min(gateway.runs)
        self.settle(number, gateway.runs.pop(number), tokens)
        if dies:
            self.kill(index)
        else:
            self.do(gateway.jobs.done(identity(number)))

    def settle(self, number: int, run: str, tokens: int) -> None:
        tokens = min(tokens, self.held.get(number, 0))
        charge = Charge(time.time(), tokens, 0)
        saved = self.do(self.records.settle(record(number, run, "done"), charge))
        assert saved is (self.owner.get(number) == run)
        if saved:
            self.charged += tokens
            self.done.add(number)
            del self.owner[number], self.held[number]

    def kill(self, index: int) -> None:
        """A gateway falls silent; another is started in its place."""
        silent, self.gateways[index] = self.gateways[index], self.new_gateway()
        self.dead.append(silent)
        stale = text(STALE).bindparams(name=silent.jobs._name)
        self.do(self.database.execute(stale))

    def wake(self, tokens: int) -> None:
        """Those that were only slow save what they had: all that nobody has taken over."""
        for silent in self.dead:
            for number, run in silent.runs.items():
                self.settle(number, run, tokens)
        self.dead.clear()

    def take_over(self, index: int) -> None:
        """A gateway goes on with what is nobody's."""
        gateway = self.gateways[index]
        self.do(gateway.jobs.offer(self.do(self.records.running())))
        for found in self.do(gateway.jobs.next(10)):
            number = int(found, 16)
            kept = self.do(self.records.find(found))
            if kept is None or kept.state != "running":
                self.do(gateway.jobs.done(found))
                continue
            alive = [one for one in self.gateways if self.owner[number] in one.runs.values()]
            assert not alive, "two have it"
            run = self.new_run()
            assert self.do(self.records.claim(kept, run))
            self.owner[number] = gateway.runs[number] = run

    def nothing_is_lost_or_charged_twice(self) -> None:
        async def read() -> tuple[Any, ...]:
            sums = await self.database.execute(
                text(
                    "SELECT (SELECT coalesce(sum(useful + wasted), 0) FROM spex_usage), "
                    "coalesce(sum(reserved), 0), count(*) FILTER (WHERE state = 'running'), "
                    "count(*) FILTER (WHERE state = 'done') FROM spex_searches"
                )
            )
            return tuple(sums.one())

        used, reserved, running, done = self.do(read())
        assert (used, reserved) == (self.charged, sum(self.held.values()))
        assert (running, done) == (len(self.owner), len(self.done))
        assert used + reserved <= (KEY.tokens or 0)
        assert running <= KEY.concurrency

    def come_to_an_end(self) -> None:
        """Whatever has happened, the gateways that are left come to the end of it."""
        for _ in range(2):
            for index in range(3):
                self.take_over(index)
                while self.gateways[index].runs:
                    self.end(index, HELD, dies=False)
        left = self.do(self.database.execute(text("SELECT count(*) FROM pgqueuer"))).scalar()
        assert (self.owner, left) == ({}, 0)


@pytest.mark.slow
def test_no_death_loses_a_search_or_charges_it_twice_or_lets_a_key_beyond_its_limits() -> None:
    with postgres() as server, asyncio.Runner() as runner:
        opened = open_database(server.url)
        database = runner.run(opened.__aenter__())

        @given(steps=STEPS)
        @settings(
            max_examples=12,
            derandomize=True,
            phases=[Phase.generate],  # to shrink what fails would take minutes
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def holds(steps: list[Any]) -> None:
            gateways = Kills(database, runner)
            for step in steps:
                gateways.step(*step)
            gateways.come_to_an_end()

        try:
            holds()
        finally:
            runner.run(opened.__aexit__(None, None, None))
