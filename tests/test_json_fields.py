"""The tables of JSON fields name what the commands print, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from printed import ROOT
from typer.testing import CliRunner

from spex_agents.bench.drafts import WAYS, DraftComparison, Rate, Round
from spex_agents.bench.never_slower import WORLDS
from spex_agents.bench.predictor import measure
from spex_agents.bench.real import Comparison, Pair
from spex_agents.cli import app
from spex_agents.search import Rebase


def told(page: str, heading: str) -> Mapping[str, set[str]]:
    """The fields of a page's table, by what prints them."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (section,) = re.findall(rf"^#+ {heading}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    fields: dict[str, set[str]] = {}
    for named, of in re.findall(r"^\| (`[^|]*) \| (`[^|]*) \|", section, re.MULTILINE):
        for command in re.findall(r"`([^`]+)`", of):
            fields.setdefault(command, set()).update(re.findall(r"`([^`]+)`", named))
    return fields


BENCH = told("benchmarks.md", "Fields of the JSON")


def fields(printed: Mapping[str, Any]) -> set[str]:
    """The fields of an object and of the rows in it."""

    def walk(found: Mapping[str, Any]) -> Iterator[str]:
        for name, value in found.items():
            yield name
            if isinstance(value, list):
                for row in value:
                    yield from walk(row) if isinstance(row, dict) else ()

    return set(walk(printed))


def printed(*arguments: str) -> dict[str, Any]:
    outcome = CliRunner().invoke(app, arguments)
    assert outcome.exit_code == 0, outcome.output
    found: dict[str, Any] = json.loads(outcome.stdout)
    return found


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("sim", ("--policy", "rstar", "--rollouts", "2", "--seeds", "1")),
        ("scaling", ("--policy", "rebase", "--width", "2", "--workers", "1", "--queries", "1")),
        ("never-slower", ("--policy", "beam", "--world", next(iter(WORLDS)), "--seeds", "1")),
    ],
)
def test_what_runs_on_the_virtual_clock_prints_what_the_page_tells(
    command: str, options: tuple[str, ...]
) -> None:
    found = fields(printed("bench", command, *options, "--json"))
    goals = {"goal_speedup", "goal_oracle_share"} if command == "sim" else set()
    assert found | goals == BENCH[command]


def test_what_measures_real_seconds_prints_what_the_page_tells() -> None:
    pair = Pair(
        off_s=2.0,
        on_s=1.0,
        off_rate=40.0,
        on_rate=90.0,
        useful_tokens=80,
        wasted_tokens=10,
        hit_rate=0.5,
        same_tree=True,
        same_answer=True,
    )
    about = {"label": "rstar-2", "engine": "embedded/model", "exactness": "exact"}
    comparison = Comparison(**about, slots="16 slots", pairs=[pair])
    assert fields(comparison.report()) == BENCH["real"]
    rate = Rate(
        requests=4, off=40.0, on=50.0, ratio=1.25, per_step=1.5, accepted=0.25, same_texts=True
    )
    one = Round(seconds=dict.fromkeys(WAYS, 1.0), same_tree=True)
    drafts = DraftComparison(**about, draft_tokens=4, rates=[rate], rounds=[one])
    assert fields(drafts.report()) == BENCH["drafts"]
    cost = measure("rebase-4", Rebase(width=4), 3)
    assert fields({"rows": [cost.report()]}) == BENCH["predictor"]


def test_a_comparison_writes_what_the_page_tells(tmp_path: Path) -> None:
    figures, kept, problems = (tmp_path / name for name in ("out.json", "rows.jsonl", "mine.jsonl"))
    problems.write_text(json.dumps({"question": "What is 5 + 7?", "answer": "12"}))
    command = ["compare", "--problems", str(problems), "--engine", "simulated", "--width", "2"]
    command += ["--depth", "3", "--policy", "rebase", "--policy", "best-of-n"]
    command += ["--json", str(figures), "--rows", str(kept)]
    outcome = CliRunner().invoke(app, command)
    assert outcome.exit_code == 0, outcome.output
    compared = told("compare.md", "Files")
    assert fields(json.loads(figures.read_text())) == compared["json"] | compared["lines"]
    first, *rows = [json.loads(line) for line in kept.read_text().splitlines()]
    assert first.keys() == {"settings"}
    assert {name for row in rows for name in row} == compared["rows"]
