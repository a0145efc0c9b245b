"""A real SGLang without the plugin: everything works, less well, and the engine says so."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest
from launching import launch

from spex_agents.engines.base import Message, Prompt, Request, Sampling
from spex_agents.engines.sglang import SGLangEngine, engine_at
from spex_agents.rewards.confidence import Confidence
from spex_agents.search import Limits, Rebase
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.solve import solve

PROMPT = Prompt((Message("user", "Tell me about apples."),))


@pytest.fixture(scope="module")
def plain(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    logs = tmp_path_factory.mktemp("plain")
    with launch(logs, "--policy", str(tiny), "--no-plugin") as launched:
        yield launched.ready()["policy"]["url"]


@pytest.fixture
async def engine(plain: str) -> AsyncIterator[SGLangEngine]:
    async with SGLangEngine(plain) as opened:
        yield opened
    await anyio.wait_all_tasks_blocked()  # the client's streams end in the garbage collector


async def test_the_engine_says_what_is_lost(engine: SGLangEngine) -> None:
    described = await engine.describe()
    for lost in ("admission", "abort", "promotion", "seeds", "counters"):
        assert f"no {lost}" in described
    assert not engine.features.promotion
    assert engine.features.exactness == "unseeded"


async def test_the_engine_is_chosen_for_it(plain: str) -> None:
    chosen = await anyio.to_thread.run_sync(lambda: engine_at(f"{plain}/v1"))
    assert type(chosen) is SGLangEngine


async def test_a_search_ends(engine: SGLangEngine) -> None:
    config = SearchConfig(
        engine=engine,
        policy=Rebase(width=3),
        reward=Confidence(),
        limits=Limits(depth=2, step_tokens=8, path_tokens=16),
    )
    result = await solve(config, "What is 3 + 4?", seed=1)
    assert len(result.tree.thoughts) >= 3


async def test_cancelled_calls_are_aborted_and_counted(engine: SGLangEngine) -> None:
    requests = [Request(id=f"plain/{i}/thought-1", seed=i) for i in range(4)]

    async def write(request: Request) -> None:
        sampling = Sampling(stop=())
        await engine.generate(PROMPT, request, sampling=sampling, max_tokens=4000)

    async with anyio.create_task_group() as tasks:
        for request in requests:
            tasks.start_soon(write, request)
        with anyio.fail_after(30):
            while min(request.tokens for request in requests) < 5:  # noqa: ASYNC110 (nobody tells)
                await anyio.sleep(0.02)
        begun = time.monotonic()
        tasks.cancel_scope.cancel()
    assert time.monotonic() - begun < 1.5
    with anyio.fail_after(2):
        while (load := await engine.load()).running or load.waiting:  # noqa: ASYNC110 (nor now)
            await anyio.sleep(0.05)
