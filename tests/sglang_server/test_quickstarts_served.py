"""The quickstarts run as printed, on a model that SGLang serves."""

from __future__ import annotations

from pathlib import Path

import pytest
from launching import Served
from printed import QUICKSTARTS, run_page


@pytest.mark.parametrize("page", QUICKSTARTS, ids=lambda page: page.stem)
def test_a_page_runs_as_printed(page: Path, served: Served, tmp_path: Path) -> None:
    run_page(page, tmp_path, {"SPEX_ENGINE": f"{served.policy}/v1"})
