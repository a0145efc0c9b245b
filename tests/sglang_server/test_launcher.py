"""``spex serve`` with a real SGLang: up, down, killed and restarted."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from asking import QUESTION, TAG, becomes_idle, config, digest, until
from launching import Launched, Served, launch
from processes import PATIENCE, SPEX, eventually, name_of, writing_to

from spex_agents.engines.sglang.engine import SGLangEngine
from spex_agents.search import Rebase, Tree
from spex_agents.speculation.session import Session
from spex_agents.speculation.solving import run_to_end


def spex(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SPEX, *arguments], capture_output=True, text=True, check=False)


def scheduler(launched: Launched) -> int | None:
    """The process that holds the model, which is SGLang's child of a child."""
    found = (each for each in writing_to(launched.logs) if "scheduler" in name_of(each))
    return next(found, None)


def post(url: str, **body: object) -> dict[str, object]:
    answer = httpx.post(url, json=body, timeout=120, trust_env=False)
    found: dict[str, object] = answer.raise_for_status().json()
    return found


def test_policy_and_reward_answer(served: Served) -> None:
    sampling = {"max_new_tokens": 4, "temperature": 0}
    written = post(
        f"{served.policy}/generate", text="The capital of France is", sampling_params=sampling
    )
    assert "Paris" in str(written["text"])
    scored = post(f"{served.reward}/classify", model="reward", text="It is Paris.")
    embedding = scored["embedding"]
    assert isinstance(embedding, list)
    assert isinstance(embedding[0], float)


def test_metrics_are_served(served: Served) -> None:
    page = httpx.get(f"{served.policy}/metrics", timeout=30, trust_env=False).text
    assert "sglang:" in page


@pytest.fixture(scope="module")
def own(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Launched, str]]:
    """A server for the tests that kill it, and its address."""
    with launch(tmp_path_factory.mktemp("own"), "--policy", str(tiny)) as launched:
        yield launched, launched.ready()["policy"]["url"]


async def test_a_search_outlives_its_server(
    own: tuple[Launched, str], caplog: pytest.LogCaptureFixture
) -> None:
    launched, url = own
    async with SGLangEngine(url) as engine:

        async def search(session: Session) -> Tree:
            async with session:
                return (await run_to_end(session)).tree

        settings = config(engine, Rebase(width=4), ahead=True, step_tokens=150)
        undisturbed = await search(Session(settings, Tree(QUESTION, 8), run=f"{TAG}quiet"))
        session = Session(settings, Tree(QUESTION, 8), run=f"{TAG}killed")
        found: list[Tree] = []

        async def hunt() -> None:
            found.append(await search(session))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hunt)
            await until(lambda: len(session.tree) >= 4 and bool(session.memo.writing))
            killed = scheduler(launched)
            assert killed is not None
            os.kill(killed, signal.SIGKILL)
            begun = anyio.current_time()
            assert 0 < len(session.tree) < len(undisturbed)
        print(
            f"\nthe search went on, and ended {anyio.current_time() - begun:.0f} s after the kill"
        )
        assert digest(found[0]) == digest(undisturbed)
        assert await becomes_idle(engine)
    assert "is away" in caplog.text
    assert "restart 1" in (launched.logs / "launcher.log").read_text()
    assert scheduler(launched) not in (None, killed)
    await anyio.wait_all_tasks_blocked()


def test_a_server_dies_with_its_launcher(own: tuple[Launched, str]) -> None:
    launched, url = own
    assert post(f"{url}/generate", text="a", sampling_params={"max_new_tokens": 2})["text"]
    launched.process.kill()
    launched.process.wait()
    assert launched.nothing_left()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_start_that_is_interrupted(
    tiny: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with launch(tmp_path, "--policy", str(tiny)) as launched:
        # launcher, server, resource tracker and one of the server's children, still importing
        assert eventually(lambda: len(writing_to(launched.logs)) >= 4)
        launched.process.send_signal(number)
        assert launched.process.wait(PATIENCE) == (-9 if number == signal.SIGKILL else 0)
        assert launched.nothing_left()


def test_a_model_that_is_none_is_refused_with_the_end_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    ended = spex("serve", "--policy", str(tmp_path), "--port", "0", "--logs", str(tmp_path))
    assert ended.returncode == 3
    assert f"error: SGLang for {str(tmp_path)!r} (policy) died with exit code" in ended.stderr
    assert "policy.log ends:" in ended.stderr
    assert "Traceback (most recent call last):\n  File" not in ended.stderr


def test_a_taken_port_is_refused_at_once(tiny: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = spex("serve", "--policy", str(tiny), "--port", port)
    assert ended.returncode == 2
    assert f"127.0.0.1:{port} cannot be listened at" in ended.stderr


def test_doctor_finds_all_that_is_needed(tiny: Path) -> None:
    ended = spex("doctor", "--policy", str(tiny), "--port", "0", "--json")
    checks = {check["check"]: check for check in json.loads(ended.stdout)}
    assert [name for name, check in checks.items() if not check["ok"]] == []
    assert ended.returncode == 0
    assert checks["sglang"]["found"]


def test_doctor_says_what_to_do_about_a_missing_model() -> None:
    ended = spex("doctor", "--policy", "/no/such/model", "--port", "0", "--json")
    missing = [check for check in json.loads(ended.stdout) if not check["ok"]]
    assert ended.returncode == 1
    assert [check["check"] for check in missing] == ["policy"]
    assert "spex model convert" in missing[0]["remedy"]
