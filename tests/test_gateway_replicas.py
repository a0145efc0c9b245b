"""Several gateways on one PostgreSQL: nothing is lost, nothing is charged twice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from gateways import ASKED, Running, gateway
from postgres import Postgres, postgres
from processes import PATIENCE, SPEX

from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.rewards import SimulatedReward
from spex_agents.search import Limits, Rebase
from spex_agents.server.gateway import replicas
from spex_agents.server.gateway.database import open_database
from spex_agents.server.gateway.keyring import ANYONE
from spex_agents.server.gateway.keys import Key, KeyStore
from spex_agents.server.gateway.records import Charge, Records
from spex_agents.server.gateway.replicas import Shared
from spex_agents.server.gateway.requests import ChatRequest
from spex_agents.server.gateway.search import Search
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.solving import solve

pytestmark = pytest.mark.slow

PATH = "/v1/chat/completions"
LEFT = """SELECT (SELECT count(*) FROM checkpoints), (SELECT count(*) FROM checkpoint_blobs),
(SELECT count(*) FROM checkpoint_writes), (SELECT count(*) FROM pgqueuer)"""
LONG = {**ASKED, "spex": {"depth": 4, "step_tokens": 64}}


@pytest.fixture(scope="module")
def running() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture
def server(running: Postgres) -> Postgres:
    return running.with_database()


class Patient(Shared):
    """Takes no gateway for dead, however long the machine keeps it from saying that it is there."""

    def __init__(self, pool: Any) -> None:
        super().__init__(pool, silence_seconds=3600)
        self.seconds = 0.2


@pytest.fixture
def nobody_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "Shared", Patient)


@pytest.fixture
async def pair(server: Postgres, nobody_dies: None) -> AsyncIterator[tuple[Running, Running]]:
    async with (
        gateway(database=server.url, speed=5) as one,
        gateway(database=server.url, speed=5) as other,
    ):
        yield one, other


async def test_a_search_is_followed_and_deleted_from_any_replica(
    pair: tuple[Running, Running], server: Postgres
) -> None:
    one, other = pair
    async with one.http() as here, other.http() as there:
        path = (await here.post("/v1/searches", json=ASKED)).headers["Location"]
        events = (await there.get(f"{path}/events")).text
        told = [json.loads(line[6:]) for line in events.splitlines() if line[:6] == "data: "]
        own = await here.get(f"{path}/events")
        assert told[-1]["state"] == "done"
        accepted = [row["id"] for row in told if row.get("status") == "accepted"]
        assert len(accepted) == len(set(accepted)) == own.text.count('"accepted"')
        assert other.engine.decoded_tokens == 0
        gone = (await here.post("/v1/searches", json={**LONG, "seed": 1})).headers["Location"]
        deleted = await there.delete(gone)
        assert deleted.status_code == 204, deleted.text
        await one.idle()
        assert (await here.get(gone)).status_code == 404
        with psycopg.connect(server.url, autocommit=True) as connection:
            # Who looked for searches before may offer it yet, and finds then that it is none.
            async with asyncio.timeout(PATIENCE):
                while connection.execute(LEFT).fetchall() != [(0, 0, 0, 0)]:  # noqa: ASYNC110 (no event)
                    await asyncio.sleep(0.05)


async def test_the_same_idempotency_key_is_one_search_whatever_replica_is_asked(
    pair: tuple[Running, Running],
) -> None:
    one, other = pair
    same = {"Idempotency-Key": "homework-7"}
    async with one.http() as here, other.http() as there:
        asked = [http.post(PATH, json=ASKED, headers=same) for http in (here, there)]
        first, second = await asyncio.gather(*asked)
        assert first.json()["choices"] == second.json()["choices"]
        assert (one.engine.decoded_tokens == 0) is not (other.engine.decoded_tokens == 0)
        assert len((await there.get("/v1/searches")).json()["data"]) == 1


async def test_a_search_whose_gateway_died_before_it_was_a_job_is_gone_on_with(
    pair: tuple[Running, Running],
) -> None:
    one, other = pair
    search = Search(
        id="5" * 32,
        owner=ANYONE.name,
        created=time.time(),
        request=ChatRequest.model_validate(ASKED),
        background=True,
        run="of a gateway that is gone",
    )
    quotas = one.parts.searches.quotas
    assert await quotas.admit(ANYONE, search.record(), estimate=100, ahead=100) is not None
    async with other.http() as http, asyncio.timeout(PATIENCE):
        while (await http.get(f"/v1/searches/{search.id}")).json()["state"] != "done":  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.2)
    await one.idle()
    assert (one.engine.decoded_tokens == 0) is not (other.engine.decoded_tokens == 0)


@pytest.mark.usefixtures("nobody_dies")
async def test_a_gateway_that_lost_a_search_runs_it_no_further_and_saves_nothing(
    server: Postgres,
) -> None:
    async with gateway(database=server.url, speed=0.2) as running, running.http() as http:
        records = running.parts.searches.records
        path = (await http.post("/v1/searches", json=LONG)).headers["Location"]
        await running.decoded(1)
        (identity,) = await records.running()
        found = await records.find(identity)
        assert found is not None
        assert await records.claim(found, "of another gateway")
        await running.idle()  # long before the search could have ended
        assert (await http.get(path)).json()["state"] == "running"
        winner = Search.from_record(replace(found, run="of another gateway", state="suspended"))
        assert await records.settle(winner.record(), Charge(time.time(), 0, 0))
        async with asyncio.timeout(PATIENCE):
            while (await http.get(path)).json()["state"] != "suspended":  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.1)
        assert (await http.delete(path)).status_code == 204
    with psycopg.connect(server.url) as connection:
        spent = connection.execute("SELECT sum(useful + wasted) FROM spex_usage").fetchall()
    assert spent == [(0,)]


async def test_a_job_that_was_taken_for_another_client_is_begun_once(server: Postgres) -> None:
    first, second = "a" * 32, "b" * 32
    async with open_database(server.url) as database:  # no gateway's, which would look for jobs
        shared: Any = database.jobs
        jobs = Shared(shared._pool, silence_seconds=3600)
        for client_is_sooner in (True, False):
            await jobs.offer([first])  # as its client does, who is sooner at the queue alone
            assert await jobs.take(second)
            if client_is_sooner:
                assert await jobs.take(first)
                assert await jobs.next(9) == []
            else:
                assert await jobs.next(9) == [first]
                assert not await jobs.take(first)
            for identity in (first, second):
                await jobs.done(identity)


async def test_a_gateway_about_to_stop_leaves_what_it_took_for_nobody_to_others_at_once(
    server: Postgres,
) -> None:
    first, second = "a" * 32, "b" * 32
    async with gateway(database=server.url) as running:
        jobs: Any = running.parts.searches.database.jobs
        others = Shared(jobs._pool, silence_seconds=3600)
        running.parts.searches.runs.leaving = True
        given, give_back = asyncio.Event(), jobs.give_back

        async def giving() -> None:
            given.set()
            await give_back()

        jobs.give_back = giving
        await given.wait()  # so that no look for jobs is under way, of before it was to stop
        await jobs.offer([first])
        assert await jobs.take(second)
        async with asyncio.timeout(PATIENCE):
            while not (found := await others.next(9)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert found == [first]
        await others.done(first)
        await jobs.done(second)


@pytest.mark.usefixtures("nobody_dies")
async def test_a_gateway_that_waits_for_its_records_still_says_that_it_is_there(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    never, beaten, beats = asyncio.Event(), asyncio.Event(), 0

    async def waiting(*_: object) -> Any:
        await never.wait()

    async def beat(_: Shared) -> None:
        nonlocal beats
        beats += 1
        if beats > 3:
            beaten.set()

    monkeypatch.setattr(Records, "runs_of", waiting)
    monkeypatch.setattr(Shared, "beat", beat)
    async with gateway(database=server.url), asyncio.timeout(PATIENCE):
        await beaten.wait()


@pytest.mark.usefixtures("nobody_dies")
async def test_who_waits_for_another_gateways_search_is_told_that_this_one_stops(
    server: Postgres,
) -> None:
    same = {"Idempotency-Key": "homework-8"}
    async with (
        gateway(database=server.url, speed=1) as one,
        gateway(database=server.url, drain_seconds=0.1) as other,
        one.http() as here,
        other.http() as there,
    ):
        path = (await here.post("/v1/searches", json=LONG, headers=same)).headers["Location"]
        body = {**LONG, "stream": True}
        async with there.stream("POST", PATH, json=body, headers=same) as answer:
            lines = answer.aiter_lines()
            assert "assistant" in await anext(lines)
            await other.parts.searches.drain()
            assert '"stopping"' in "".join([line async for line in lines])
        assert (await here.get(path)).json()["state"] == "running"
        assert (await here.delete(path)).status_code == 204


@pytest.mark.usefixtures("nobody_dies")
async def test_keys_and_quotas_are_shared(server: Postgres) -> None:
    keys = KeyStore(server.url)
    secret = keys.create(Key(name="tutors", concurrency=2))
    async with (
        gateway(keys=keys, speed=2) as one,
        gateway(keys=keys, speed=2) as other,
        one.http(secret) as here,
        other.http(secret) as there,
    ):
        begun = [await http.post("/v1/searches", json=ASKED) for http in (here, there)]
        assert [answer.status_code for answer in begun] == [202, 202]
        for http in (here, there):
            assert (await http.post(PATH, json=ASKED)).status_code == 429
        for answer in begun:
            assert (await here.delete(answer.headers["Location"])).status_code == 204


async def test_a_restart_of_the_database_is_outlived(server: Postgres) -> None:
    async with gateway(database=server.url, speed=300) as running, running.http() as http:
        assert (await http.post(PATH, json=ASKED)).status_code == 200
        await asyncio.to_thread(server.stop)
        away = await http.post(PATH, json=ASKED)
        assert (away.status_code, away.json()["error"]["code"]) == (503, "storage_away")
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/readyz")).json()["storage"] == "storage_away"
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(PATIENCE):
            while (await http.post(PATH, json=ASKED)).status_code != 200:  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.2)


@pytest.fixture
def expected() -> list[str]:
    """The trees of `LONG`, with no gateway and no crash."""
    return [_undisturbed(seed) for seed in range(5)]


def _undisturbed(seed: int) -> str:
    config = SearchConfig(
        engine=SimulatedEngine(),
        policy=Rebase(width=4),
        reward=SimulatedReward(),
        limits=Limits(depth=4, step_tokens=64),
    )
    return run_virtual(solve(config, "What is 5 + 7?", seed=seed)).tree.sha256()


class Fleet:
    """Gateways in processes of their own, each killed and replaced."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory, self.url = directory, url
        self.started: list[subprocess.Popen[str]] = []
        self.serving: list[tuple[subprocess.Popen[str], str]] = []

    async def start(self) -> None:
        def begin() -> None:
            command = [*SPEX, "gateway", "--port", "0", "--engine", "simulated", "--unready", "1"]
            with (self.directory / "log").open("a") as log:
                process = subprocess.Popen(
                    [*command, "--speed", "20", "--drain", "1"],
                    cwd=self.directory,
                    env={**os.environ, "SPEX_DATABASE": self.url},
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
            self.started.append(process)
            assert process.stdout is not None
            address = process.stdout.readline().strip().removesuffix("/v1")
            assert address, (self.directory / "log").read_text()
            self.serving.append((process, address))

        await asyncio.to_thread(begin)

    async def end_oldest(self, how: signal.Signals) -> None:
        process, _ = self.serving.pop(0)
        self.started.remove(process)
        await _end(process, how)

    async def end_all(self, how: signal.Signals) -> None:
        while self.started:
            await _end(self.started.pop(), how)


async def _end(process: subprocess.Popen[str], how: signal.Signals) -> None:
    process.send_signal(how)
    await asyncio.to_thread(process.wait, PATIENCE)
    assert process.stdout is not None
    process.stdout.close()


async def _ask(fleet: Fleet, number: int) -> str:
    """The hash of a search's tree, asked for until it is there, as a client would."""
    headers = {"Idempotency-Key": f"client-{number}"}
    async with httpx.AsyncClient(timeout=60) as http:
        while True:
            try:
                _, address = fleet.serving[number % len(fleet.serving)]
                answer = await http.post(
                    f"{address}{PATH}", json={**LONG, "seed": number % 5}, headers=headers
                )
            except httpx.TransportError:  # its gateway was killed
                await asyncio.sleep(0.2)
                continue
            if answer.status_code == 200:
                return str(answer.json()["spex"]["tree_sha256"])
            assert answer.status_code in (429, 503), answer.text
            await asyncio.sleep(0.2)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_three_gateways_are_ended_in_turn_under_fifty_clients(
    tmp_path: Path, server: Postgres, expected: list[str], how: signal.Signals
) -> None:
    fleet = Fleet(tmp_path, server.url)
    try:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(fleet.end_all, how)
            await asyncio.gather(*(fleet.start() for _ in range(3)))
            clients = [asyncio.create_task(_ask(fleet, number)) for number in range(50)]
            for _ in range(3):
                await asyncio.sleep(1)
                await fleet.end_oldest(how)
                await fleet.start()
            async with asyncio.timeout(PATIENCE):
                trees = await asyncio.gather(*clients)
                await _no_job_left(server.url)
            assert trees == [expected[number % 5] for number in range(50)]
    finally:
        log = (tmp_path / "log").read_text()
    with psycopg.connect(server.url) as connection:
        states = connection.execute(
            "SELECT state, count(*), sum(reserved) FROM spex_searches GROUP BY state"
        ).fetchall()
    assert states == [("done", 50, 0)], log[-3000:]
    if how is signal.SIGTERM:  # who is killed may have saved an end and not logged it
        assert log.count('"state": "done"') >= 50


async def _no_job_left(url: str) -> None:
    """Wait for it: who was killed after it saved a search has left its job to another to end."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        left = "SELECT count(*) FROM pgqueuer"
        while await (await connection.execute(left)).fetchone() != (0,):  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.2)
