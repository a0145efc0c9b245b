"""The launcher keeps servers up, with a small server of ours in the place of SGLang."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import httpx
import pytest
from processes import eventually, writing_to

from spex_agents.errors import EngineError
from spex_agents.server.launch import launcher, plan
from spex_agents.server.launch.launcher import serve
from spex_agents.server.launch.plan import Status, Worker
from spex_agents.server.launch.settings import Serving

SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Healthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

print("loading", flush=True)
if sys.argv[1] != "broken":
    HTTPServer(("127.0.0.1", int(sys.argv[2])), Healthy).serve_forever()
"""


@pytest.fixture(autouse=True)
def small_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    def command(
        model: str,
        *,
        host: str,
        port: int,
        share: float,
        flags: Sequence[str] = (),
        visible: str | None = None,
    ) -> tuple[str, ...]:
        return (sys.executable, "-c", SERVER, model, str(port))

    def router_command(
        urls: Sequence[str], *, host: str, port: int, flags: Sequence[str] = ()
    ) -> tuple[str, ...]:
        return (sys.executable, "-c", SERVER, " ".join(urls), str(port))

    monkeypatch.setattr(launcher, "check_installed", lambda **_: None)
    monkeypatch.setattr(plan, "command", command)
    monkeypatch.setattr(plan, "router_command", router_command)


def serving(logs: Path, *, policy: str = "good", restarts: int = 2) -> Serving:
    return Serving(
        policy=policy, reward="good", port=0, logs=logs, restarts=restarts, restart_wait=0.05
    )


async def test_both_are_ready_in_the_block_and_gone_after_it(tmp_path: Path) -> None:
    async with serve(serving(tmp_path)) as servers:
        assert [worker.status for worker in servers.all] == [Status.READY, Status.READY]
        async with httpx.AsyncClient(trust_env=False) as client:
            for worker in servers.all:
                assert (await client.get(f"{worker.url}/health")).is_success
        assert len(writing_to(tmp_path)) == 2
    assert [worker.status for worker in servers.all] == [Status.STOPPED, Status.STOPPED]
    assert eventually(lambda: not writing_to(tmp_path))


async def test_a_server_that_died_is_restarted_until_it_died_too_often(tmp_path: Path) -> None:
    seen: list[tuple[str, Status]] = []

    def kill_if_ready(worker: Worker) -> None:
        seen.append((worker.name, worker.status))
        if worker.name == "policy" and worker.status is Status.READY:
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)

    with pytest.raises(EngineError, match="died with exit code -9") as caught:
        async with serve(serving(tmp_path), changed=kill_if_ready):
            await anyio.sleep_forever()
    assert str(tmp_path / "policy.log") in str(caught.value)
    policy = [status for name, status in seen if name == "policy"]
    assert policy == [
        *(Status.STARTING, Status.READY, Status.WAITING) * 2,
        *(Status.STARTING, Status.READY, Status.STOPPED),
    ]
    assert eventually(lambda: not writing_to(tmp_path))


async def test_a_server_that_never_becomes_ready_is_not_restarted(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"(?s)'broken' .*died with exit code 0.*loading"):
        async with serve(serving(tmp_path, policy="broken")):
            pytest.fail("began although a server was not ready")
    assert (tmp_path / "policy.log").read_text() == "loading\n"


async def test_an_error_in_the_block_stops_all_and_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with serve(serving(tmp_path)):
            raise ZeroDivisionError
    assert eventually(lambda: not writing_to(tmp_path))


async def test_several_workers_are_behind_a_router_that_starts_last(tmp_path: Path) -> None:
    seen: list[tuple[str, Status]] = []
    settings = Serving(
        policy="good", workers=2, worker_urls=("http://box:1",), port=0, logs=tmp_path
    )
    async with serve(
        settings, changed=lambda worker: seen.append((worker.name, worker.status))
    ) as servers:
        assert [worker.name for worker in servers.all] == ["policy-1", "policy-2", "router"]
        assert servers.router is not None
        urls = [*(worker.url for worker in servers.policies), "http://box:1"]
        assert servers.router.command()[3] == " ".join(urls)
        router_starts = seen.index(("router", Status.STARTING))
        for name in ("policy-1", "policy-2"):
            assert seen.index((name, Status.READY)) < router_starts
        assert len(writing_to(tmp_path)) == 3
    assert eventually(lambda: not writing_to(tmp_path))


async def test_a_router_alone_is_enough_for_workers_elsewhere(tmp_path: Path) -> None:
    settings = Serving(worker_urls=("http://box:1", "http://box:2"), port=0, logs=tmp_path)
    async with serve(settings) as servers:
        assert [worker.name for worker in servers.all] == ["router"]
    assert eventually(lambda: not writing_to(tmp_path))
