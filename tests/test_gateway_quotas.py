"""Quotas: held back when a search is let in, settled when it ends, whatever happens between."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from gateways import ASKED, gateway
from hypothesis import given, settings
from hypothesis import strategies as st

from spex_agents.server.gateway.database import MEMORY, open_database
from spex_agents.server.gateway.errors import ApiError
from spex_agents.server.gateway.keys import Key, KeyStore
from spex_agents.server.gateway.quotas import Quotas
from spex_agents.server.gateway.records import Charge, Record, Records
from spex_agents.server.gateway.search import Search

PATH = "/v1/chat/completions"


def record(identity: str = "one", owner: str = "tutors") -> Record:
    return Record(id=identity, owner=owner, state="running", created=0.0, run=uuid4().hex)


async def test_many_searches_at_once_take_no_more_than_their_key_has(tmp_path: Path) -> None:
    keys = KeyStore(str(tmp_path / "gateway.sqlite"))
    secret = keys.create(Key(name="tutors", tokens=3000, concurrency=16))
    async with gateway(served=False, keys=keys) as running, running.http(secret) as http:

        async def ask(seed: int) -> httpx.Response:
            return await http.post(PATH, json={**ASKED, "seed": seed})

        answers = await asyncio.gather(*map(ask, range(16)))
        statuses = {answer.status_code for answer in answers}
        assert statuses == {200, 429}
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["error"]["code"] == "tokens_exceeded"
        assert "hold" in refused.json()["error"]["message"]
        # What was begun before the last decision is written to its end: a layer, or two.
        searches = sum(answer.status_code == 200 for answer in answers)
        assert running.engine.decoded_tokens < 3000 + 2 * 4 * 64 * searches


async def test_more_searches_than_a_key_may_ever_run_at_a_time_are_not_told_to_wait(
    tmp_path: Path,
) -> None:
    keys = KeyStore(str(tmp_path / "gateway.sqlite"))
    secret = keys.create(Key(name="tutors", concurrency=1))
    async with gateway(served=False, keys=keys) as running, running.http(secret) as http:
        refused = await http.post(PATH, json={**ASKED, "n": 2})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "n")
        assert "n=2: must be at most 1" in refused.json()["error"]["message"]
        assert (await http.get("/v1/searches")).json()["data"] == []


async def test_a_limit_that_cuts_all_paths_off_is_what_ended_the_search() -> None:
    async with gateway(served=False) as running, running.http() as http:
        done = (await http.post(PATH, json={**ASKED, "max_tokens": 3})).json()
        assert done["choices"][0]["finish_reason"] == "length"
        assert done["spex"]["stopped"] == "max_tokens"


async def test_a_search_that_may_take_less_than_it_needs_ends_by_its_length(
    tmp_path: Path,
) -> None:
    keys = KeyStore(str(tmp_path / "gateway.sqlite"))
    secret = keys.create(Key(name="tutors", tokens=100))
    async with gateway(served=False, keys=keys) as running, running.http(secret) as http:
        done = (await http.post(PATH, json=ASKED)).json()
        assert done["choices"][0]["finish_reason"] == "length"
        assert (await http.post(PATH, json=ASKED)).status_code == 429


async def test_a_window_slides() -> None:
    now = 0.0
    async with open_database(MEMORY) as database:
        quotas, records = Quotas(database, clock=lambda: now), Records(database)
        key = Key(name="tutors", tokens=100, window_seconds=60)
        for moment in (0.0, 20.0, 40.0):
            await records.settle(record(uuid4().hex), Charge(moment, 30, 10))
        now = 50.0
        with pytest.raises(ApiError, match="used 120 of 100 tokens in 60 s: try again in 10 s"):
            await quotas.admit(key, record(), estimate=10, ahead=10)
        now = 60.0
        grant = await quotas.admit(key, record(), estimate=10, ahead=10)
        assert grant is not None
        assert grant.tokens == 20


async def test_a_run_that_lost_its_search_is_not_charged_and_saves_nothing() -> None:
    async with open_database(MEMORY) as database:
        quotas, records = Quotas(database, clock=lambda: 1.0), Records(database)
        key = Key(name="tutors", tokens=1000)
        first = record()
        await quotas.admit(key, first, estimate=10, ahead=10)
        (identity,) = await records.running()
        found = await records.find(identity)
        assert found is not None
        assert await records.claim(found, "second")
        assert not await records.claim(found, "third")
        assert not await records.settle(replace(first, state="done"), Charge(1.0, 500, 0))
        second = replace(first, run="second", state="done")
        assert await records.settle(second, Charge(1.0, 400, 0))
        assert not await records.settle(second, Charge(1.0, 400, 0))  # nor is it twice
        grant = await quotas.admit(key, record("other"), estimate=10, ahead=10)
        assert grant is not None
        assert grant.tokens == 600


async def test_who_waits_for_a_run_that_lost_its_search_gets_what_the_winner_has() -> None:
    async with gateway(speed=5) as running, running.http() as http:
        records = running.parts.searches.records
        asking = asyncio.create_task(http.post(PATH, json=ASKED))
        await running.decoded(1)
        (identity,) = await records.running()
        found = await records.find(identity)
        assert found is not None
        assert await records.claim(found, "of another gateway")
        await running.idle()
        assert not asking.done()
        winner = Search.from_record(replace(found, run="of another gateway"))
        winner.state = "done"
        winner.result = {
            **dict.fromkeys(("answer", "content"), "forty-two"),
            "finish_reason": "stop",
            "stopped": None,
            "tree_sha256": "its own",
        }
        assert await records.settle(winner.record(), Charge(1.0, 400, 0))
        done = (await asking).json()
        assert done["choices"][0]["message"]["content"] == "forty-two"
        assert done["spex"]["tree_sha256"] == "its own"
        assert (await http.get(f"/v1/searches/{identity}")).json()["answer"] == "forty-two"
        page = (await http.get("/metrics")).text
        assert 'spex_gateway_searches_total{engine="spex",policy="rebase",state="lost"} 1' in page


STEPS = st.lists(
    st.tuples(st.sampled_from(["begin", "end", "kill"]), st.integers(0, 400)), max_size=40
)


@given(STEPS, st.integers(1, 1000), st.integers(1, 6), st.integers(0, 2**32))
@settings(deadline=None, max_examples=40)
def test_whatever_is_killed_nothing_is_used_beyond_a_key_or_charged_twice(
    steps: Any, tokens: int, concurrency: int, seed: int
) -> None:
    """Searches that take what they were granted, no more, whose gateways die and are replaced."""
    chance = random.Random(seed)

    async def run() -> None:
        async with open_database(MEMORY) as database:
            quotas, records = Quotas(database, clock=lambda: 1.0), Records(database)
            key = Key(name="tutors", tokens=tokens, concurrency=concurrency)
            live: list[tuple[Record, int]] = []
            lost: list[Record] = []
            spent = 0
            for number, (what, size) in enumerate(steps):
                if what == "begin":
                    begun = record(f"search-{number}")
                    try:
                        grant = await quotas.admit(key, begun, estimate=size, ahead=2 * size)
                    except ApiError:
                        continue
                    assert grant is not None
                    assert grant.tokens is not None
                    live.append((begun, min(size * (1 + grant.may_waste), grant.tokens)))
                elif what == "end" and live:
                    ended, most = live.pop(chance.randrange(len(live)))
                    used = chance.randint(0, most)
                    assert await records.settle(replace(ended, state="done"), Charge(1.0, used, 0))
                    spent += used
                elif what == "kill" and live:  # another gateway takes it
                    index = chance.randrange(len(live))
                    old, most = live[index]
                    taken = replace(old, run=uuid4().hex)
                    assert await records.claim(old, taken.run)
                    live[index] = (taken, most)
                    lost.append(old)
                assert len(live) <= concurrency
                assert spent + sum(most for _, most in live) <= tokens
            for zombie in lost:
                assert not await records.settle(replace(zombie, state="done"), Charge(1.0, 99, 0))

    asyncio.run(run())
