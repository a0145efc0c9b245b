"""The page in a real Chromium: what one sees, points at, and reaches with the keyboard."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from browsing import needs_chromium, tab
from gateways import ASKED, gateway
from playwright.async_api import Page, expect
from processes import PATIENCE
from typer.testing import CliRunner

from spex_agents.cli import app
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.rewards import SimulatedReward
from spex_agents.search import Limits, Rebase
from spex_agents.server.gateway.keys import Key, KeyStore
from spex_agents.speculation.config import SearchConfig, Speculation
from spex_agents.speculation.solving import solve
from spex_agents.view import run_page

pytestmark = [pytest.mark.slow, needs_chromium]

HOSTILE = "</script><script>window.hurt=1</script><img src=x onerror='window.hurt=1'><!--"

INK = """canvas => {
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const colors = new Set();
    for (let at = 0; at < data.length; at += 4)
        if (data[at + 3] === 255) colors.add(data.slice(at, at + 3).join());
    return [...colors];
}"""
"""The opaque colours in a canvas."""


async def run(width: int, *, ahead: bool, depth: int = 8) -> dict[str, Any]:
    """A recorded search with rewards that take half a second."""
    return await asyncio.to_thread(_run, width, ahead=ahead, depth=depth)  # a loop of its own


def _run(width: int, *, ahead: bool, depth: int) -> dict[str, Any]:
    config = SearchConfig(
        engine=SimulatedEngine(),
        policy=Rebase(width=width),
        reward=SimulatedReward(latency=0.5),
        limits=Limits(depth=depth),
        termination=None,
        speculation=Speculation() if ahead else None,
    )
    recorded = run_virtual(solve(config, "What is 5 + 7?")).recorded
    assert recorded is not None
    return dict(recorded)


def written(runs: Sequence[Mapping[str, Any]], folder: Path) -> str:
    file = folder / "page.html"
    file.write_text(run_page(runs).html, encoding="utf-8")
    return file.as_uri()


async def rows(page: Page) -> list[str]:
    labels: list[str] = await page.locator(".row").evaluate_all(
        "rows => rows.map(row => row.ariaLabel)"
    )
    return labels


async def drawn(page: Page, *, colours: int, index: int = 0) -> list[str]:
    """The colours in a canvas, once it has so many: it is drawn with the next frame."""
    canvas = page.locator("figure canvas").nth(index)
    async with asyncio.timeout(PATIENCE):
        while len(inks := await canvas.evaluate(INK)) < colours:
            await page.wait_for_timeout(20)
    return list(inks)


async def test_two_runs_are_compared_and_their_timelines_share_a_scale(tmp_path: Path) -> None:
    on, off = await run(8, ahead=True), await run(8, ahead=False)
    async with tab() as page:
        await page.goto(written([on, off], tmp_path))
        verdict = page.locator("#verdict")
        await expect(verdict).to_contain_text("the same tree")
        await expect(verdict).to_contain_text(
            f"speculation on took {on['seconds']:.2f}".rstrip("0")
        )
        await expect(page.locator("figcaption").nth(0)).to_contain_text("speculation off: ")
        await expect(page.locator("figcaption").nth(1)).to_contain_text("speculation on: ")
        waiting = page.locator("#outcome tr", has_text="tokens wasted")
        await expect(waiting.locator("td").first).to_have_text("0")
        for index, run_ in ((0, off), (1, on)):
            canvas = page.locator("figure canvas").nth(index)
            await drawn(page, colours=2, index=index)
            # The bars end where the run does, on a scale that is that of the slower one.
            extent = await canvas.evaluate("""canvas => {
                const context = canvas.getContext("2d"), width = canvas.width;
                const data = context.getImageData(0, 0, width, 20 * devicePixelRatio).data;
                let last = 0;
                for (let at = 0; at < data.length; at += 4)
                    if (data[at + 3] === 255) last = Math.max(last, (at / 4) % width);
                return last / width;
            }""")
            assert extent == pytest.approx(run_["seconds"] / off["seconds"] / 1.01, abs=0.02)
        ledger = page.locator("#ledger tr", has_text="launched").locator("td").nth(1)
        await expect(ledger).to_have_text(str(on["ledger"]["launched"]))
        assert off["ledger"]["failed"] == on["ledger"]["failed"] == 0  # which says nothing
        await expect(page.locator("#ledger tr", has_text="failed")).to_have_count(0)


async def test_other_trees_are_told_apart(tmp_path: Path) -> None:
    one, other = await run(4, ahead=True), await run(4, ahead=False)
    other["tree"][2]["text"] = "Something else."
    other["tree_sha256"] = "0" * 64
    async with tab() as page:
        await page.goto(written([one, other], tmp_path))
        await expect(page.locator("#verdict")).to_contain_text("different trees: 1 thoughts differ")


async def test_thoughts_show_their_text_on_hover_and_on_the_keyboard(tmp_path: Path) -> None:
    on = await run(8, ahead=True)
    async with tab() as page:
        await page.goto(written([on], tmp_path))
        details = page.locator("#details")
        text = on["tree"][1]["text"]
        await page.locator(".row.accepted", has_text=text).hover()
        await expect(details.locator("h3")).to_have_text("Thought 1")
        await expect(details.locator("pre")).to_have_text(text)
        await expect(details).to_contain_text("tokens")
        tree = page.locator("#tree")
        await tree.focus()
        await expect(details).to_contain_text("Thought 0")
        await page.keyboard.press("ArrowRight")
        await expect(details).to_contain_text("Thought 0.0")
        await expect(tree).to_have_attribute("aria-activedescendant", "thought-0.0")
        await page.keyboard.press("ArrowLeft")
        before = await page.locator("#tree > div").evaluate("space => space.clientHeight")
        await page.keyboard.press("ArrowLeft")
        folded = page.locator("[id='thought-0']")
        await expect(folded).to_have_attribute("aria-expanded", "false")
        assert await page.locator("#tree > div").evaluate("space => space.clientHeight") < before
        await folded.click(position={"x": 8, "y": 12})
        await expect(folded).to_have_attribute("aria-expanded", "true")
        await page.keyboard.press("End")
        assert await tree.evaluate("tree => tree.scrollTop") > 0


async def test_the_timeline_is_walked_with_the_keyboard_and_leads_to_the_tree(
    tmp_path: Path,
) -> None:
    async with tab() as page:
        await page.goto(written([await run(8, ahead=True)], tmp_path))
        canvas = page.locator("figure canvas")
        await canvas.focus()
        before = await canvas.screenshot()
        await page.keyboard.press("End")
        await expect(page.locator("#details h3")).to_contain_text("Thought")
        chosen = (await page.locator("#details h3").text_content() or "").removeprefix("Thought ")
        await page.keyboard.press("+")
        async with asyncio.timeout(PATIENCE):
            while await canvas.screenshot() == before:
                await page.wait_for_timeout(20)
        await page.keyboard.press("Enter")
        tree = page.locator("#tree")
        await expect(tree).to_be_focused()
        await expect(tree).to_have_attribute("aria-activedescendant", f"thought-{chosen}")


async def test_standings_are_told_by_more_than_colour_and_can_be_hidden(tmp_path: Path) -> None:
    async with tab() as page:
        await page.goto(written([await run(8, ahead=True)], tmp_path))
        labels = await rows(page)
        marks = await page.locator(".row .mark").all_text_contents()
        assert any(", retracted" in label for label in labels)
        told = {
            label.split(", ")[1].split(":")[0]: mark
            for label, mark in zip(labels, marks, strict=True)
        }
        assert len(set(told.values())) == len(told) > 1
        await page.locator("#standings button", has_text="retracted").click()
        assert not any(", retracted" in label for label in await rows(page))


async def test_hostile_text_stays_text(tmp_path: Path) -> None:
    one = await run(4, ahead=False)
    one["question"] = one["answer"] = one["settings"]["policy_settings"] = HOSTILE
    for row in one["tree"]:
        row["text"] = HOSTILE
    async with tab() as page:
        await page.goto(written([one], tmp_path))
        await expect(page.locator("#question")).to_have_text(HOSTILE)
        await page.locator(".row").first.hover()
        await expect(page.locator("#details pre")).to_have_text(HOSTILE)
        await expect(page.locator(".row .text").first).to_have_text(HOSTILE)
        assert await page.evaluate("window.hurt === undefined && document.images.length === 0")


async def test_what_a_model_reasoned_is_shown_beside_what_it_said(tmp_path: Path) -> None:
    one = await run(4, ahead=False)
    one["tree"][0]["reasoning"] = HOSTILE
    async with tab() as page:
        await page.goto(written([one], tmp_path))
        await page.locator(".row").first.hover()
        reasoned = page.locator("#details details pre")
        await expect(reasoned).to_be_hidden()
        await page.locator("#details summary").focus()
        await page.keyboard.press("Enter")
        await expect(reasoned).to_have_text(HOSTILE)
        await expect(page.locator("#details > pre")).to_have_text(one["tree"][0]["text"])


async def test_dark_and_light_differ_and_both_are_drawn(tmp_path: Path) -> None:
    address = written([await run(8, ahead=True)], tmp_path)
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    seen = []
    async with tab() as page:
        for scheme in schemes:
            await page.emulate_media(color_scheme=scheme)
            await page.goto(address)
            inks = await drawn(page, colours=3)  # demanded, in vain, rewards
            ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
            seen.append((ground, frozenset(inks)))
    assert seen[0][0] != seen[1][0]
    assert seen[0][1] != seen[1][1]


async def test_a_narrow_screen_needs_no_sideways_scrolling(tmp_path: Path) -> None:
    on = await run(8, ahead=True)
    on["question"] = "x" * 300
    async with tab(width=360) as page:
        await page.goto(written([on, await run(8, ahead=False)], tmp_path))
        await page.locator(".row").nth(1).click()
        assert await page.evaluate("document.documentElement.scrollWidth") == 360


@pytest.mark.alone
async def test_five_thousand_thoughts_do_not_stutter(tmp_path: Path) -> None:
    large = await run(900, ahead=False, depth=10)
    assert len(large["tree"]) >= 5000
    async with tab() as page:
        computing = await page.context.new_cdp_session(page)
        await computing.send("Performance.enable", {"timeDomain": "threadTicks"})

        async def computed() -> float:
            """Seconds of the page's thread on a processor, however busy the machine."""
            told = (await computing.send("Performance.getMetrics"))["metrics"]
            return next(float(one["value"]) for one in told if one["name"] == "TaskDuration")

        await page.goto(written([large], tmp_path))
        await expect(page.locator("#standings")).to_contain_text(f"{len(large['tree']):,}")
        assert await page.locator(".row").count() < 60
        loading = await computed()
        await page.locator("#tree").focus()
        for key in ("ArrowDown", "PageDown", "ArrowLeft", "ArrowRight", "End", "Home") * 5:
            await page.keyboard.press(key)
        await page.locator("#tree").hover()
        for _ in range(20):
            await page.mouse.wheel(0, 2000)
        await page.locator("figure canvas").focus()
        for key in ("ArrowRight", "+", "End", "-", "Home", "0") * 5:
            await page.keyboard.press(key)
        await page.locator("#collapse").click()
        await page.locator("#expand").click()
        await page.wait_for_timeout(200)
        acting = await computed() - loading
        print(f"loading: {loading:.2f} s, 85 steps: {acting:.2f} s")
        assert loading < 5
        assert acting / 85 < 0.05


@pytest.mark.model
async def test_a_run_of_the_embedded_model_has_its_tree_and_its_times(tmp_path: Path) -> None:
    small = ("--width", "2", "--depth", "2", "--step-tokens", "8", "--path-tokens", "16")
    files = [tmp_path / "on.json", tmp_path / "off.json"]
    for file, more in zip(files, ((), ("--no-speculation",)), strict=True):
        command = ["solve", "What is 2 + 3?", *small, "--record", str(file), *more]
        await asyncio.to_thread(CliRunner().invoke, app, command)
    page_file = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["view", *map(str, files), "--out", str(page_file)])
    assert done.exit_code == 0
    thoughts = json.loads(files[0].read_text())["tree"]
    async with tab() as page:
        await page.goto(page_file.as_uri())
        await expect(page.locator("#verdict")).to_contain_text("the same tree")
        await expect(page.locator("#standings")).to_contain_text(f"accepted {len(thoughts)}")
        for index in range(2):
            await drawn(page, colours=2, index=index)


async def test_a_gateway_shows_a_search_while_it_runs_to_who_has_its_key(tmp_path: Path) -> None:
    keys = KeyStore(str(tmp_path / "gateway.sqlite"))
    secret = keys.create(Key(name="tutors"))
    body = {**ASKED, "messages": [{"role": "user", "content": HOSTILE}]}
    async with (
        gateway(keys=keys, speed=0.7) as running,  # seconds to look at it, however busy the machine
        running.http(secret) as http,
        tab(refused=True) as page,
    ):
        begun = (await http.post("/v1/searches", json=body)).headers["Location"]
        answer = await page.goto(f"{running.url}{begun}/view", wait_until="domcontentloaded")
        assert answer is not None
        assert "script-src 'sha256-" in answer.headers["content-security-policy"]
        status = page.locator("#status")
        await expect(status).to_have_text("The gateway asks for a key.")
        await page.locator("#key").fill("sk-spex-wrong")
        await page.locator("#key-form button").click()
        await expect(status).to_have_text("The gateway does not know this key.")
        await page.locator("#key").fill(secret)
        await page.keyboard.press("Enter")
        await expect(status).to_have_text("running")
        await expect(page.locator("#question")).to_have_text(HOSTILE)
        await expect(page.locator(".row.demanded, .row.speculative").first).to_be_visible()
        await expect(status).to_have_text("done")
        found = (await http.get(begun)).json()
        await expect(page.locator("#standings")).to_contain_text(f"accepted {len(found['tree'])}")
        await expect(page.locator("#answer")).to_have_text(f"Answer: {found['answer']}")
        await expect(page.locator("figcaption")).to_contain_text(" requests")
        await drawn(page, colours=2)
        assert await page.evaluate("window.hurt === undefined")


async def test_a_page_of_an_ended_search_and_of_none(tmp_path: Path) -> None:
    async with gateway() as running, running.http() as http, tab(refused=True) as page:
        begun = (await http.post("/v1/searches", json=ASKED)).headers["Location"]
        await running.idle()
        await page.goto(f"{running.url}{begun}/view")
        await expect(page.locator("#status")).to_have_text("done")
        await expect(page.locator("#answer")).to_have_text("Answer: 12")
        await page.goto(f"{running.url}/v1/searches/none/view")
        await expect(page.locator("#status")).to_contain_text("no such search")
