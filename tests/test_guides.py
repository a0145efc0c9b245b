"""The guides run as printed, each page in a process of its own, and name what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from printed import ROOT, blocks, run_page

from spex_agents.search.registry import POLICIES

GUIDES = sorted((ROOT / "docs" / "guides").glob("[!R]*.md"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in GUIDES if blocks(page, "python")], ids=lambda page: page.stem
)
def test_a_guide_runs_as_printed(page: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path, {})


def test_all_guides_are_in_their_index_and_short() -> None:
    index = (ROOT / "docs" / "guides" / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\((\w+\.md)\)", index)) == {page.name for page in GUIDES}
    for page in GUIDES:
        assert len(page.read_text(encoding="utf-8").split()) < 1000


def test_the_table_of_policies_names_those_that_there_are() -> None:
    text = (ROOT / "docs" / "guides" / "choosing.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"## Policy\n(.*?)\n## ", text, re.DOTALL)
    named = set(re.findall(r"`([a-z][a-z-]+)`", table))
    assert {"rebase", "best-of-n", "rstar"} <= named <= set(POLICIES)


def test_the_manifest_asks_for_paths_and_variables_that_the_gateway_has() -> None:
    (manifest,) = blocks(ROOT / "docs" / "guides" / "deploying.md", "yaml")
    deployment: Any = yaml.safe_load(manifest.text)
    pod = deployment["spec"]["template"]
    assert deployment["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    (container,) = pod["spec"]["containers"]
    compose = (ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8")
    assert all(variable["name"] in compose for variable in container["env"])
    gateway = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in gateway
