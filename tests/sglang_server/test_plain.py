"""A real SGLang without the plugin: everything works, less well, and the engine says so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from asking import ask_for, until, until_load, write
from launching import launch
from processes import PATIENCE

from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.prompts import Message, Prompt, PromptTemplate
from spex_agents.engines.sglang.engine import SGLangEngine, engine_at
from spex_agents.engines.sglang.prompts import PromptReader
from spex_agents.rewards.confidence import Confidence
from spex_agents.search import Limits, Rebase, Thought
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.solving import solve

PLACES = 4
PROMPT = Prompt((Message("user", "Tell me about apples."),))


@pytest.fixture(scope="module")
def plain(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    logs = tmp_path_factory.mktemp("plain")
    flags = ("--no-plugin", "--", "--max-running-requests", str(PLACES))
    with launch(logs, "--policy", str(tiny), *flags) as launched:
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
    asked = await PromptReader(engine.server).tokens(PromptTemplate().prompt("What is 3 + 4?", ()))
    assert result.ledger.prompt_tokens == len(asked)


async def test_cancelled_calls_are_aborted_and_counted(engine: SGLangEngine) -> None:
    requests = [Request(id=f"plain/{i}/thought-1", seed=i) for i in range(4)]

    async def write(request: Request) -> None:
        sampling = Sampling(stop=())
        await engine.generate(PROMPT, request, sampling=sampling, max_tokens=4000)

    async with anyio.create_task_group() as tasks:
        for request in requests:
            tasks.start_soon(write, request)
        with anyio.fail_after(PATIENCE):
            while min(request.tokens for request in requests) < 5:  # noqa: ASYNC110 (nobody tells)
                await anyio.sleep(0.02)
        tasks.cancel_scope.cancel()
    with anyio.fail_after(10):
        while (load := await engine.load()).running or load.waiting:  # noqa: ASYNC110 (nor now)
            await anyio.sleep(0.05)


async def test_a_guess_that_waits_is_sent_anew_when_it_is_demanded(engine: SGLangEngine) -> None:
    await engine.describe()
    ended: dict[str, Any] = {}
    places = [anyio.CancelScope() for _ in range(PLACES)]

    def rid_of(request: Request) -> str | None:
        flight = engine.server._flying.get(request.id)
        return flight.rid if flight else None

    async def hold(index: int) -> None:
        with places[index]:
            await write(engine, ask_for(f"full/{index}/thought-1", seed=index), tokens=4000)

    async with anyio.create_task_group() as tasks:
        for index in range(PLACES):
            tasks.start_soon(hold, index)
        await until_load(engine, running=PLACES)
        guesses = [ask_for(f"wait/{i}/thought-1", seed=i, demanded=False) for i in range(3)]
        for number, guess in enumerate(guesses, 1):
            tasks.start_soon(partial(write, engine, guess, tokens=8, into=ended))
            await until_load(engine, running=PLACES, waiting=number)
        last = guesses[-1]
        last.demanded = True
        await engine.promote(last)
        await until(lambda: rid_of(last) == f"{last.id}~1;")
        await until_load(engine, running=PLACES, waiting=3)
        assert ended == {}
        places[0].cancel()
        await until(lambda: len(ended) == 3)
        tasks.cancel_scope.cancel()
    assert list(ended) == [f"wait/{i}/thought-1" for i in (2, 0, 1)]
    assert all(isinstance(outcome, Thought) for outcome, _ in ended.values())
    assert [guess.tokens for guess in guesses] == [8, 8, 8]


async def test_a_guess_that_runs_keeps_its_tokens_when_it_is_demanded(engine: SGLangEngine) -> None:
    await engine.describe()
    guess = ask_for("runs/0/thought-1", demanded=False)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(write, engine, guess, tokens=200))
        await until(lambda: guess.tokens >= 2)
        guess.demanded = True
        await engine.promote(guess)
    assert guess.tokens == 200
