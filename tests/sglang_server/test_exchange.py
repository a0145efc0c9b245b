"""Which ranks tell each other of faults: processes with SGLang's groups, on real collectives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

RANKS = 4

TELL = """
import json, sys, types
from multiprocessing import get_context
from types import SimpleNamespace

import torch.distributed as dist

from spex_agents.server.plugin.guard import RanksDifferError
from spex_agents.server.plugin.ranks import connect

ranks, place = int(sys.argv[1]), sys.argv[2]
context = types.ModuleType("sglang.srt.runtime_context")
sys.modules["sglang.srt.runtime_context"] = context
sys.modules["sglang.srt.managers.scheduler"] = None


def tell(rank):
    dist.init_process_group("gloo", init_method="file://" + place, rank=rank, world_size=ranks)

    def group(*members):
        made = [dist.new_group(list(each)) for each in members]
        (own,) = [number for number, each in enumerate(members) if rank in each]
        return SimpleNamespace(cpu_group=made[own], world_size=len(members[own]))

    every = group(range(ranks))
    pairs = group((0, 1), (2, 3))
    alone = group(*((each,) for each in range(ranks)))

    def told(*, dp, attn_tp, attn_cp=alone, tp=every, pp=1):
        context.get_parallel = lambda: SimpleNamespace(
            tp_group=tp, attn_tp_group=attn_tp, attn_cp_group=attn_cp, attn_dp_enabled=dp,
            pp_size=pp,
        )
        fault = rank == 1
        try:
            return None if (exchange := connect()) is None else exchange([fault, -fault])
        except RanksDifferError:
            return "ends"

    return {
        "one tensor-parallel group": told(dp=False, attn_tp=pairs),
        "DP attention": told(dp=True, attn_tp=pairs),
        "DP attention over context-parallel ranks": told(dp=True, attn_tp=alone, attn_cp=pairs),
        "DP attention, a rank each": told(dp=True, attn_tp=alone),
        "stages of a pipeline": told(dp=False, attn_tp=alone, tp=alone, pp=2),
    }


with get_context("fork").Pool(ranks) as pool:
    print(json.dumps(pool.map(tell, range(ranks), chunksize=1)))
"""


def test_a_fault_is_heard_by_all_that_share_a_queue_and_by_nobody_else(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TELL, str(RANKS), str(tmp_path / "meet")],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    heard: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    pair = [[1, 0], [1, 0], [0, 0], [0, 0]]
    assert {case: [rank[case] for rank in heard] for case in heard[0]} == {
        "one tensor-parallel group": [[1, 0]] * RANKS,
        "DP attention": pair,
        "DP attention over context-parallel ranks": pair,
        "DP attention, a rank each": [None] * RANKS,
        "stages of a pipeline": [[0, 0], "ends", [0, 0], [0, 0]],
    }
