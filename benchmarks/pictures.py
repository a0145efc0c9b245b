"""The pictures of the page of a run, drawn anew: ``python -m benchmarks.pictures``.

Needs Chromium, and playwright to drive it (``pip install -e '.[dev]'``). The searches run on the
virtual clock, so two runs draw the same pictures with the same fonts.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from spex_agents import Limits, Rebase, Rstar, SearchConfig, Speculation, solve
from spex_agents.engines import SimulatedEngine, run_virtual
from spex_agents.rewards import SimulatedReward
from spex_agents.search import Policy
from spex_agents.view import run_page

REWARD_SECONDS = 1.0
WIDTH, SCALE = 860, 1.5
BARE = ".hint, [aria-label=Zoom] { display: none !important } section { padding: 0 8px 8px }"
"""No tools in the pictures, and a margin."""


def off_and_on(policy: Policy, depth: int) -> str:
    """The page of a search on a simulated 7B engine, without and with speculation."""
    runs: list[Mapping[str, Any]] = []
    for speculation in (None, Speculation()):
        config = SearchConfig(
            engine=SimulatedEngine(),
            policy=policy,
            reward=SimulatedReward(latency=REWARD_SECONDS, spread=0.5),
            limits=Limits(depth=depth),
            speculation=speculation,
        )
        result = run_virtual(solve(config, "What is 5 + 7?"))
        assert result.recorded is not None  # noqa: S101 (solve keeps it)
        runs.append(result.recorded)
    return run_page(runs).html


def draw(page: Page, html: str, parts: Mapping[str, str], folder: Path) -> None:
    """Write a picture of each of the page's `parts`: sections by the names of their pictures."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "page.html"
        file.write_text(html, encoding="utf-8")
        page.goto(file.as_uri())
        page.add_style_tag(content=BARE)
        page.locator("#tree").focus()
        page.keyboard.press("ArrowRight")
        for name, section in parts.items():
            picture = folder / f"{name}.png"
            page.locator(f"section[aria-labelledby={section}-title]").screenshot(path=picture)
            print(picture, file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="its executable")
    arguments = parser.parse_args()
    # First the searches, for each has an event loop of its own, as Playwright has.
    rebase, rstar = off_and_on(Rebase(width=16), 10), off_and_on(Rstar(rollouts=10), 5)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=arguments.chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page(
            viewport={"width": WIDTH, "height": 1000}, device_scale_factor=SCALE, bypass_csp=True
        )
        draw(page, rebase, {"timeline": "timeline", "tree": "tree"}, arguments.out)
        draw(page, rstar, {"timeline-rstar": "timeline"}, arguments.out)
        browser.close()


if __name__ == "__main__":
    main()
