"""Two real SGLangs behind a real router, kept by ``spex serve --workers 2``."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
from launching import Launched, launch
from processes import PATIENCE

from spex_agents.engines.base import Load, Request, Sampling
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.engines.sglang.engine import SGLangEngine, engine_at
from spex_agents.errors import EngineError
from spex_agents.rewards.confidence import Confidence
from spex_agents.search import Limits, Rebase, Tree
from spex_agents.speculation.config import SearchConfig, Speculation
from spex_agents.speculation.session import Session
from spex_agents.speculation.solving import Result, run_to_end, solve

RIDGE = 4
WORKERS = ("policy-1", "policy-2")
TAG = uuid4().hex[:8]
"""Begins all ids: none is ever sent twice."""
QUESTION = "Ann has 3 apples and buys 4 more. How many has she?"


class Fleet:
    """A running ``spex serve`` with its addresses."""

    def __init__(self, launched: Launched) -> None:
        self.launched = launched
        self.servers = launched.ready()

    @property
    def router(self) -> str:
        return self.servers["router"]["url"]

    @property
    def urls(self) -> list[str]:
        return [self.servers[name]["url"] for name in WORKERS]


@pytest.fixture(scope="module")
def fleet(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two random models with the plugin and a ridge of 4, which take requests in turn."""
    arguments = ("--policy", str(tiny), "--workers", "2", "--router-flags=--policy round_robin")
    os.environ["SPEX_RIDGE"] = str(RIDGE)
    try:
        with launch(tmp_path_factory.mktemp("fleet"), *arguments) as launched:
            yield Fleet(launched)
    finally:
        del os.environ["SPEX_RIDGE"]


@asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncIterator[SGLangEngine]:
    async with SGLangEngine(url, **settings) as engine:
        await engine.describe()
        yield engine
    await anyio.wait_all_tasks_blocked()  # the client's streams end in the garbage collector


@pytest.fixture
async def engine(fleet: Fleet) -> AsyncIterator[SGLangEngine]:
    """At the router."""
    async with opened(fleet.router, retries=0) as found:
        yield found


@pytest.fixture
async def each(fleet: Fleet) -> AsyncIterator[list[SGLangEngine]]:
    """At each worker, to look at it."""
    async with opened(fleet.urls[0]) as first, opened(fleet.urls[1]) as second:
        yield [first, second]


async def loads(each: list[SGLangEngine]) -> list[Load]:
    return [await engine.load() for engine in each]


async def counters(each: list[SGLangEngine], name: str) -> list[int]:
    answers = [await engine.server.ask("/server_info") for engine in each]
    return [found[0]["internal_states"][0]["spex"]["counters"][name] for found in answers]


async def until_loads(each: list[SGLangEngine], holds: Callable[[Load], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not all(map(holds, await loads(each))):  # noqa: ASYNC110 (nobody tells)
            await anyio.sleep(0.02)


def ask_for(path: str, *, seed: int = 1, demanded: bool = True) -> Request:
    return Request(id=f"{TAG}{path}", seed=seed, demanded=demanded)


async def write(
    engine: SGLangEngine, request: Request, tokens: int, ended: dict[str, object]
) -> None:
    prompt = Prompt((Message("user", "Tell me about apples."),))
    outcome: object
    try:
        outcome = await engine.generate(
            prompt, request, sampling=Sampling(stop=()), max_tokens=tokens
        )
    except EngineError as error:
        outcome = error
    ended[request.id.removeprefix(TAG)] = outcome


def config(engine: SGLangEngine, *, ahead: bool, step_tokens: int = 12) -> SearchConfig:
    return SearchConfig(
        engine=engine,
        policy=Rebase(width=4),
        reward=Confidence(),
        limits=Limits(depth=3, step_tokens=step_tokens, path_tokens=4 * step_tokens),
        speculation=Speculation() if ahead else None,
        termination=None,
    )


def digest(tree: Tree) -> list[tuple[Any, str, float | None]]:
    return [
        (path, thought.text, None if (r := tree.rewards.get(path)) is None else round(r, 4))
        for path, thought in tree.thoughts.items()
    ]


async def test_the_engine_knows_the_workers_and_what_both_can(
    engine: SGLangEngine, fleet: Fleet
) -> None:
    assert sorted(engine.server.workers.known) == sorted(fleet.urls)
    assert engine.server.known is not None
    assert engine.server.known.losses == ()
    assert engine.features.exactness == "seeded"
    chosen = await anyio.to_thread.run_sync(lambda: engine_at(f"{fleet.router}/v1"))
    assert type(chosen) is SGLangEngine


async def test_searches_through_the_router_give_the_trees_of_one_worker(
    engine: SGLangEngine, each: list[SGLangEngine]
) -> None:
    before = await counters(each, "admitted_demanded")
    for seed in range(4):
        off = await solve(config(engine, ahead=False), QUESTION, seed=seed)
        on = await solve(config(engine, ahead=True), QUESTION, seed=seed)
        alone = await solve(config(each[0], ahead=False), QUESTION, seed=seed)
        assert digest(on.tree) == digest(off.tree) == digest(alone.tree)
        assert on.ledger.prompt_tokens == alone.ledger.prompt_tokens > 0
    after = await counters(each, "admitted_demanded")
    assert all(b > a for a, b in zip(before, after, strict=True))


async def test_labels_are_scored_by_any_worker(
    engine: SGLangEngine, each: list[SGLangEngine]
) -> None:
    prompt = Prompt((Message("user", "2 + 2?"),))
    found = [
        await one.score(prompt, ask_for(f"labels{i}/0/judge-1"), labels=["a", "b"])
        for i, one in enumerate([engine, engine, each[0]])
    ]
    assert found[0] == pytest.approx(found[2], rel=1e-3)
    assert found[1] == pytest.approx(found[2], rel=1e-3)


async def test_a_promoted_request_overtakes_at_its_worker(
    engine: SGLangEngine, each: list[SGLangEngine]
) -> None:
    ended: dict[str, object] = {}
    before = await counters(each, "promoted")
    async with anyio.create_task_group() as tasks:
        for index in range(2 * RIDGE):
            long = ask_for(f"over/0.{index}/thought-1", seed=index, demanded=False)
            tasks.start_soon(write, engine, long, 2000, ended)
        await until_loads(each, lambda load: load.running == RIDGE)
        short = [ask_for(f"over/1.{i}/thought-1", seed=i, demanded=False) for i in range(6)]
        for request in short:
            tasks.start_soon(write, engine, request, 4, ended)
        await until_loads(each, lambda load: load.waiting == 3)
        short[4].demanded = True
        await engine.promote(short[4])
        with anyio.fail_after(PATIENCE):
            while not ended:  # noqa: ASYNC110 (nobody tells)
                await anyio.sleep(0.01)
        assert list(ended) == ["over/1.4/thought-1"]
        after = await counters(each, "promoted")
        assert sorted(b - a for a, b in zip(before, after, strict=True)) == [0, 1]
        tasks.cancel_scope.cancel()
    await until_loads(each, lambda load: load.running == load.waiting == 0)


async def test_one_message_prunes_a_subtree_at_both_workers(
    engine: SGLangEngine, each: list[SGLangEngine]
) -> None:
    ended: dict[str, object] = {}
    below = [f"0.3.{index}" for index in range(4)]
    beside = [f"0.31.{index}" for index in range(4)]
    before = await counters(each, "aborted")
    async with anyio.create_task_group() as tasks:
        for path in [*below, *beside]:
            request = ask_for(f"prune/{path}/thought-1")
            tasks.start_soon(write, engine, request, 3000, ended)
        await until_loads(each, lambda load: load.running == 4)
        await engine.prune(f"{TAG}prune/0.3")
        with anyio.fail_after(PATIENCE):
            while len(ended) < len(below):  # noqa: ASYNC110 (nobody tells)
                await anyio.sleep(0.01)
        assert sorted(ended) == sorted(f"prune/{path}/thought-1" for path in below)
        assert all(isinstance(outcome, EngineError) for outcome in ended.values())
        assert await engine.load() == Load(running=len(beside), waiting=0)
        after = await counters(each, "aborted")
        assert sum(after) - sum(before) == len(below)
        tasks.cancel_scope.cancel()
    await until_loads(each, lambda load: load.running == load.waiting == 0)


async def test_a_closed_session_leaves_nothing_at_either_worker(
    engine: SGLangEngine, each: list[SGLangEngine]
) -> None:
    before = await counters(each, "aborted")
    session = Session(
        config(engine, ahead=True, step_tokens=1000), Tree(QUESTION, 3), run=f"{TAG}closing"
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_to_end, session)
        await until_loads(each, lambda load: load.running >= 1)
        tasks.cancel_scope.cancel()
    await session.close()
    await until_loads(each, lambda load: load.running == load.waiting == 0)
    after = await counters(each, "aborted")
    assert sum(after) > sum(before)  # not written to their ends
    quiet_until = anyio.current_time() + 1
    while anyio.current_time() < quiet_until:
        assert await loads(each) == [Load(running=0, waiting=0)] * 2
        await anyio.sleep(0.05)


async def test_a_router_of_its_own_keeps_a_search_at_one_worker(
    fleet: Fleet, each: list[SGLangEngine], tmp_path: Path
) -> None:
    urls = [argument for url in fleet.urls for argument in ("--worker-url", url)]
    with launch(tmp_path, *urls) as launched:
        ready = await anyio.to_thread.run_sync(launched.ready)
        assert list(ready) == ["router"]
        before = await counters(each, "admitted_demanded")
        async with opened(ready["router"]["url"]) as engine:
            await solve(config(engine, ahead=False), QUESTION, seed=0)
        after = await counters(each, "admitted_demanded")
    gained = sorted(b - a for a, b in zip(before, after, strict=True))
    assert gained[0] == 0
    assert gained[1] > 8


async def test_a_search_goes_on_without_a_worker_that_was_killed(
    fleet: Fleet, each: list[SGLangEngine]
) -> None:
    results: list[Result] = []

    async def search(engine: SGLangEngine, run: str) -> None:
        settings = config(engine, ahead=True, step_tokens=150)
        results.append(await solve(settings, QUESTION, seed=1, run=f"{TAG}{run}"))

    async with opened(fleet.router) as engine:
        await search(engine, "undisturbed")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(search, engine, "disturbed")
            await until_loads(each, lambda load: load.running >= 1)
            os.kill(int(fleet.servers["policy-1"]["pid"]), signal.SIGKILL)
            with anyio.fail_after(PATIENCE):
                while len(results) < 2 and (await engine.load()).running < 1:
                    pass  # asked of what is left
    assert digest(results[1].tree) == digest(results[0].tree)
    log = (fleet.launched.logs / "launcher.log").read_text()
    assert "policy-1: died" in log


def test_all_are_gone_with_their_launcher(fleet: Fleet) -> None:
    fleet.launched.process.kill()
    fleet.launched.process.wait()
    assert fleet.launched.nothing_left()
