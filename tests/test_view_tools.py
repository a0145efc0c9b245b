"""The tools of the page of a run, in a browser: find, filter, keys, waits and cost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from browsing import needs_chromium, tab
from playwright.async_api import Page, expect
from searching import config, make_engine

from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.search import Rebase
from spex_agents.speculation.solving import Result, solve
from spex_agents.view import run_page

pytestmark = [pytest.mark.slow, needs_chromium]


async def recorded() -> dict[str, Any]:
    """A run with its answer's path, some reasoning, and a text that is there once."""

    async def main() -> Result:
        return await solve(config(make_engine(), Rebase(width=3)), "What is 5 + 7?", seed=3)

    run = (await asyncio.to_thread(run_virtual, main())).recorded  # a loop of its own
    assert run is not None
    rows = [dict(row) for row in run["tree"]]
    rows[-1] |= {"text": "An <unusual> needle.", "reasoning": "First a haystack.\nThen hay."}
    rows[-2] |= {"text": "", "reasoning": "Nothing but hay."}
    return {**run, "tree": rows}


async def opened(page: Page, run: Mapping[str, Any], folder: Path) -> None:
    file = folder / "page.html"
    file.write_text(run_page([run]).html, encoding="utf-8")
    await page.goto(file.as_uri())
    await expect(page.locator(".row").first).to_be_visible()  # it is drawn a moment after its load


def path_of(row: Mapping[str, Any]) -> str:
    return ".".join(map(str, row["path"]))


async def test_a_thought_is_found_by_what_it_says_and_shown_with_those_above_it(
    tmp_path: Path,
) -> None:
    run = await recorded()
    sought = path_of(run["tree"][-1])
    above = [sought[:end] for end in range(1, len(sought) + 1, 2)]
    async with tab() as page:
        await opened(page, run, tmp_path)
        everything = await page.locator(".row").count()
        await page.keyboard.press("/")
        await page.keyboard.type("NEEDLE")
        await expect(page.locator("#found")).to_have_text("1 found")
        shown = await page.locator(".row").evaluate_all("rows => rows.map(row => row.id)")
        assert shown == [f"thought-{one}" for one in above]
        await expect(page.locator("mark")).to_have_text("needle")
        await expect(page.locator("#details pre").last).to_have_text("An <unusual> needle.")
        await page.keyboard.press("Escape")
        await expect(page.locator("#tree")).to_be_focused()
        await expect(page.locator(".row")).to_have_count(everything)
        await page.locator("#find").fill("no such text at all")
        await expect(page.locator("#found")).to_have_text("0 found")
        await expect(page.locator(".row")).to_have_count(0)
        await expect(page.locator("#next")).to_be_disabled()


async def test_keys_go_from_one_thought_found_to_the_next_and_round(tmp_path: Path) -> None:
    run = await recorded()
    hay = [path_of(row) for row in run["tree"] if "hay" in row.get("reasoning", "")]
    async with tab() as page:
        await opened(page, run, tmp_path)
        await page.locator("#find").fill("hay")
        await expect(page.locator("#found")).to_have_text(f"{len(hay)} found")
        tree = page.locator("#tree")
        seen = []
        await tree.focus()
        for key in ("n", "n", "p"):
            await page.keyboard.press(key)
            seen.append(await tree.get_attribute("aria-activedescendant"))
        assert seen[0] != seen[1]
        assert seen[0] == seen[2]
        assert set(seen) == {f"thought-{one}" for one in hay}


async def test_reasoning_is_shown_as_reasoning(tmp_path: Path) -> None:
    run = await recorded()
    async with tab() as page:
        await opened(page, run, tmp_path)
        await page.locator(f"[id='thought-{path_of(run['tree'][-1])}']").click()
        block = page.locator("#details .reasoning")
        await expect(block.locator("summary")).to_contain_text("reasoning, 27 characters")
        assert await block.get_attribute("open") is None
        await expect(page.locator("#details > pre")).to_have_text("An <unusual> needle.")
        only = page.locator(f"[id='thought-{path_of(run['tree'][-2])}']")
        await only.click()
        await expect(only).to_contain_class("reasoned")
        await expect(block.locator("pre")).to_be_visible()
        await expect(block.locator("pre")).to_have_text("Nothing but hay.")


async def test_the_answers_path_can_be_seen_alone(tmp_path: Path) -> None:
    run = await recorded()
    async with tab() as page:
        await opened(page, run, tmp_path)
        length = len(run["answer_path"])
        await expect(page.locator(".row.chosen")).to_have_count(length)
        await page.keyboard.press("a")
        await expect(page.locator("#chosen")).to_have_attribute("aria-pressed", "true")
        await expect(page.locator(".row")).to_have_count(length)
        labels = await page.locator(".row").evaluate_all("rows => rows.map(row => row.ariaLabel)")
        assert all("on the answer's path" in label for label in labels)
        await page.keyboard.press("a")
        assert await page.locator(".row").count() > length


async def test_it_tells_what_the_search_waited_for_and_what_it_costs(tmp_path: Path) -> None:
    run = (await recorded()) | {"answer_path": None, "seconds": 10.0, "events": []}
    steps = [  # one thought is written for 4 s, then judged for 3; another is in vain
        ("0", "begun", 1.0),
        ("1", "speculative", 2.0),
        ("0", "written", 5.0),
        ("0", "accepted", 5.0),
        ("0", "scoring", 5.0),
        ("0", "judged", 8.0),
        ("0", "scored", 8.0),
        ("1", "wasted", 10.0),
    ]
    for id_, status, seconds in steps:
        event = {"type": "thought", "id": id_, "status": status, "seconds": seconds, "text": ""}
        run["events"].append({**event, "reward": None, "tokens": None})
    run["ledger"] |= {"sent_tokens": 2_000_000, "decoded_tokens": 500_000}
    async with tab() as page:
        await opened(page, run, tmp_path)
        outcome = page.locator("#outcome tr")
        await expect(outcome.filter(has_text="waiting for thoughts")).to_contain_text("40 %, 4 s")
        await expect(outcome.filter(has_text="rewards alone")).to_contain_text("30 %, 3 s")
        await page.locator("#sent-price").fill("0.25")
        await page.locator("#written-price").fill("2")
        await expect(page.locator("#price")).to_have_text("speculation on: 1.5")


async def test_letters_in_the_field_are_letters(tmp_path: Path) -> None:
    async with tab() as page:
        await opened(page, await recorded(), tmp_path)
        await page.locator("#find").focus()
        await page.keyboard.type("/nap")
        await expect(page.locator("#find")).to_have_value("/nap")
        await expect(page.locator("#chosen")).to_have_attribute("aria-pressed", "false")
