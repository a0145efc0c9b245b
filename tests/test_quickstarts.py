"""The quickstarts run as printed, on the model in the process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from printed import QUICKSTARTS, run_page


def named(page: Path) -> str:
    return page.stem


@pytest.mark.parametrize("page", QUICKSTARTS, ids=named)
def test_a_page_says_once_how_to_take_a_served_model(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"spex serve --policy", text)) == 1
    assert "SPEX_ENGINE=http" in text


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("page", QUICKSTARTS, ids=named)
def test_a_page_runs_as_printed(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPEX_ENGINE", raising=False)
    run_page(page, tmp_path, {})
