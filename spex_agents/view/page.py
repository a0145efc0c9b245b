"""Builds the page: one file without a network, or the same fed by a gateway."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from spex_agents.view.standings import STANDINGS

SCRIPTS = ("model.js", "timeline.js", "tree.js", "page.js")
"""Parts of one module, in this order."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page, and the Content-Security-Policy that allows its own script and style alone.

    In a notebook it shows itself.

    Example:
        >>> Page(html="<p>tree</p>", policy="default-src 'none'").html
        '<p>tree</p>'
    """

    html: str = field(repr=False)
    policy: str

    def _repr_html_(self) -> str:
        """The page in a frame of its own, as notebooks show it: its styles and ours never meet."""
        return (
            f'<iframe srcdoc="{escape(self.html)}" sandbox="allow-scripts" '
            'style="width: 100%; height: 720px; border: 0"></iframe>'
        )


def run_page(runs: Sequence[Mapping[str, Any]]) -> Page:
    """A page that shows one run, or two beside each other; it needs no network.

    Args:
        runs: One or two of `recording`.

    Example:
        >>> import asyncio
        >>> from spex_agents import BestOfN, SearchConfig, solve
        >>> from spex_agents.engines import SimulatedEngine
        >>> from spex_agents.rewards import SimulatedReward
        >>> engine = SimulatedEngine(speed=1000)
        >>> config = SearchConfig(engine=engine, policy=BestOfN(width=2), reward=SimulatedReward())
        >>> result = asyncio.run(solve(config, "What is 5 + 7?"))
        >>> run_page([result.recorded]).html[:15]
        '<!doctype html>'
    """
    question = str(runs[0]["question"])
    return _page({"runs": runs}, title=" ".join(question.split())[:80], connect="'none'")


@cache
def live_page() -> Page:
    """A page for ``/v1/searches/{id}/view``, which asks the gateway for that search."""
    return _page({"live": True}, title="Search", connect="'self'")


def _page(data: Mapping[str, Any], *, title: str, connect: str) -> Page:
    style = _file("style.css")
    script = "\n".join(_file(name) for name in SCRIPTS)
    # `<` is the one character with which text could end its element.
    embedded = json.dumps({**data, "standings": STANDINGS}).replace("<", "\\u003c")
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash(script)}",
            f"style-src {_hash(style)}",
            "img-src data:",
            f"connect-src {connect}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    html = _file("page.html")
    parts = {"TITLE": escape(title), "POLICY": policy, "STYLE": style, "SCRIPT": script}
    for name, part in parts.items():
        html = html.replace(f"<!--{name}-->", part)
    return Page(html.replace("<!--DATA-->", embedded), policy)


def _file(name: str) -> str:
    return (files("spex_agents.view") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
