"""Recordings and views of searches over several engines, and of merged candidates."""

from __future__ import annotations

import asyncio
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from browsing import needs_chromium, tab
from playwright.async_api import expect
from rich.console import Console
from typer.testing import CliRunner

from spex_agents.cli import app
from spex_agents.cli.live import picture
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.nodes import create_tot_graph
from spex_agents.rewards import SimulatedReward
from spex_agents.search import AbMcts, Rebase
from spex_agents.search.tree import Tree
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.session import Session
from spex_agents.speculation.solving import Result, run_to_end, solve
from spex_agents.view import run_page, streamed_recording

QUESTION = "What is 5 + 7?"


def by_parity(texts: Any) -> list[Any]:
    """Candidates are one if their numbers of characters are even, or odd."""
    return [len(text) % 2 for text in texts]


def merging(**settings: Any) -> SearchConfig:
    return SearchConfig(
        engine=SimulatedEngine(),
        policy=Rebase(width=6),
        reward=SimulatedReward(),
        merge=by_parity,
        **settings,
    )


def over_two() -> SearchConfig:
    return SearchConfig(
        engine=SimulatedEngine(),
        engines={"large": SimulatedEngine()},
        policy=AbMcts(rollouts=10, models=("", "large")),
        reward=SimulatedReward(),
    )


def solved(config: SearchConfig) -> Result:
    return run_virtual(solve(config, QUESTION, seed=2))


def test_a_recording_says_which_thoughts_repeat_others() -> None:
    result = solved(merging())
    merged = {
        ".".join(map(str, path)): ".".join(map(str, other)) for path, other in result.merged.items()
    }
    assert merged
    run = result.recorded
    assert run is not None
    rows = {".".join(map(str, row["path"])): row.get("same_as") for row in run["tree"]}
    told = {
        event["id"]: event.get("same_as")
        for event in run["events"]
        if event["status"] == "accepted"
    }
    assert {path: same for path, same in rows.items() if same is not None} == merged
    assert told == rows


def test_a_recording_says_which_engine_wrote_what() -> None:
    result = solved(over_two())
    run = result.recorded
    assert run is not None
    assert run["settings"]["engine"] == "simulated/paper-7b, large: simulated/paper-7b"
    assert set(run["engines"]) == {"", "large"}
    for row in run["tree"]:
        assert row.get("engine", "") == ("large" if row["path"][-1] % 2 else "")
    for event in run["events"]:
        last = int(event["id"].rpartition(".")[2])
        assert event.get("engine", "") == ("large" if last % 2 else "")


async def test_what_a_graph_streams_makes_the_same_rows() -> None:
    graph = create_tot_graph(
        SimulatedEngine(speed=1000),
        engines={"large": SimulatedEngine(speed=1000)},
        policy=AbMcts(rollouts=6, models=("", "large")),
        reward=SimulatedReward(latency=0.001),
    ).compile()
    parts = [
        part
        async for part in graph.astream(
            {"question": QUESTION, "seed": 2}, stream_mode=["custom", "values"]
        )
    ]
    events = [part for mode, part in parts if mode == "custom"]
    run = streamed_recording(QUESTION, parts[-1][1], events)
    assert {row.get("engine", "") for row in run["tree"]} == {"", "large"}


def test_the_command_line_records_searches_over_several_engines(tmp_path: Path) -> None:
    file, page = tmp_path / "run.json", tmp_path / "run.html"
    command = ["solve", QUESTION, "--engine", "simulated", "--also", "large=simulated=api"]
    command += ["--policy", "ab-mcts", "--rollouts", "6", "--record", str(file)]
    assert CliRunner().invoke(app, command).exit_code == 0
    run = json.loads(file.read_text())
    assert {row.get("engine", "") for row in run["tree"]} == {"", "large"}
    assert run["settings"]["engine"].endswith("large: simulated/api")
    assert CliRunner().invoke(app, ["view", str(file), "--out", str(page)]).exit_code == 0
    assert '"engine": "large"' in page.read_text()


def shown(config: SearchConfig) -> str:
    """The terminal's last picture of a search."""

    async def main() -> str:
        screen = Console(width=90, height=40, file=StringIO(), record=True)
        async with Session(config, Tree(QUESTION, 2), run="live") as session:
            await run_to_end(session)
            screen.print(picture(session, asyncio.get_running_loop().time(), rows=30))
        return screen.export_text()

    return run_virtual(main())


def test_the_terminal_marks_merged_thoughts_and_names_engines() -> None:
    config = merging()
    count = len(solved(config).merged)
    assert 0 < shown(config).count("≡ ") <= count
    lines = shown(over_two()).splitlines()
    assert any("● large " in line for line in lines)
    assert not any("≡" in line for line in lines)


@pytest.mark.slow
@needs_chromium
async def test_the_page_marks_merged_thoughts_and_names_engines(tmp_path: Path) -> None:
    merged, several = await asyncio.gather(
        *(asyncio.to_thread(solved, config) for config in (merging(), over_two()))
    )
    async with tab() as page:
        file = tmp_path / "merged.html"
        file.write_text(run_page([merged.recorded or {}]).html, encoding="utf-8")
        await page.goto(file.as_uri())
        rows = page.locator(".row.merged")
        await rows.first.click()
        await expect(page.locator("#details")).to_contain_text("same as")
        toggle = page.locator("#standings button", has_text="merged")
        await expect(toggle).to_contain_text(str(len(merged.merged)))
        await toggle.click()
        await expect(rows).to_have_count(0)
        tree = page.locator("#outcome tr", has_text="thoughts in the tree").locator("td")
        await expect(tree).to_have_text(str(len(merged.tree)))
        file.write_text(run_page([several.recorded or {}]).html, encoding="utf-8")
        await page.goto(file.as_uri())
        await page.locator("#thought-1").click()
        await expect(page.locator("#details")).to_contain_text("written bylarge")
        engines = page.locator("#outcome tr", has_text="tokens by engine").locator("td")
        await expect(engines).to_contain_text("large ")
