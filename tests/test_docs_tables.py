"""What is added has its row: dialects, engines, termination rules, rewards and votes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

import pytest
from printed import ROOT, blocks, without_blocks

from spex_agents import answers
from spex_agents.answers.registry import RULES
from spex_agents.answers.termination import TerminationRule
from spex_agents.answers.votes import Vote
from spex_agents.engines.openai.dialects import DIALECTS
from spex_agents.named import ENGINES, REWARDS
from spex_agents.nodes import SearchSettings
from spex_agents.rewards.combining.aggregate import By
from spex_agents.search import Policy
from spex_agents.search.registry import POLICIES
from spex_agents.speculation import SearchConfig

DOCS = ROOT / "docs"
VOTES = DOCS / "policies" / "README.md"
AGENTS = (DOCS / "agents.md").read_text(encoding="utf-8")
RULE_CLASSES: Mapping[str, type[TerminationRule]] = {
    name: each
    for name, each in vars(answers).items()
    if name in answers.__all__
    and isinstance(each, type)
    and issubclass(each, TerminationRule)
    and each is not TerminationRule
}
VALUES = {"n": 500, "d": 0.01, "s": 60, "at": datetime(2030, 1, 1, tzinfo=UTC)}
"""For what the table of rules leaves open."""


@cache
def table(page: Path, *heads: str) -> list[list[str]]:
    """The cells of the table of a page whose first columns are headed so."""
    head = "".join(rf"\| {re.escape(one)} " for one in heads)
    heading = rf"^{head}\|.*\n\|[-| ]+\|\n((?:\|.*\n)+)"
    (found,) = re.findall(heading, without_blocks(page), re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in found.splitlines()]


def named(cells: Iterable[str]) -> list[str]:
    """The names of code in cells, each as it begins: ``MaxTokens`` of ``MaxTokens(n)``."""
    return [name for cell in cells for name in re.findall(r"`\"?([\w-]+)[^`]*`", cell)]


def option(name: str) -> list[str]:
    """What the page of the command line says that an option takes."""
    (row,) = [row for row in table(DOCS / "cli.md", "option", "takes") if row[0] == f"`--{name}`"]
    return named(row[1:])


def policy_class(name: str) -> type[Policy]:
    module, _, attribute = POLICIES[name].partition(".")
    found: type[Policy] = getattr(import_module(f"spex_agents.search.policies.{module}"), attribute)
    return found


def test_a_dialect_has_a_row_of_what_holds_there() -> None:
    rows = table(DOCS / "engines.md", "dialect")
    assert sorted(named(row[0] for row in rows)) == sorted(DIALECTS)


def test_vllm_is_started_on_a_processor_as_the_tests_of_servers_start_it() -> None:
    (block,) = [one.text for one in blocks(DOCS / "engines.md", "sh") if "vllm serve" in one.text]
    (command,) = re.findall(r"^VLLM_CPU(?:.*\\\n)*.*$", block, re.MULTILINE)
    tested = (ROOT / "tests" / "servers" / "conftest.py").read_text(encoding="utf-8")
    told = set(re.findall(r"--[\w-]+|VLLM_\w+|vllm[\w.]+", command))
    assert {"--dtype", "--enforce-eager", "VLLM_CPU_KVCACHE_SPACE"} <= told
    assert [word for word in told if word not in tested] == []


def test_an_engine_is_named_where_engines_are() -> None:
    assert set(ENGINES) <= set(option("engine"))
    page = (DOCS / "engines.md").read_text(encoding="utf-8")
    assert [name for name in ENGINES if not re.search(rf"\b{name}\b", page)] == []


def test_a_termination_rule_has_a_row() -> None:
    assert RULE_CLASSES
    rows = table(DOCS / "ending.md", "rule")
    assert set(named(row[0] for row in rows)) == set(RULE_CLASSES)


def test_the_row_of_a_rule_tells_whether_it_is_lossy_and_depends_on_timing() -> None:
    for cell, _, lossy, timing in table(DOCS / "ending.md", "rule"):
        for code in re.findall(r"`([^`]+)`", cell):
            rule: TerminationRule = eval(code, {**RULE_CLASSES, **VALUES})  # noqa: S307 (ours)
            may = any(field.name == "eager" for field in fields(rule))  # type: ignore[arg-type]
            when = "if `eager`" if may and "ExactStop" not in code else "no"
            assert lossy == ("yes" if rule.lossy else "no"), code
            assert timing == ("yes" if rule.timed or rule.eager else when), code


def test_a_rule_of_the_command_line_is_named_there() -> None:
    assert sorted(option("termination")) == sorted(RULES)
    kinds = {type(rule).__name__ for rule in RULES.values() if rule is not None}
    assert kinds <= set(RULE_CLASSES)


def test_a_reward_of_the_command_line_has_a_row() -> None:
    rows = table(DOCS / "rewards.md", "name", "class")
    assert sorted(named(row[0] for row in rows)) == sorted(REWARDS)


def test_every_policy_says_who_votes() -> None:
    rows = table(VOTES, "policy", "by default")
    names = [policy_class(name).__name__ for name in POLICIES]
    assert sorted(named(row[0] for row in rows)) == sorted(names)


@pytest.mark.parametrize("name", POLICIES)
def test_the_row_of_a_policy_tells_each_other_way_to_count_its_votes(name: str) -> None:
    policy = policy_class(name)
    default = {each.name: each.default for each in fields(cast("Any", policy))}.get("counted")
    others = [way for way in get_args(get_type_hints(policy).get("counted")) if way != default]
    (row,) = [
        row for row in table(VOTES, "policy", "by default") if policy.__name__ in named(row[:1])
    ]
    assert named(row[2:3]) == others


def test_a_keyword_of_a_search_is_named_where_agents_are() -> None:
    (told,) = re.findall(r"keywords of `spex_agents\.nodes\.SearchSettings`: ([^.]+)\.", AGENTS)
    assert named([told]) == [*SearchSettings.__annotations__]


def test_a_vote_has_a_row() -> None:
    rows = table(VOTES, "vote")
    (default,) = [each.default for each in fields(SearchConfig) if each.name == "vote"]
    assert sorted(named(row[0] for row in rows)) == sorted(get_args(Vote))
    assert [named(row[:1]) for row in rows if "default" in row[1]] == [[default]]
    assert sorted(option("vote")) == sorted(get_args(Vote))


def test_a_vote_is_named_where_the_gateway_takes_one() -> None:
    (row,) = [row for row in table(DOCS / "gateway.md", "in `spex`") if row[0] == "`vote`"]
    assert sorted(named(row[1:])) == sorted(get_args(Vote))


def test_what_a_vote_weighs_is_told_with_each_of_its_values() -> None:
    text = VOTES.read_text(encoding="utf-8")
    assert [value for value in get_args(By) if f'`"{value}"`' not in text] == []
