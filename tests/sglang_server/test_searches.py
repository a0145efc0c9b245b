"""Whole searches on a real SGLang: the same trees, side by side, interrupted, and closed."""

from __future__ import annotations

import anyio
import pytest
from asking import QUESTION, TAG, becomes_idle, config, digest, spex, until_load

from spex_agents.engines.sglang.engine import SGLangEngine
from spex_agents.search import Policy, Rebase, Rstar, Tree
from spex_agents.speculation.session import Session
from spex_agents.speculation.solving import run_to_end, solve

SEARCHES = 50
REBASE = Rebase(width=4)
RSTAR = Rstar(rollouts=4)


async def agreement(engine: SGLangEngine, policy: Policy, searches: int) -> float:
    """The share of searches whose trees are the same with speculation off and on."""
    same = hits = launched = 0
    for seed in range(searches):
        off = await solve(config(engine, policy, ahead=False), QUESTION, seed=seed)
        on = await solve(config(engine, policy, ahead=True), QUESTION, seed=seed)
        same += digest(off.tree) == digest(on.tree)
        hits, launched = hits + on.ledger.hits, launched + on.ledger.launched
    print(
        f"\n{type(policy).__name__} on {engine.name}: agreement rate {same / searches:.3f} "
        f"({same} of {searches}); {hits} of {launched} guesses hit"
    )
    assert hits
    return same / searches


@pytest.mark.parametrize("policy", [REBASE, RSTAR], ids=["rebase", "rstar"])
async def test_speculation_does_not_change_the_tree(engine: SGLangEngine, policy: Policy) -> None:
    assert await agreement(engine, policy, SEARCHES) >= 0.99


async def test_the_small_model_writes_the_same_trees(small: SGLangEngine) -> None:
    assert await agreement(small, REBASE, 2) == 1


async def test_two_clients_at_one_server_get_the_trees_they_get_alone(
    engine: SGLangEngine, scheduled: str
) -> None:
    questions = {"first": QUESTION, "second": "What is 6 times 7?"}
    alone = {
        name: [
            digest((await solve(config(engine, policy, ahead=False), question, seed=seed)).tree)
            for seed, policy in enumerate((REBASE, RSTAR, REBASE))
        ]
        for name, question in questions.items()
    }
    together: dict[str, list[object]] = {name: [None] * 3 for name in questions}

    async def search(client: SGLangEngine, name: str, seed: int, policy: Policy) -> None:
        found = await solve(config(client, policy, ahead=True), questions[name], seed=seed)
        together[name][seed] = digest(found.tree)

    async with SGLangEngine(scheduled) as other, anyio.create_task_group() as tasks:
        for name, client in (("first", engine), ("second", other)):
            for seed, policy in enumerate((REBASE, RSTAR, REBASE)):
                tasks.start_soon(search, client, name, seed, policy)
    assert together == alone
    assert await becomes_idle(engine)


async def test_a_closed_session_leaves_nothing_at_the_server(engine: SGLangEngine) -> None:
    first = (await spex(engine))["counters"]
    settings = config(engine, REBASE, ahead=True, step_tokens=1000)
    session = Session(settings, Tree(QUESTION, 3), run=f"{TAG}closing")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_to_end, session)
        await until_load(engine, running=3)
        tasks.cancel_scope.cancel()
    await session.close()
    assert await becomes_idle(engine)
    before = (await spex(engine))["counters"]
    assert before["aborted"] > first["aborted"]  # not written to their ends
    for _ in range(100):
        load = await engine.load()
        assert load.running == load.waiting == 0
    assert (await spex(engine))["counters"] == before  # nothing has come and gone meanwhile
    assert session.ledger.wasted_tokens > 0
