"""What the site has beside docs/: the README, and a reference from the docstrings (`make docs`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import griffe
from properdocs.config.defaults import ProperDocsConfig
from properdocs.structure.files import File, Files
from properdocs.structure.pages import Page
from properdocs.utils import nest_paths
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).parents[1]

REFERENCE: Mapping[str, tuple[str, ...]] = {
    "spex_agents": (),
    "nodes": ("middleware",),
    "search": ("prompts", "registry"),
    "rewards": ("process", "profiles", "arithmetic"),
    "engines": (
        "base",
        "embedded",
        "openai",
        "sglang",
        "chat_model",
        "proposer",
        "simulated",
        "hardware",
        "clock",
    ),
    "speculation": ("config", "solve", "events", "budget", "termination", "ledger"),
    "view": ("recording.recording",),
    "problems": (),
    "demo": (),
    "cli": ("choices",),
    "server.gateway": ("app.create_gateway", "keys"),
    "sandbox": ("run.run",),
    "errors": (),
}
"""A page each: what a package's `__all__` names, its further public modules, and what a module of
the same name hides."""

FIRST = (
    "index.md",
    "quickstart",
    "agents.md",
    "migration.md",
    "speculation.md",
    "policies",
    "rewards.md",
    "cli.md",
    "view.md",
)
"""Of the site's pages; the others follow by name, and the reference is the last."""

STYLE = """
.wy-nav-content { max-width: 64rem }
.rst-content table.docutils td, .wy-table-responsive table td { white-space: normal }
.rst-content .highlight pre code { border: 0; padding: 0; background: none }
"""


def on_files(files: Files, config: ProperDocsConfig) -> Files:
    """Add the pages that docs/ does not hold, and put all into an order for the menu."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    style = STYLE + HtmlFormatter(style="friendly").get_style_defs(".highlight")
    added = {"index.md": readme.replace("](docs/", "]("), "site.css": style}
    for name, modules in REFERENCE.items():
        package = name if name == "spex_agents" else f"spex_agents.{name}"
        parts = [package, *(f"{package}.{module}" for module in modules)]
        text = [f"# {package}", *(f"::: {part}" for part in parts)]
        added[f"reference/{name}.md"] = "\n\n".join(text)
    for uri, text in added.items():
        files.append(File.generated(config, uri, content=text))
    pages = [file.src_uri for file in files.documentation_pages()]
    config.nav = nest_paths(sorted(pages, key=_place))  # type: ignore[no-untyped-call]
    return files


def on_page_markdown(markdown: str, *, page: Page, config: ProperDocsConfig, files: Files) -> str:
    """Leave links to what is not part of the site, but of the repository, as their text."""
    home = ROOT if page.file.src_uri == "index.md" else (ROOT / "docs" / page.file.src_uri).parent

    def text(link: re.Match[str]) -> str:
        target = (home / link[2]).resolve()
        outside = target.exists() and not target.is_relative_to(ROOT / "docs")
        return link[1] if outside else link[0]

    return re.sub(r"\[([^]]*)\]\(([\w./-]+)(?:#[^)]*)?\)", text, markdown)


def _place(uri: str) -> tuple[int, bool, str]:
    top, _, name = uri.partition("/")
    place = FIRST.index(top) if top in FIRST else len(FIRST) + (top == "reference")
    return place, name not in ("README.md", "spex_agents.md"), uri


class Examples(griffe.Extension):
    """Lets griffe, which knows sections of several examples alone, know those of one."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section of a docstring."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
