"""``spex bench gpu`` from end to end, on the CPU with a small model."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from statistics import fmean

from processes import SPEX, writing_to

SMALL = ("--queries", "1", "--queries", "2", "--pairs", "1", "--rollouts", "2", "--width", "3")


def bench(*arguments: str, place: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*SPEX, "bench", "gpu", *SMALL, "--depth", "2", "--step-tokens", "8",
         "--vocabulary", "4096", *arguments],
        capture_output=True, text=True, check=False,
        env={**os.environ, "COLUMNS": "160", "TMPDIR": str(place)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def test_policy_and_reward_are_served_measured_and_ended(
    smollm2: Path, tiny_reward: Path, tmp_path: Path
) -> None:
    models = ("--policy", str(smollm2), "--reward", str(tiny_reward))
    planned = json.loads(bench(*models, "--plan", "--json", place=tmp_path).stdout)
    assert planned[1] == f"serve {smollm2} and {tiny_reward}"
    assert "scored by the reward model" in planned[2]
    out = tmp_path / "gpu.json"
    done = bench(*models, "--minutes", "600", "--out", str(out), place=tmp_path)
    report = json.loads(out.read_text())
    assert report["plan"][:-1] == planned[:-1]
    found = [(row["search"], row["queries"]) for row in report["rows"]]
    assert found == [("RSTAR-2", 1), ("REBASE-3", 1), ("RSTAR-2", 2), ("REBASE-3", 2)]
    assert report["left_out"] == []
    assert all(row["off_s"] > 0 < row["on_s"] for row in report["rows"])
    # Most: off and on are other batches, and a sum in another order may turn a choice.
    assert fmean(row["agreement"] for row in report["rows"]) > 0.5
    assert {cost["batch"] for cost in report["sampler"]} == {1, 64, 256}
    assert report["machine"]["sglang"]
    assert "REBASE-3" in done.stdout
    assert "seeds, top-p 0.95" in done.stdout
    (logs,) = tmp_path.glob("spex-serve-*")
    assert {log.name for log in logs.iterdir()} == {"policy.log", "reward.log"}
    assert not writing_to(logs)
