"""Real SGLang servers for all tests of this directory, each started once by ``spex serve``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path

import anyio
import pytest
from asking import becomes_idle
from launching import RIDGE, Served, launch
from processes import SPEX

from spex_agents.engines.sglang.engine import SGLangEngine

MODELS = Path(
    os.environ.get("SPEX_TEST_MODELS", Path(__file__).parents[2] / ".venv-sglang" / "models")
)
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.sglang)
            if find_spec("sglang") is None:
                item.add_marker(pytest.mark.skip(reason="needs SGLang: make test-sglang"))


def _model(name: str, *command: str) -> Path:
    directory = MODELS / name
    if not (directory / "config.json").exists():
        subprocess.run([*command, str(directory)], check=True)
    return directory


def _tiny(name: str, kind: str) -> Path:
    code = (
        "import sys; from pathlib import Path; "
        "from spex_agents.server.launch.models import tiny_random; "
        f"tiny_random(Path(sys.argv[1]), {kind!r})"
    )
    return _model(name, sys.executable, "-c", code)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The directory of a small real model."""
    return _model("smollm2", *SPEX, "model", "convert", "--gguf", "smollm2", "--out")


@pytest.fixture(scope="session")
def tiny() -> Path:
    """The directory of a random text model."""
    return _tiny("tiny", "policy")


@pytest.fixture(scope="session")
def tiny_reward() -> Path:
    """The directory of a random reward head."""
    return _tiny("tiny-reward", "reward")


@pytest.fixture(scope="session")
def served(
    smollm2: Path, tiny_reward: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A small real policy and a random reward head, with the plugin."""
    logs = tmp_path_factory.mktemp("served")
    with launch(logs, "--policy", str(smollm2), "--reward", str(tiny_reward)) as launched:
        ready = launched.ready()
        policy, reward = ready["policy"]["url"], ready["reward"]["url"]
        yield Served(policy=policy, reward=reward, logs=logs)


@pytest.fixture(scope="session")
def scheduled(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A random model with the plugin and a ridge of its own."""
    logs = tmp_path_factory.mktemp("scheduled")
    with launch(logs, "--policy", str(tiny), env={"SPEX_RIDGE": str(RIDGE)}) as launched:
        yield launched.ready()["policy"]["url"]


@pytest.fixture
async def engine(scheduled: str) -> AsyncIterator[SGLangEngine]:
    async with SGLangEngine(scheduled, retries=0) as opened:
        await opened.describe()
        yield opened
        assert await becomes_idle(opened)
    await anyio.wait_all_tasks_blocked()  # the client's streams end in the garbage collector


@pytest.fixture
async def small(served: Served) -> AsyncIterator[SGLangEngine]:
    """The small real model, and the reward head beside it."""
    async with SGLangEngine(served.policy, reward_url=served.reward) as opened:
        yield opened
    await anyio.wait_all_tasks_blocked()
