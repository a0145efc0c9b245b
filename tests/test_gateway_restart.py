"""A gateway that is killed, or told to stop, and its searches afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateways import ASKED, gateway, process
from processes import PATIENCE

from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.rewards import SimulatedReward
from spex_agents.search import Limits, Rebase
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.solving import Result, solve

SAME = {"Idempotency-Key": "homework-7"}
LONG = {**ASKED, "spex": {"depth": 12, "step_tokens": 64}}


def undisturbed() -> Result:
    """The search of `LONG`, with no gateway and no crash."""
    limits = Limits(depth=12, step_tokens=64)
    config = SearchConfig(
        engine=SimulatedEngine(), policy=Rebase(width=4), reward=SimulatedReward(), limits=limits
    )
    return run_virtual(solve(config, "What is 5 + 7?"))


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_to_the_same_answer(tmp_path: Path) -> None:
    expected = undisturbed()
    seen: list[dict[str, str]] = []
    last = ""
    with (
        process(tmp_path, "--speed", "20") as (run, address),
        httpx.Client(timeout=PATIENCE) as http,
    ):
        stream = {**LONG, "stream": True}
        with http.stream(
            "POST", f"{address}/v1/chat/completions", json=stream, headers=SAME
        ) as answer:
            path = f"/v1/searches/{answer.headers['X-Spex-Search-Id']}"
            with http.stream("GET", f"{address}{path}/events") as events:
                for line in events.iter_lines():
                    last = line.removeprefix("id: ") if line.startswith("id: ") else last
                    if line.startswith("data: "):
                        seen.append(json.loads(line.removeprefix("data: ")))
                    if len([event for event in seen if event.get("status") == "scored"]) >= 8:
                        break
                run.kill()
        assert run.wait() == -signal.SIGKILL
    committed = [event for event in seen if event.get("status") in ("accepted", "scored")]
    assert 0 < len(committed) < len(expected.tree) + len(expected.tree.rewards)

    with process(tmp_path, "--speed", "20") as (_, address), httpx.Client(timeout=PATIENCE) as http:
        rest = http.get(f"{address}{path}/events", headers={"Last-Event-ID": last})
        later = [
            json.loads(line.removeprefix("data: "))
            for line in rest.text.splitlines()
            if line.startswith("data: ")
        ]
        committed += [event for event in later if event.get("status") in ("accepted", "scored")]
        told = [(event["id"], event["status"]) for event in committed]
        assert len(set(told)) == len(told) == len(expected.tree) + len(expected.tree.rewards)
        assert later[-1]["tree_sha256"] == expected.tree.sha256()
        again = http.post(f"{address}/v1/chat/completions", json=LONG, headers=SAME)
        assert again.json()["choices"][0]["message"]["content"] == expected.answer
        assert again.json()["id"].endswith(path.rpartition("/")[2])


@pytest.mark.slow
def test_told_to_stop_it_lets_searches_end_and_takes_no_more(tmp_path: Path) -> None:
    with process(tmp_path, "--speed", "20", "--drain", "240") as (run, address):
        with (
            httpx.Client(timeout=PATIENCE) as http,
            http.stream(
                "POST", f"{address}/v1/chat/completions", json={**LONG, "stream": True}
            ) as answer,
        ):
            lines = answer.iter_lines()
            assert "assistant" in next(lines)
            run.send_signal(signal.SIGTERM)
            assert "data: [DONE]" in list(lines)
        assert run.wait(PATIENCE) in (0, -signal.SIGTERM)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{address}/healthz")


async def test_a_search_that_nobody_waits_for_may_end_too(tmp_path: Path) -> None:
    database = str(tmp_path / "gateway.sqlite")
    async with (
        gateway(speed=20, database=database, drain_seconds=PATIENCE) as running,
        running.http() as http,
    ):
        path = (await http.post("/v1/searches", json=LONG)).headers["Location"]
        assert (await http.get(path)).json()["state"] == "running"
    async with gateway(served=False, database=database) as running, running.http() as http:
        assert (await http.get(path)).json()["state"] == "done"
        assert running.engine.decoded_tokens == 0


async def test_who_asks_while_searches_may_end_is_refused_in_words() -> None:
    async with gateway(speed=1, drain_seconds=PATIENCE) as running, running.http() as http:
        path = (await http.post("/v1/searches", json=LONG)).headers["Location"]
        draining = asyncio.create_task(running.parts.searches.drain())
        await asyncio.sleep(0)  # it has begun
        assert running.parts.searches.runs.draining
        for _ in range(2):  # a new connection each
            refused = await http.post("/v1/chat/completions", json=ASKED)
            assert (refused.status_code, refused.headers["Connection"]) == (503, "close")
        assert (await http.get(path)).json()["state"] == "running"
        running.parts.searches.put_off()
        await draining


@pytest.mark.slow
def test_ctrl_c_again_puts_off_what_runs_and_closes_in_order(tmp_path: Path) -> None:
    expected = undisturbed()
    with process(tmp_path, "--speed", "1", "--drain", "600") as (run, address):
        path = httpx.post(f"{address}/v1/searches", json=LONG).headers["Location"]
        with (
            httpx.Client(timeout=PATIENCE) as http,
            http.stream(
                "POST", f"{address}/v1/chat/completions", json={**LONG, "stream": True}
            ) as answer,
        ):
            told = answer.iter_lines()
            assert "assistant" in next(told)
            run.send_signal(signal.SIGINT)
            while httpx.get(f"{address}/readyz").status_code == 200:
                pass
            run.send_signal(signal.SIGINT)
            assert '"stopping"' in "".join(told)
        run.send_signal(signal.SIGINT)
        assert run.wait(PATIENCE) == 130
    *lines, last = (tmp_path / "log").read_text().splitlines()
    assert {json.loads(line)["level"] for line in lines} == {"info"}
    assert last == "interrupted"
    with process(tmp_path, "--speed", "100") as (_, address):
        end = httpx.get(f"{address}{path}/events", timeout=PATIENCE).text
        assert expected.tree.sha256() in end


@pytest.mark.slow
def test_what_does_not_end_in_time_is_put_off_to_the_next_start(tmp_path: Path) -> None:
    expected = undisturbed()
    with process(tmp_path, "--speed", "1", "--drain", "0.5") as (run, address):
        with (
            httpx.Client(timeout=PATIENCE) as http,
            http.stream(
                "POST",
                f"{address}/v1/chat/completions",
                json={**LONG, "stream": True},
                headers=SAME,
            ) as answer,
        ):
            path = f"/v1/searches/{answer.headers['X-Spex-Search-Id']}"
            lines = answer.iter_lines()
            while "reasoning_content" not in next(lines):
                pass
            run.send_signal(signal.SIGTERM)
            rest = "".join(lines)
            assert '"stopping"' in rest
            assert "[DONE]" not in rest
        assert run.wait(PATIENCE) in (0, -signal.SIGTERM)
    with process(tmp_path, "--speed", "100") as (_, address):
        end = httpx.get(f"{address}{path}/events", timeout=PATIENCE).text
        assert expected.tree.sha256() in end


async def test_what_becomes_of_each_kind_of_search_when_a_gateway_stops(tmp_path: Path) -> None:
    database = str(tmp_path / "gateway.sqlite")
    hosting: dict[str, Any] = {"drain_seconds": 0.01, "database": database, "served": False}
    async with gateway(speed=2, **hosting) as running, running.http() as http:
        runs = running.parts.searches.runs
        background = (await http.post("/v1/searches", json=LONG)).headers["Location"]
        asked = [
            asyncio.create_task(http.post("/v1/chat/completions", json=LONG, headers=headers))
            for headers in (SAME, {})
        ]
        async with asyncio.timeout(PATIENCE):
            while len(runs.searches) < 3:  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.01)
        await running.decoded(200)
        again, never = (
            f"/v1/searches/{one.id}"
            for wanted in (True, False)
            for one in runs.searches
            if not one.background and one.idempotent is wanted
        )
        await running.parts.searches.drain()
        for one in asked:
            answer = await one
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "stopping")
        refused = await http.post("/v1/searches", json=LONG)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "stopping")
    async with gateway(**{**hosting, "drain_seconds": 5.0}) as running, running.http() as http:
        for path in (background, again):
            await http.get(f"{path}/events")  # to their ends
            assert (await http.get(path)).json()["state"] == "done"
        assert (await http.get(never)).json()["state"] == "suspended"


async def test_searches_that_have_ended_are_found_after_a_restart(tmp_path: Path) -> None:
    database = str(tmp_path / "gateway.sqlite")
    async with gateway(served=False, database=database) as running, running.http() as http:
        done = await http.post("/v1/chat/completions", json=ASKED, headers=SAME)
        path = f"/v1/searches/{done.headers['X-Spex-Search-Id']}"
        before = (await http.get(path)).json()
    assert os.stat(database).st_mode & 0o077 == 0
    assert os.stat(f"{database}.lock").st_mode & 0o077 == 0  # else others could hold it
    async with gateway(served=False, database=database) as running, running.http() as http:
        assert (await http.get(path)).json() == before
        again = await http.post("/v1/chat/completions", json=ASKED, headers=SAME)
        assert again.json()["choices"] == done.json()["choices"]
        assert running.engine.decoded_tokens == 0


async def test_old_searches_are_forgotten(tmp_path: Path) -> None:
    database = str(tmp_path / "gateway.sqlite")
    async with gateway(served=False, database=database) as running, running.http() as http:
        done = await http.post("/v1/chat/completions", json=ASKED)
        path = f"/v1/searches/{done.headers['X-Spex-Search-Id']}"
    await asyncio.sleep(0.05)
    async with (
        gateway(served=False, database=database, keep_seconds=0.01) as running,
        running.http() as http,
    ):
        async with asyncio.timeout(PATIENCE):
            while (await http.get(path)).status_code != 404:  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.05)
