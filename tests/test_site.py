"""The site that `make docs` builds is whole: every public name, and every link."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from printed import PAGES, README, ROOT, blocks

import spex_agents

pytestmark = pytest.mark.slow

HIDDEN = {"spex_agents.sandbox.run"}
"""By modules of the same name; they are shown as names of these."""


class Html(HTMLParser):
    """The ids and the links of one page, and its text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built with warnings as errors."""
    directory = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "properdocs", "build", "--strict", "--site-dir", str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture(scope="module")
def pages(site: Path) -> Mapping[Path, Html]:
    return {page: Html(page) for page in site.rglob("*.html")}


def public_names() -> Iterator[list[str]]:
    """What packages name as public; the names of one thing together."""
    found = pkgutil.walk_packages(spex_agents.__path__, "spex_agents.")
    names: dict[int, list[str]] = {}
    for package in ("spex_agents", *(module.name for module in found if module.ispkg)):
        if package.startswith("spex_agents.server.cpu.kernel"):
            continue
        home = importlib.import_module(package)
        for name in getattr(home, "__all__", []):
            names.setdefault(id(getattr(home, name)), []).append(f"{package}.{name}")
    yield from names.values()


def test_every_public_name_is_in_the_reference(pages: Mapping[Path, Html]) -> None:
    ids = {name for page in pages.values() for name in page.ids}
    names = list(public_names())
    assert len(names) > 100
    assert [each for each in names if not (ids | HIDDEN) & set(each)] == []
    assert {f"{name}.{name.rpartition('.')[2]}" for name in HIDDEN} <= ids


def imported(code: str) -> Iterator[str]:
    """What a snippet imports from here."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spex_agents"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_what_the_docs_import_is_in_the_reference(pages: Mapping[Path, Html]) -> None:
    ids = {name for page in pages.values() for name in page.ids}
    printed = {
        name
        for page in (README, *PAGES)
        for block in blocks(page, "python")
        for name in imported(block.text)
    }
    assert len(printed) > 30
    assert sorted(printed - ids - HIDDEN) == []


def test_every_page_of_the_docs_is_there(site: Path) -> None:
    sources = [*(ROOT / "docs").rglob("*.md"), README]
    assert len(list(site.rglob("*.html"))) > len(sources)
    for source in (ROOT / "docs").rglob("*.md"):
        page = source.relative_to(ROOT / "docs").with_suffix(".html")
        assert (site / str(page).replace("README", "index")).exists()


def test_no_link_within_leads_nowhere(pages: Mapping[Path, Html]) -> None:
    broken = []
    for page, html in pages.items():
        for link in html.links:
            target, anchor = urldefrag(link)
            if urlsplit(link).scheme or page.name == "404.html":
                continue
            aim = Path(os.path.normpath(page.parent / unquote(target))) if target else page
            if not aim.exists() or (aim in pages and anchor and anchor not in pages[aim].ids):
                broken.append(f"{page.name}: {link}")
    assert broken == []


def test_nothing_is_asked_from_elsewhere_and_no_path_of_this_machine_is_told(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for home in (str(ROOT), sys.prefix, str(Path.home())):
            assert home not in text, page
        assert 'src="http' not in text, page
        assert 'rel="stylesheet" href="http' not in text, page


def test_an_example_of_a_docstring_is_shown_as_code(site: Path) -> None:
    text = (site / "reference" / "nodes.html").read_text(encoding="utf-8")
    assert "Example:" not in text
    assert '<span class="gp">&gt;&gt;&gt; </span>' in text


def test_a_name_in_a_docstring_leads_to_its_place(site: Path) -> None:
    text = (site / "reference" / "nodes.html").read_text(encoding="utf-8")
    (passage,) = re.findall("await its run through(.{,200})", text, re.DOTALL)
    assert 'href="#spex_agents.nodes.apart"' in passage
    assert "<autoref" not in text
