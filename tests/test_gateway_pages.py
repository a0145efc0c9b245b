"""The list of a key's searches, page by page."""

from __future__ import annotations

import asyncio
import contextlib
import io
from pathlib import Path

import openai
from gateways import ASKED, Running, gateway
from openai.pagination import AsyncCursorPage, SyncCursorPage
from printed import ROOT, blocks
from sqlalchemy import update

from spex_agents.server.gateway.keys import Key, KeyStore
from spex_agents.server.gateway.schema import searches


class Search(openai.BaseModel):
    """What the client makes of a search of the list."""

    id: str
    state: str


async def begun(running: Running, count: int, key: str | None = None) -> list[str]:
    """The ids of so many searches, the latest first."""
    ids: list[str] = []
    async with running.http(key) as http:
        for seed in range(count):
            asked = {**ASKED, "model": "spex/rebase-1", "seed": seed}
            answer = await http.post("/v1/searches", json=asked)
            assert answer.status_code == 202
            ids.insert(0, answer.json()["id"])
        await running.idle()
    return ids


async def walked(client: openai.AsyncOpenAI, **query: object) -> list[str]:
    pages = client.get_api_list(
        "/searches", model=Search, page=AsyncCursorPage[Search], options={"params": query}
    )
    return [search.id async for search in pages]


async def test_openais_client_walks_all_searches() -> None:
    async with gateway() as running:
        ids = await begun(running, 23)
        async with running.client() as client:
            assert await walked(client) == ids  # a page of 20, and the rest
            assert await walked(client, limit=5) == ids
            assert await walked(client, limit=23) == ids
            assert await walked(client, limit=5, after=ids[6]) == ids[7:]
            assert await walked(client, limit=5, order="desc") == ids
            assert await walked(client, limit=5, order="asc") == ids[::-1]
            assert await walked(client, limit=5, order="asc", after=ids[6]) == ids[:6][::-1]
        with openai.OpenAI(base_url=f"{running.url}/v1", api_key="none") as blocking:

            def walk() -> list[str]:
                pages = blocking.get_api_list(
                    "/searches", model=Search, page=SyncCursorPage[Search]
                )
                return [search.id for search in pages]

            assert await asyncio.to_thread(walk) == ids


async def test_a_page_says_where_it_begins_and_ends_and_whether_that_is_all() -> None:
    async with gateway(served=False) as running, running.http() as http:
        empty = (await http.get("/v1/searches")).json()
        assert empty == {
            "object": "list",
            "data": [],
            "first_id": None,
            "last_id": None,
            "has_more": False,
        }
        ids = await begun(running, 3)
        page = (await http.get("/v1/searches", params={"limit": 2})).json()
        assert [search["id"] for search in page["data"]] == ids[:2]
        assert (page["first_id"], page["last_id"], page["has_more"]) == (ids[0], ids[1], True)
        rest = (await http.get("/v1/searches", params={"after": ids[1]})).json()
        assert (rest["first_id"], rest["last_id"], rest["has_more"]) == (ids[2], ids[2], False)


async def test_the_walk_of_the_page_prints_each_search() -> None:
    _, walk, *_ = blocks(ROOT / "docs" / "gateway.md", "py")
    async with gateway() as running:
        ids = await begun(running, 21)
        with openai.OpenAI(base_url=f"{running.url}/v1", api_key="none") as client:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                await asyncio.to_thread(exec, walk.text, {"client": client})
    assert printed.getvalue().splitlines() == [f"{one} done" for one in ids]


async def test_what_a_list_does_not_take_is_refused() -> None:
    async with gateway(served=False) as running, running.http() as http:
        for query in ({"order": "up"}, {"before": "one"}):
            refused = await http.get("/v1/searches", params=query)
            (name,) = query
            assert (refused.status_code, name in refused.json()["error"]["message"]) == (400, True)


async def test_a_ledgers_figures_are_the_same_in_an_answer_and_in_the_list() -> None:
    async with gateway(served=False) as running, running.http() as http:
        answer = (await http.post("/v1/chat/completions", json=ASKED)).json()["spex"]
        (listed,) = (await http.get("/v1/searches")).json()["data"]
        looked_at = (await http.get(f"/v1/searches/{answer['id']}")).json()
    for found in (listed, looked_at):
        assert repr(found["ledger"]) == repr(answer["ledger"])  # 7 is not 7.0


async def test_searches_of_one_moment_are_walked_each_once() -> None:
    async with gateway() as running:
        ids = await begun(running, 7)
        await running.parts.searches.database.execute(update(searches).values(created=1.5))
        async with running.client() as client:
            assert await walked(client, limit=2) == sorted(ids, reverse=True)
            assert await walked(client, limit=2, order="asc") == sorted(ids)


async def test_one_that_cannot_be_read_does_not_end_the_walk() -> None:
    async with gateway() as running:
        ids = await begun(running, 7)
        broken = searches.c.id.in_(ids[2:5])
        await running.parts.searches.database.execute(
            update(searches).where(broken).values(body="{")
        )
        running.parts.searches._known.alive.clear()
        async with running.client() as client:
            assert await walked(client, limit=2) == [*ids[:2], *ids[5:]]


async def test_a_key_cannot_begin_after_anothers_search_or_after_none(tmp_path: Path) -> None:
    keys = KeyStore(str(tmp_path / "gateway.sqlite"))
    mine, other = (keys.create(Key(name=name)) for name in ("mine", "other"))
    async with gateway(keys=keys, served=False) as running:
        (theirs,) = await begun(running, 1, other)
        (own,) = await begun(running, 1, mine)
        async with running.http(mine) as http:
            for after, status in ((own, 200), (theirs, 404), ("none", 404), ("x" * 65, 400)):
                answer = await http.get("/v1/searches", params={"after": after})
                assert answer.status_code == status, after
            await http.delete(f"/v1/searches/{own}")
            gone = (await http.get("/v1/searches", params={"after": own})).json()["error"]
            assert gone["param"] == "after"
            assert "the first page again" in gone["message"]
