"""A real Chromium, headless, for the tests of the page."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import ConsoleMessage, Page, async_playwright, expect
from processes import PATIENCE

expect.set_options(timeout=1000 * PATIENCE)

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium: install one, as the package chromium"
)


@asynccontextmanager
async def tab(*, width: int = 1100, refused: bool = False) -> AsyncIterator[Page]:
    """An empty tab. What the page throws fails the test, and what it logs as an error.

    Chromium logs what a Content-Security-Policy forbids, and answers like 401: `refused` expects
    the latter.
    """
    complaints: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(viewport={"width": width, "height": 800})
        page.set_default_timeout(1000 * PATIENCE)
        page.on("pageerror", lambda error: complaints.append(str(error)))

        def hear(line: ConsoleMessage) -> None:
            if line.type == "error" and not (refused and "status of 4" in line.text):
                complaints.append(line.text)

        page.on("console", hear)
        yield page
        await browser.close()
    assert complaints == []
