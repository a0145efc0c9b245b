"""Many clients at once, and requests that nobody would think of."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from gateways import ASKED, gateway, process
from hypothesis import HealthCheck, given, settings
from processes import PATIENCE
from schemathesis.checks import CHECKS

from spex_agents.server.gateway.keys import Key, KeyStore
from spex_agents.speculation.slots.budget import Budget

PATH = "/v1/chat/completions"
HOLD = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


@pytest.mark.slow
async def test_of_a_hundred_clients_some_go_away_and_a_crowd_takes_nothing_from_others(
    tmp_path: Path,
) -> None:
    keys = KeyStore(str(tmp_path / "gateway.sqlite"))
    crowd, *others = [
        keys.create(Key(name=name, concurrency=20)) for name in ("crowd", "one", "two", "three")
    ]
    database = str(tmp_path / "gateway.sqlite")
    chance = random.Random(7)
    statuses: dict[str, Counter[int]] = defaultdict(Counter)
    left: Counter[str] = Counter()

    async def client(number: int, patience: float | None, http: httpx.AsyncClient) -> None:
        key = others[number % 3] if number < 30 else crowd
        body = {**ASKED, "stream": bool(number % 2), "seed": number}
        headers = {"Authorization": f"Bearer {key}"}
        try:
            async with asyncio.timeout(patience):
                while True:
                    answer = await http.post(PATH, json=body, headers=headers)
                    statuses[key][answer.status_code] += 1
                    if answer.status_code != 429:
                        break
                    assert int(answer.headers["Retry-After"]) >= 1
                    await asyncio.sleep(0.1)  # it will not wait so long
            assert "[DONE]" in answer.text if number % 2 else answer.json()["choices"]
        except TimeoutError:
            left[key] += 1

    async with gateway(keys=keys, database=database, speed=100) as running:
        limits = httpx.Limits(max_connections=None)
        async with (
            httpx.AsyncClient(base_url=running.url, timeout=PATIENCE, limits=limits) as http,
            asyncio.timeout(PATIENCE),
        ):
            async with asyncio.TaskGroup() as tasks:
                for number in range(100):
                    patience = chance.uniform(0, 3) if chance.random() < 0.5 else None
                    tasks.create_task(client(number, patience, http))
            await running.idle()
            made = await asyncio.to_thread(keys.create, Key(name="seer", metrics=True))
            seer = {"Authorization": f"Bearer {made}"}
            page = (await http.get("/metrics", headers=seer)).text
        figures = dict(line.rsplit(" ", 1) for line in page.splitlines() if line[:1] != "#")
        tokens = sum(
            float(value)
            for name, value in figures.items()
            if name.startswith("spex_gateway_tokens_total")
        )
        assert tokens == running.engine.decoded_tokens
        assert not await running.parts.searches.records.running()
    assert left.total() > 10
    assert statuses[crowd].keys() == {200, 429}
    assert statuses[crowd][200] >= 70 - left[crowd]
    for key in others:  # never refused for what the crowd does
        assert statuses[key].keys() == {200}
        assert statuses[key][200] >= 10 - left[key]


async def test_searches_run_ahead_in_the_share_of_their_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: set[str | None] = set()
    offer = Budget.offer

    def seen(self: Budget, searcher: Any, offers: Any, *, share: str | None, **others: Any) -> None:
        shares.add(share)
        offer(self, searcher, offers, share=share, **others)

    monkeypatch.setattr(Budget, "offer", seen)
    keys = KeyStore(str(tmp_path / "gateway.sqlite"))
    async with gateway(served=False, keys=keys) as running:
        for name in ("tutors", "coders"):
            secret = await asyncio.to_thread(keys.create, Key(name=name))
            async with running.http(secret) as http:
                assert (await http.post(PATH, json=ASKED)).status_code == 200
    assert shares == {"tutors", "coders"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_schema_holds_whatever_is_sent(tmp_path: Path) -> None:
    small = ("--refusals", "1000000", "--speed", "2000", "--most-width", "4", "--most-depth", "3")
    with process(tmp_path, *small) as (_, address):
        schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
        names = set()
        for found in schema.get_all_operations():
            operation = found.ok()  # type: ignore[union-attr]
            names.add(operation.label)

            @given(case=operation.as_strategy())
            @settings(
                max_examples=25,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            def holds(case: Any) -> None:
                if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
                    case.body["model"] = "spex/rebase-2"  # else it would be a 404 for ever
                case.call_and_validate(
                    checks=[check for check in CHECKS.get_all() if check.__name__ in HOLD],
                    timeout=PATIENCE,
                )

            holds()
        assert {check.__name__ for check in CHECKS.get_all()} >= set(HOLD)
        assert f"POST {PATH}" in names
        assert httpx.get(f"{address}/readyz").status_code == 200
        rebound = {"Host": "rebound.example"}  # without keys, it is for this machine alone
        assert httpx.get(f"{address}/readyz", headers=rebound).status_code == 403
