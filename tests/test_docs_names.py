"""The documents tell the settings and keywords that there are."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from printed import PAGES, README, ROOT, without_blocks

from spex_agents.search.registry import POLICIES

HOMES = (
    "answers",
    "engines.base",
    "engines.chat_model",
    "engines.embedded",
    "engines.functions",
    "engines.openai",
    "engines.prompts",
    "engines.sglang.engine",
    "engines.simulated",
    "nodes",
    "nodes.middleware",
    "rewards",
    "rewards.asking.process",
    "sandbox",
    "search",
    "speculation",
    "view",
)
PUBLIC: Mapping[str, Any] = {
    name: each
    for home in HOMES
    for name, each in vars(import_module(f"spex_agents.{home}")).items()
    if callable(each) and getattr(each, "__module__", "").startswith("spex_agents.")
}


def calls(page: Path) -> Iterator[tuple[str, list[str]]]:
    """What the text of a page calls, and with which keywords: ``Speculation(waste=1.5)``."""
    for found in re.finditer(r"`(\w+\([^`]*\))`", without_blocks(page)):
        code = re.sub(r"=\.\.\.", "=0", found[1]).replace("{0}", "0")
        try:
            call = ast.parse(code, mode="eval").body
        except SyntaxError:
            continue
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
            yield call.func.id, [each.arg for each in call.keywords if each.arg]


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.stem)
def test_keywords_that_the_text_names_are_taken(page: Path) -> None:
    for name, keywords in calls(page):
        if (public := PUBLIC.get(name)) is None:
            continue  # another package's
        parameters = inspect.signature(public).parameters
        takes = set(parameters)
        if "search" in parameters:
            takes |= set(import_module("spex_agents.nodes").SearchSettings.__annotations__)
        assert set(keywords) <= takes, f"{name}: {keywords}"


def test_there_are_keywords_to_check() -> None:
    named = [name for page in PAGES for name, keywords in calls(page) if keywords]
    assert sum(name in PUBLIC for name in named) > 25


@pytest.mark.parametrize("name", POLICIES)
def test_the_page_of_a_policy_tells_its_defaults(name: str) -> None:
    module, _, attribute = POLICIES[name].partition(".")
    policy = getattr(import_module(f"spex_agents.search.policies.{module}"), attribute)
    page = (ROOT / "docs" / "policies" / f"{name}.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^## Settings$(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    told = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", table, re.MULTILINE))
    defaults = {field.name: str(field.default) for field in fields(policy)}
    assert told
    assert told == {name: defaults[name] for name in told}
