"""A gateway of several processes: one address, one sum of figures, none of them missed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateways import ASKED, process
from postgres import Postgres, postgres
from processes import PATIENCE, SPEX, eventually
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from typer.testing import CliRunner

from spex_agents.cli import app
from spex_agents.server.gateway.metrics import TOGETHER, Metrics

PATH = "/v1/chat/completions"


@pytest.fixture(scope="module")
def running() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture
def server(running: Postgres) -> Postgres:
    return running.with_database()


def two_at(server: Postgres) -> tuple[str, ...]:
    return ("--workers", "2", "--database", server.url, "--open-metrics")


def test_several_processes_need_a_database_that_can_be_shared(tmp_path: Path) -> None:
    file = tmp_path / "mine.sqlite"
    command = ["gateway", "--workers", "2", "--engine", "simulated", "--database", str(file)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert "PostgreSQL" in done.stderr
    assert not file.exists()
    assert CliRunner().invoke(app, ["gateway", "--workers", "0"]).exit_code == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--engine", "embedded", "--database", "postgresql:///x"), "embedded"),
        (("--engine", "simulated", "--database", "postgresql:///x?host=/nowhere"), "PostgreSQL"),
    ],
)
def test_why_no_worker_could_begin_is_told_by_their_parent(
    arguments: tuple[str, ...], words: str
) -> None:
    done = CliRunner().invoke(app, ["gateway", "--port", "0", "--workers", "2", *arguments])
    assert done.exit_code == 2
    assert words in done.stderr


def figures(address: str) -> dict[str, float]:
    page = httpx.get(f"{address}/metrics", timeout=PATIENCE).raise_for_status()
    lines = [line.rsplit(" ", 1) for line in page.text.splitlines() if line[:1] != "#"]
    return {name: float(value) for name, value in lines}


def workers(address: str) -> set[int]:
    """Their process ids, as the metrics name them."""
    named = [
        re.match(r'process_start_time_seconds\{pid="(\d+)"\}', one) for one in figures(address)
    ]
    return {int(one[1]) for one in named if one is not None}


def test_a_worker_that_has_only_just_begun_does_not_cost_the_others_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = MmapedDict(str(tmp_path / "counter_1.db"))  # type: ignore[no-untyped-call]
    told.write_value(mmap_key("spex_asked", "spex_asked_total", [], [], "Asked."), 3.0, 0.0)  # type: ignore[no-untyped-call]
    told.close()  # type: ignore[no-untyped-call]
    (tmp_path / "counter_2.db").touch()  # as a killed one leaves it
    (tmp_path / "gauge_livesum_3.db").symlink_to(tmp_path / "removed")
    monkeypatch.setenv(TOGETHER, str(tmp_path))
    assert "spex_asked_total 3.0" in Metrics().page().decode()


async def ask(address: str, number: int) -> Any:
    """Ask until there is an answer, as a client would whose connection breaks."""
    async with httpx.AsyncClient(timeout=PATIENCE) as http:
        while True:
            try:
                answer = await http.post(
                    f"{address}{PATH}",
                    json={**ASKED, "seed": number % 3},
                    headers={"Idempotency-Key": f"client-{number}"},
                )
            except httpx.TransportError:  # its worker was killed
                continue
            if answer.status_code == 200:
                return answer.json()["spex"]["tree_sha256"]
            assert answer.status_code == 503, answer.text
            await asyncio.sleep(0.2)


@pytest.mark.slow
async def test_workers_share_an_address_and_figures_and_one_that_is_killed_is_replaced(
    tmp_path: Path, server: Postgres
) -> None:
    with process(tmp_path, *two_at(server), "--speed", "20") as (_, address):
        first = await asyncio.gather(*(ask(address, number) for number in range(6)))
        assert first[:3] == first[3:]
        answered = f'spex_gateway_requests_total{{route="{PATH}",status="200"}}'
        assert await asyncio.to_thread(
            eventually, lambda: figures(address).get(answered) == 6, PATIENCE
        )
        before = workers(address)
        assert len(before) == 2
        asked = [asyncio.create_task(ask(address, number)) for number in range(6, 18)]
        await asyncio.sleep(0.5)  # some will run in it, and whichever do not are no loss
        killed = min(before)
        os.kill(killed, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE):
            assert await asyncio.gather(*asked) == [first[number % 3] for number in range(6, 18)]

        def replaced() -> bool:
            now = workers(address)
            return len(now) == 2 and killed not in now

        assert await asyncio.to_thread(eventually, replaced, PATIENCE)
        assert figures(address)[answered] >= 6  # those of the dead are not forgotten


@pytest.mark.slow
async def test_all_workers_drain_before_they_stop(tmp_path: Path, server: Postgres) -> None:
    with process(tmp_path, *two_at(server), "--speed", "10", "--drain", "240") as (parent, address):
        async with httpx.AsyncClient(base_url=address, timeout=PATIENCE) as http:
            async with http.stream("POST", PATH, json={**ASKED, "stream": True}) as answer:
                lines = answer.aiter_lines()
                assert "assistant" in await anext(lines)
                parent.send_signal(signal.SIGTERM)
                rest = [line async for line in lines]
            assert "data: [DONE]" in rest
            assert await asyncio.to_thread(parent.wait, PATIENCE) == 0
            with pytest.raises(httpx.ConnectError):
                await http.get("/healthz")


@pytest.mark.slow
def test_workers_whose_parent_is_killed_stop(tmp_path: Path, server: Postgres) -> None:
    with process(tmp_path, *two_at(server)) as (parent, address):
        left = workers(address)
        parent.kill()
        parent.wait()
        assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left), PATIENCE)


IMPATIENT = (
    *SPEX[:-1],
    f"from spex_agents.server.gateway import workers; workers.SILENCE_SECONDS = 5.0; {SPEX[-1]}",
)


@pytest.mark.slow
async def test_a_worker_that_hangs_is_killed_and_replaced(tmp_path: Path, server: Postgres) -> None:
    with process(tmp_path, *two_at(server), command=IMPATIENT) as (parent, address):
        before = workers(address)
        hanging = max(before)
        os.kill(hanging, signal.SIGSTOP)
        assert await asyncio.to_thread(
            eventually, lambda: not Path(f"/proc/{hanging}").exists(), PATIENCE
        )
        assert '"a worker hangs"' in (tmp_path / "log").read_text()

        def replaced() -> bool:
            try:
                now = workers(address)
            except httpx.TransportError:  # it had taken this connection
                return False
            return len(now) == 2 and hanging not in now

        assert await asyncio.to_thread(eventually, replaced, PATIENCE)
        async with asyncio.timeout(PATIENCE):
            assert await ask(address, 0)
        assert parent.poll() is None


@pytest.mark.slow
def test_a_worker_that_hangs_does_not_keep_the_others_from_stopping(
    tmp_path: Path, server: Postgres
) -> None:
    with process(tmp_path, *two_at(server), command=IMPATIENT) as (parent, address):
        os.kill(max(workers(address)), signal.SIGSTOP)
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(PATIENCE) == 0
