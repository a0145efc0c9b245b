"""One client's guesses and another's demanded work, counted in the server's own steps."""

from __future__ import annotations

from functools import partial

import anyio
from asking import ask_for, spex, until_load, write
from launching import RIDGE

from spex_agents.engines.sglang.engine import SGLangEngine

THOUGHTS, TOKENS, GUESSES = 12, 24, 24


async def walk(engine: SGLangEngine, run: str) -> dict[str, int]:
    """What the server counts during a chain of demanded thoughts, one after the other."""
    before = (await spex(engine))["counters"]
    for index in range(THOUGHTS):
        await write(engine, ask_for(f"{run}/{index}/thought-1", seed=index), tokens=TOKENS)
    after = (await spex(engine))["counters"]
    return {name: after[name] - before[name] for name in after}


async def test_a_flood_of_guesses_hardly_delays_the_work_of_others(
    engine: SGLangEngine, scheduled: str
) -> None:
    alone = await walk(engine, "alone")
    async with (
        SGLangEngine(scheduled, retries=0) as flooder,
        anyio.create_task_group() as tasks,
    ):
        for index in range(GUESSES):
            guess = ask_for(f"flood/{index}/thought-1", seed=index, demanded=False)
            tasks.start_soon(partial(write, flooder, guess, tokens=4000))
        await until_load(engine, running=RIDGE, waiting=GUESSES - RIDGE)
        flooded = await walk(engine, "flooded")
        counted = (await spex(engine))["counters"]
        tasks.cancel_scope.cancel()
    print(
        f"\n{THOUGHTS} demanded thoughts of {TOKENS} tokens took {alone['demanded_steps']} steps "
        f"alone, {flooded['demanded_steps']} under {GUESSES} guesses, {flooded['shared_steps']} of "
        f"them shared with guesses; {flooded['displaced']} guesses made room"
    )
    assert alone["demanded_steps"] == THOUGHTS * TOKENS
    assert flooded["demanded_steps"] <= 1.1 * alone["demanded_steps"]
    assert flooded["shared_steps"] <= 0.1 * flooded["demanded_steps"]
    assert flooded["displaced"] >= 1
    assert counted["deferred"] >= GUESSES - RIDGE  # held back, and yet not starved:
    assert flooded["admitted_demanded"] == THOUGHTS
