"""SPEX scheduling inside a real SGLang: seeds, classes, messages and counters."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import httpx
from asking import TAG, ask_for, becomes_idle, spex, until, until_load, write
from launching import RIDGE

from spex_agents.engines.sglang.engine import SGLangEngine
from spex_agents.errors import EngineError
from spex_agents.search import Thought


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
    before = (await spex(engine))["counters"]
    async with anyio.create_task_group() as tasks:
        for index in range(10):
            guess = ask_for(f"ridge/{index}/thought-1", seed=index, demanded=False)
            tasks.start_soon(partial(write, engine, guess, tokens=2000))
        await until_load(engine, running=RIDGE, waiting=10 - RIDGE)
        state = await spex(engine)
        assert (state["running"], state["waiting"]) == (RIDGE, 10 - RIDGE)
        asked = await write(engine, ask_for("ridge/10/thought-1"), tokens=4)
        assert isinstance(asked, Thought)
        await until_load(engine, running=RIDGE, waiting=10 - RIDGE)
        tasks.cancel_scope.cancel()
    assert await becomes_idle(engine)
    after = (await spex(engine))["counters"]
    assert after["aborted"] - before["aborted"] >= RIDGE  # those that ran, not to their ends


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
        tasks.cancel_scope.cancel()
    assert await becomes_idle(engine)
    after = (await spex(engine))["counters"]
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
