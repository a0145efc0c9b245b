"""``spex bench gpu``: the plan, and what it makes of searches side by side."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from spex_agents.bench.gpu import GpuRun, side_by_side
from spex_agents.bench.report import gpu_table
from spex_agents.cli import app
from spex_agents.engines import SimulatedEngine
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.errors import SettingsError
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
    assert both.plan()[-2:] == [
        "serve owner/name on two GPUs, --tp 2",
        "RSTAR-10 and REBASE-16, off and on 2 times: 1 at a time",
    ]


@pytest.mark.parametrize(
    "settings",
    [{}, {"policy": "a", "engine": "http://b"}, {"policy": "a", "queries": (0,)}],
    ids=str,
)
def test_a_run_that_cannot_be_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        GpuRun(**settings)  # type: ignore[arg-type]


def test_the_command_line_says_what_it_would_do() -> None:
    shown = CliRunner().invoke(app, ["bench", "gpu", "--policy", "a/b", "--plan", "--json"])
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)[1] == "serve a/b"
    wrong = CliRunner().invoke(app, ["bench", "gpu", "--policy", "a/b", "--profile", "no"])
    assert wrong.exit_code == 2
