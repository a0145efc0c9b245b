"""What a gateway tells of a search besides its answer: what it costs, and what has ended it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from gateways import ASKED, gateway
from processes import PATIENCE

from spex_agents import Limits, Rebase, Verifier, create_tot_graph
from spex_agents.server.gateway.keys import Key, KeyStore
from spex_agents.server.gateway.settings import Agent


async def test_a_running_search_tells_what_it_has_cost_so_far() -> None:
    gate = asyncio.Event()

    async def later_steps_wait(_question: str, steps: Sequence[str]) -> float:
        if len(steps) > 1:
            await gate.wait()
        return 0.5

    agent = Agent(
        create_tot_graph,
        {
            "policy": Rebase(width=4),
            "limits": Limits(depth=3, step_tokens=32),
            "reward": Verifier(later_steps_wait),
        },
    )
    async with gateway(served=False, agents={"slow": agent}) as running, running.http() as http:
        asked = {"model": "spex/slow", "messages": ASKED["messages"], "seed": 0}
        begun = await http.post("/v1/searches", json=asked)
        path = begun.headers["Location"]
        found: dict[str, Any] = {"tree": []}
        async with asyncio.timeout(PATIENCE):
            while not found["tree"]:
                found = (await http.get(path)).json()
                await asyncio.sleep(0.01)
        tokens = sum(row["tokens"] for row in found["tree"])
        assert found["state"] == "running"
        assert found["ledger"]["useful_tokens"] >= tokens > 0 < found["seconds"]
        gate.set()
        await running.idle()
        ended = (await http.get(path)).json()
        assert ended["state"] == "done"
        assert ended["seconds"] > found["seconds"]
        assert ended["ledger"]["useful_tokens"] > found["ledger"]["useful_tokens"]


@pytest.mark.parametrize(
    ("word", "key_tokens", "hosting", "asked"),
    [
        ("max_tokens", None, {}, {"max_tokens": 50}),
        ("max_tokens", 10_000, {}, {"max_tokens": 50}),
        ("key_tokens", 50, {}, {}),
        ("key_tokens", 50, {}, {"max_tokens": 80}),
        ("most_tokens", None, {"most_tokens": 50}, {"max_tokens": 80}),
        (None, None, {}, {}),
    ],
)
async def test_a_client_can_tell_its_own_limit_from_its_keys(
    word: str | None,
    key_tokens: int | None,
    hosting: dict[str, Any],
    asked: dict[str, int],
    tmp_path: Path,
) -> None:
    keys = KeyStore(str(tmp_path / "gateway.sqlite"))
    secret = keys.create(Key(name="tutors", tokens=key_tokens))
    async with (
        gateway(served=False, keys=keys, **hosting) as running,
        running.http(secret) as http,
    ):
        done = (await http.post("/v1/chat/completions", json={**ASKED, **asked})).json()
        found = (await http.get(f"/v1/searches/{done['spex']['id']}")).json()
    assert done["spex"]["stopped"] == found["stopped"] == word
    assert done["choices"][0]["finish_reason"] == ("length" if word else "stop")
