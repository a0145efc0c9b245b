"""``spex bench gpu``: the plan, and what it makes of searches side by side."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from spex_agents.bench import gpu
from spex_agents.bench.gpu import GpuRow, GpuRun, measure, side_by_side
from spex_agents.bench.report import gpu_table
from spex_agents.cli import app
from spex_agents.engines import SimulatedEngine
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.errors import EngineError, SettingsError
from spex_agents.rewards import SimulatedReward
from spex_agents.search import Limits
from spex_agents.search.registry import make_policy
from spex_agents.speculation.config import SearchConfig, Speculation

RUN = GpuRun(policy="owner/name", queries=(1, 3), pairs=2, rollouts=4, width=4)


@pytest.mark.parametrize("queries", [1, 3])
def test_searches_off_and_on_at_the_same_time_are_one_row(queries: int) -> None:
    config = SearchConfig(
        engine=SimulatedEngine(),
        policy=make_policy("rstar", rollouts=4),
        reward=SimulatedReward(),
        limits=Limits(depth=4),
        termination=None,
        failures=None,
        speculation=Speculation(),
    )
    row = run_virtual(side_by_side(config, RUN, search="RSTAR-4", gpus=1, queries=queries))
    assert (row.search, row.queries, row.agreement) == ("RSTAR-4", queries, 1)
    assert row.off_s > row.on_s > 0
    assert row.lowest <= row.speedup == pytest.approx(row.off_s / row.on_s, rel=0.2)
    table = gpu_table(
        {
            "machine": {"gpus": ["a card"], "processor": "x", "sglang": "1"},
            "models": {"policy": "owner/name"},
            "rows": [row.report()],
            "sampler": [],
        }
    )
    assert table.row_count == 1


def test_the_plan_names_models_loads_and_the_second_gpu() -> None:
    assert [line for line in RUN.plan() if "at the same time" in line][1].endswith(
        "scored by its own confidence: 3 at the same time"
    )
    both = GpuRun(policy="owner/name", reward="owner/other", two=True)
    assert "serve owner/name and owner/other" in both.plan()
    assert both.plan()[-3:] == [
        "serve owner/name on two GPUs, --tp 2",
        "RSTAR-10 and REBASE-16, off and on 2 times: 1 at a time",
        "begin no load that would go beyond 15 minutes of searches",
    ]


async def test_results_are_kept_as_they_come_and_what_takes_too_long_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = replace(RUN, queries=(3, 1), minutes=2)
    clock = iter(range(0, 10_000, 100))  # 100 seconds for whatever is measured
    told: list[str] = []
    kept: list[dict[str, Any]] = []

    @asynccontextmanager
    async def served(run: GpuRun, gpus: int) -> AsyncIterator[SimulatedEngine]:
        yield SimulatedEngine()

    async def row(*_: object, search: str, gpus: int, queries: int) -> GpuRow:
        assert len(kept) == 1 + len(kept[-1]["rows"])
        return GpuRow(
            search=search, gpus=gpus, queries=queries, off_s=2, on_s=1, speedup=2, lowest=2,
            agreement=1, waste=0,
        )  # fmt: skip

    async def awake(*_: object) -> None: ...

    monkeypatch.setattr(gpu, "_served", served)
    monkeypatch.setattr(gpu, "side_by_side", row)
    monkeypatch.setattr(gpu, "wake", awake)
    monkeypatch.setattr(gpu, "sampler_cost", lambda vocabulary: ([], "out of memory"))
    monkeypatch.setattr(gpu, "perf_counter", lambda: next(clock))
    report = await measure(run, told.append, lambda report: kept.append(deepcopy(report)))
    assert [(row["search"], row["queries"]) for row in report["rows"]] == [
        ("RSTAR-4", 1),
        ("REBASE-4", 1),
    ]
    assert report["left_out"] == [
        "the sampler: out of memory", "RSTAR-4, 3 at a time", "REBASE-4, 3 at a time"
    ]  # fmt: skip
    assert [len(each["rows"]) for each in kept] == [0, 1, 2]


@pytest.mark.parametrize(
    "settings",
    [{}, {"policy": "a", "engine": "http://b"}, {"policy": "a", "queries": (0,)}],
    ids=str,
)
def test_a_run_that_cannot_be_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        GpuRun(**settings)  # type: ignore[arg-type]


def test_what_was_measured_before_a_server_failed_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    report = {
        "machine": {"gpus": ["a card"], "processor": "x", "sglang": "1"},
        "models": {"policy": "a/b"}, "rows": [], "sampler": [], "left_out": [],
    }  # fmt: skip
    row = GpuRow(
        search="RSTAR-10", gpus=1, queries=8, off_s=2, on_s=1, speedup=2, lowest=2, agreement=1,
        waste=0,
    )  # fmt: skip

    async def fails(_: GpuRun, __: object, keep: Callable[[dict[str, Any]], None]) -> None:
        keep(report | {"rows": [row.report()]})
        raise EngineError("SGLang died")

    monkeypatch.setattr(gpu, "measure", fails)
    out = tmp_path / "gpu.json"
    shown = CliRunner().invoke(app, ["bench", "gpu", "--policy", "a/b", "--out", str(out)])
    assert shown.exit_code == 3
    assert "SGLang died" in shown.stderr
    assert "RSTAR-10" in shown.stdout
    assert len(json.loads(out.read_text())["rows"]) == 1


def test_the_command_line_says_what_it_would_do() -> None:
    shown = CliRunner().invoke(app, ["bench", "gpu", "--policy", "a/b", "--plan", "--json"])
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)[1] == "serve a/b"
    for wrong in (("--profile", "no"), ("--out", "/no/such/place/gpu.json")):
        refused = CliRunner().invoke(app, ["bench", "gpu", "--policy", "a/b", *wrong])
        assert refused.exit_code == 2
