"""What the site has beside docs/: the README, and a reference from the docstrings (`make docs`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
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
    "answers": (),
    "search": ("prompts", "registry"),
    "rewards": ("asking.process", "asking.profiles", "checking.arithmetic"),
    "engines": ("openai", "simulated"),
    "speculation": (),
    "view": (),
    "problems": ("weekday_sums",),
    "demo": (),
    "named": (),
    "server.gateway": ("app.create_gateway", "keys"),
    "sandbox": ("run.run",),
    "errors": (),
}
"""A page each: what a package's `__all__` names, its further public modules, and what a module of
the same name hides."""

FIRST = (
    "index.md",
    "quickstart",
    "guides",
    "examples.md",
    "agents.md",
    "migration.md",
    "speculation.md",
    "policies",
    "rewards.md",
    "cli.md",
    "view.md",
)
"""Of the site's pages; the others follow by name, and the reference is the last."""

NAME = re.compile(r"(?<![`\w\[])`([A-Za-z_]\w*)`(?!`)")
"""A name in a docstring: `Thought`."""

STYLE = """
.wy-nav-content { max-width: 64rem }
.rst-content table.docutils td, .wy-table-responsive table td { white-space: normal }
.rst-content .highlight pre code { border: 0; background: none }
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


class Docstrings(griffe.Extension):
    """Links names in docstrings, and lets griffe know sections of one example."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Rewrite all docstrings, once all names can be resolved."""
        for module in (pkg, *_modules(pkg)):
            for each in (module, *_members(module)):
                if each.docstring is not None:
                    text = each.docstring.value.replace("\nExample:\n", "\nExamples:\n")
                    each.docstring.value = NAME.sub(partial(_linked, each), text)


def _modules(module: griffe.Module) -> Iterator[griffe.Module]:
    for below in module.modules.values():
        if not below.is_alias:
            yield below
            yield from _modules(below)


def _members(owner: griffe.Object) -> Iterator[griffe.Object]:
    for member in owner.members.values():
        if isinstance(member, griffe.Object) and not member.is_module:
            yield member
            yield from _members(member)


def _linked(place: griffe.Object, name: re.Match[str]) -> str:
    try:
        path = place.resolve(name[1])
    except griffe.NameResolutionError:
        return name[0]
    return f'<autoref identifier="{path}" optional><code>{name[1]}</code></autoref>'
