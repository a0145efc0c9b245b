"""``spex bench gpu`` from end to end, on the CPU with a small model."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from launching import Served
from processes import SPEX

SMALL = ("--queries", "1", "--queries", "2", "--pairs", "1", "--rollouts", "2", "--width", "3")


def bench(*arguments: str) -> str:
    done = subprocess.run(
        [*SPEX, "bench", "gpu", *SMALL, "--depth", "2", "--step-tokens", "8",
         "--vocabulary", "4096", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_of_the_plan_is_measured(served: Served, tmp_path: Path) -> None:
    servers = ("--engine", served.policy, "--reward-engine", served.reward)
    planned = json.loads(bench(*servers, "--plan", "--json"))
    assert len(planned) == 3  # the sampler, and two loads
    out = tmp_path / "gpu.json"
    table = bench(*servers, "--out", str(out))
    report = json.loads(out.read_text())
    found = [(row["search"], row["queries"]) for row in report["rows"]]
    assert found == [("RSTAR-2", 1), ("RSTAR-2", 2), ("REBASE-3", 1), ("REBASE-3", 2)]
    assert all(row["agreement"] == 1 for row in report["rows"])
    assert {cost["batch"] for cost in report["sampler"]} == {1, 64, 256}
    assert report["machine"]["sglang"]
    assert "REBASE-3" in table
    assert "seeds, top-p 0.95" in table
