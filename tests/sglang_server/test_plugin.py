"""SPEX scheduling inside a real SGLang: seeds, classes, aborts, and whole searches."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import anyio
import httpx
import pytest
from launching import Served, launch

from spex_agents.engines.base import Message, Prompt, Request, Sampling
from spex_agents.engines.sglang import SGLangEngine
from spex_agents.errors import EngineError
from spex_agents.rewards.confidence import Confidence
from spex_agents.rewards.process import ProcessReward
from spex_agents.rewards.profiles import MATH_SHEPHERD, SKYWORK
from spex_agents.search import Limits, Rebase, Thought, Tree
from spex_agents.speculation.config import SearchConfig, Speculation
from spex_agents.speculation.session import Session
from spex_agents.speculation.solve import run_to_end, solve

RIDGE = 4
FREE = Sampling(stop=())
TAG = uuid4().hex[:8]
"""Begins all ids: none is ever sent twice."""
QUESTION = "Ann has 3 apples and buys 4 more. How many has she?"


@pytest.fixture(scope="module")
def scheduled(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A random model with the plugin and a ridge of 4."""
    os.environ["SPEX_RIDGE"] = str(RIDGE)
    try:
        with launch(tmp_path_factory.mktemp("scheduled"), "--policy", str(tiny)) as launched:
            yield launched.ready()["policy"]["url"]
    finally:
        del os.environ["SPEX_RIDGE"]


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


def ask_for(path: str, *, seed: int = 1, demanded: bool = True) -> Request:
    return Request(id=f"{TAG}{path}", seed=seed, demanded=demanded)


async def write(
    engine: SGLangEngine,
    request: Request,
    *,
    about: str = "apples",
    tokens: int = 16,
    into: dict[str, Any] | None = None,
) -> Thought | EngineError:
    """A thought, or the error that it ended with."""
    prompt = Prompt((Message("user", f"Tell me about {about}."),))
    outcome: Thought | EngineError
    try:
        outcome = await engine.generate(prompt, request, sampling=FREE, max_tokens=tokens)
    except EngineError as error:
        outcome = error
    if into is not None:
        into[request.id.removeprefix(TAG)] = (outcome, anyio.current_time())
    return outcome


async def spex(engine: SGLangEngine) -> dict[str, Any]:
    (found,) = await engine.server.ask("/server_info")
    state: dict[str, Any] = found["internal_states"][0]["spex"]
    return state


async def becomes_idle(engine: SGLangEngine, seconds: float = 1.0) -> bool:
    """Whether nothing runs or waits at the server after `seconds`, or before."""
    with anyio.move_on_after(seconds):
        while True:
            load = await engine.load()
            if load.running == load.waiting == 0:
                return True
    return False


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not holds():  # noqa: ASYNC110 (nobody tells)
            await anyio.sleep(0.02)


async def until_load(engine: SGLangEngine, *, running: int = 0, waiting: int = 0) -> None:
    """Return once at least so many run and wait at the server."""
    with anyio.fail_after(30):
        while True:
            load = await engine.load()
            if load.running >= running and load.waiting >= waiting:
                return
            await anyio.sleep(0.02)


async def test_all_parts_of_the_plugin_are_there(engine: SGLangEngine) -> None:
    assert engine.server.known is not None
    assert engine.server.known.losses == ()
    assert engine.features.promotion
    assert engine.features.exactness == "seeded"


async def test_a_seed_gives_the_same_thought_alone_and_in_a_batch(engine: SGLangEngine) -> None:
    def ask(index: int, run: str) -> Any:
        return partial(
            write, engine, ask_for(f"{run}/{index}/thought-1", seed=index), about=f"item {index}"
        )

    alone = [(await ask(index, "alone")()).text for index in range(6)]
    together: dict[str, Any] = {}
    async with anyio.create_task_group() as tasks:
        for index in range(12):
            tasks.start_soon(partial(ask(index, "batch"), into=together))
    batched = [together[f"batch/{index}/thought-1"][0].text for index in range(6)]
    assert batched == alone
    other = await write(engine, ask_for("other/0/thought-1", seed=99), about="item 0")
    assert isinstance(other, Thought)
    assert other.text != alone[0]


async def test_guesses_run_up_to_the_ridge_and_demanded_work_beyond(engine: SGLangEngine) -> None:
    async with anyio.create_task_group() as tasks:
        for index in range(10):
            guess = ask_for(f"ridge/{index}/thought-1", seed=index, demanded=False)
            tasks.start_soon(partial(write, engine, guess, tokens=2000))
        await until_load(engine, running=RIDGE)
        state = await spex(engine)
        assert (state["running"], state["waiting"]) == (RIDGE, 10 - RIDGE)
        asked = await write(engine, ask_for("ridge/10/thought-1"), tokens=4)
        assert isinstance(asked, Thought)
        assert (await engine.load()).running == RIDGE
        tasks.cancel_scope.cancel()
    assert await becomes_idle(engine)


async def test_a_promoted_request_overtakes(engine: SGLangEngine) -> None:
    ended: dict[str, Any] = {}
    async with anyio.create_task_group() as tasks:
        for index in range(RIDGE):
            long = ask_for(f"over/0.{index}/thought-1", seed=index, demanded=False)
            tasks.start_soon(partial(write, engine, long, tokens=2000))
        await until_load(engine, running=RIDGE)
        waiting = [ask_for(f"over/1.{i}/thought-1", seed=i, demanded=False) for i in range(3)]
        for request in waiting:
            tasks.start_soon(partial(write, engine, request, tokens=4, into=ended))
        await until_load(engine, waiting=3)
        waiting[2].demanded = True
        await engine.promote(waiting[2])
        await until(lambda: bool(ended))
        assert list(ended) == ["over/1.2/thought-1"]
        assert (await spex(engine))["counters"]["promoted"] >= 1
        tasks.cancel_scope.cancel()


async def test_one_message_prunes_a_subtree_and_spares_its_neighbours(engine: SGLangEngine) -> None:
    ended: dict[str, Any] = {}
    paths = ("0.3", "0.3.1", "0.31", "0.2")
    async with anyio.create_task_group() as tasks:
        for path in paths:
            request = ask_for(f"prune/{path}/thought-1")
            tasks.start_soon(partial(write, engine, request, tokens=2000, into=ended))
        await until_load(engine, running=len(paths))
        await engine.prune(f"{TAG}prune/0.3")
        await until(lambda: len(ended) == 2)
        assert sorted(ended) == ["prune/0.3.1/thought-1", "prune/0.3/thought-1"]
        assert all(isinstance(outcome, EngineError) for outcome, _ in ended.values())
        assert (await engine.load()).running == 2
        tasks.cancel_scope.cancel()


async def test_aborted_work_is_accounted_for(engine: SGLangEngine) -> None:
    before = (await spex(engine))["counters"]
    requests = [ask_for(f"waste/{i}/thought-1", seed=i) for i in range(6)]
    async with anyio.create_task_group() as tasks:
        for request in requests:
            tasks.start_soon(partial(write, engine, request, tokens=2000))
        await until_load(engine, running=6)
        await until(lambda: min(request.tokens for request in requests) >= 10)
        begun = time.monotonic()
        tasks.cancel_scope.cancel()
    took = time.monotonic() - begun
    after = (await spex(engine))["counters"]
    assert await becomes_idle(engine)
    assert took < 1
    assert after["aborted"] - before["aborted"] == 6
    wasted = after["wasted_tokens"] - before["wasted_tokens"]
    # Each request may have had one step under way.
    assert wasted <= sum(request.tokens for request in requests) <= wasted + 2 * len(requests)


async def test_an_abort_that_overtakes_its_request_holds(engine: SGLangEngine) -> None:
    request = ask_for("early/0/thought-1")
    await engine.server.send("abort", f"{TAG}early/0/thought-1;")
    outcome = await write(engine, request, tokens=2000)
    assert isinstance(outcome, EngineError)


async def test_counters_are_on_the_metrics_page(engine: SGLangEngine, scheduled: str) -> None:
    await write(engine, ask_for("count/0/thought-1"))
    async with httpx.AsyncClient() as client:
        page = (await client.get(f"{scheduled}/metrics")).text
    assert "spex:admitted_demanded_total" in page
    assert 'spex:decode_steps_total{batch_size="1"}' in page


def config(engine: SGLangEngine, *, ahead: bool, step_tokens: int = 12) -> SearchConfig:
    return SearchConfig(
        engine=engine,
        policy=Rebase(width=4),
        reward=Confidence(),
        limits=Limits(depth=3, step_tokens=step_tokens, path_tokens=4 * step_tokens),
        speculation=Speculation() if ahead else None,
        stop=None,
    )


def digest(tree: Tree) -> list[tuple[Any, str, float | None]]:
    return [
        (path, thought.text, None if (r := tree.rewards.get(path)) is None else round(r, 4))
        for path, thought in tree.thoughts.items()
    ]


async def agreement(engine: SGLangEngine, searches: int) -> float:
    same = 0
    for seed in range(searches):
        off = await solve(config(engine, ahead=False), QUESTION, seed=seed)
        on = await solve(config(engine, ahead=True), QUESTION, seed=seed)
        same += digest(off.tree) == digest(on.tree)
    return same / searches


async def test_speculation_does_not_change_the_tree(engine: SGLangEngine) -> None:
    rate = await agreement(engine, 12)
    print(f"agreement rate {rate:.0%}")
    assert rate >= 0.9


async def test_a_closed_session_leaves_nothing_at_the_server(engine: SGLangEngine) -> None:
    settings = config(engine, ahead=True, step_tokens=1000)
    session = Session(settings, Tree(QUESTION, 3), run=f"{TAG}closing")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_to_end, session)
        await until_load(engine, running=3)
        tasks.cancel_scope.cancel()
    await session.close()
    assert await becomes_idle(engine, 1.0)
    quiet_until = anyio.current_time() + 1
    while anyio.current_time() < quiet_until:
        load = await engine.load()
        assert load.running == load.waiting == 0
        await anyio.sleep(0.05)


async def walk(engine: SGLangEngine, run: str, number: int) -> float:
    """Seconds for a chain of demanded thoughts, one after the other."""
    begun = time.monotonic()
    for index in range(number):
        await write(engine, ask_for(f"{run}/{index}/thought-1", seed=index), tokens=24)
    return time.monotonic() - begun


async def steps(engine: SGLangEngine) -> dict[int, int]:
    """Decode steps so far, by batch size."""
    return {int(size): count for size, (count, _) in (await spex(engine))["step_seconds"].items()}


async def test_a_flood_of_guesses_hardly_delays_the_work_of_others(
    engine: SGLangEngine, scheduled: str
) -> None:
    ratios = []
    small = large = 0
    async with SGLangEngine(scheduled, retries=0) as flooder:
        for turn in range(5):
            alone = await walk(engine, f"alone{turn}", 6)
            async with anyio.create_task_group() as tasks:
                for index in range(24):
                    guess = ask_for(f"flood{turn}/{index}/thought-1", demanded=False)
                    tasks.start_soon(partial(write, flooder, guess, tokens=4000))
                await until_load(engine, running=1, waiting=8)
                before = await steps(engine)
                flooded = await walk(engine, f"flooded{turn}", 6)
                after = await steps(engine)
                tasks.cancel_scope.cancel()
            for size, count in after.items():
                taken = count - before.get(size, 0)
                small, large = small + taken * (size == 1), large + taken * (size > 1)
            ratios.append(flooded / alone)
    print(f"slowdown of demanded work under a flood: {median(ratios):.2f}")
    print(f"decode steps with and without guesses in them: {large}, {small}")
    assert large < small / 4  # a guess fills pauses only, and makes room


async def test_the_small_model_writes_the_same_trees(small: SGLangEngine) -> None:
    rate = await agreement(small, 2)
    print(f"agreement rate {rate:.0%}")
    assert rate == 1


async def test_a_reward_head_scores(small: SGLangEngine) -> None:
    thoughts = [Thought(text="3 + 4 = 7.", tokens=6)]
    reward = ProcessReward(small, SKYWORK)
    scores = [
        await reward.score(QUESTION, thoughts, ask_for(f"head/{number}/reward-1"))
        for number in range(2)
    ]
    assert 0 < scores[0] < 1
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


async def test_label_tokens_score(served: Served) -> None:
    thoughts = [Thought(text="3 + 4 = 7.", tokens=6)]
    reward = ProcessReward(served.policy, MATH_SHEPHERD)
    score = await reward.score(QUESTION, thoughts, ask_for("labels/0/reward-1"))
    await reward.aclose()
    assert 0 < score < 1
