"""Two ranks of a tensor-parallel group: what one of them measures, both of them go by."""

from __future__ import annotations

import os
import re
from pathlib import Path

import anyio
import httpx
from launching import launch

from spex_agents.engines.sglang.protocol import END, SPECULATIVE

RIDGE = re.compile(r"TP(\d)\S* SPEX: the ridge of all ranks is (\d+) after step (\d+)")


def agreed(log: Path) -> list[list[tuple[str, str]]]:
    """Of each rank: the ridges it was told, each with the step before."""
    found = RIDGE.findall(log.read_text())
    return [[told[1:] for told in found if told[0] == rank] for rank in "01"]


async def write(client: httpx.AsyncClient, requests: int, **settings: object) -> list[list[int]]:
    """What some requests answer that are sent at once."""
    texts: dict[int, list[int]] = {}

    async def ask(number: int) -> None:
        body = {
            "input_ids": list(range(100 + number, 150 + number)),
            "sampling_params": {
                "max_new_tokens": 24, "temperature": 1.0, "ignore_eos": True,
                "sampling_seed": number,
            },
            **settings,
        }  # fmt: skip
        if settings:
            body["rid"] = f"ranks/0.{number}/thought-1{END}"
        answer = (await client.post("/generate", json=body)).raise_for_status().json()
        texts[number] = answer["output_ids"]

    async with anyio.create_task_group() as tasks:
        for number in range(requests):
            tasks.start_soon(ask, number)
    return [texts[number] for number in range(requests)]


async def test_both_ranks_are_told_the_first_ones_ridge_at_the_same_step(
    tiny: Path, tmp_path: Path
) -> None:
    cores = sorted(os.sched_getaffinity(0))
    ranks = {
        "SGLANG_CPU_OMP_THREADS_BIND": f"{cores[0]}|{cores[-1]}",  # it wants to be told
        "SGLANG_NCCL_SO_PATH": os.devnull,  # which it would load for a GPU, and fail without
    }
    with launch(tmp_path, "--policy", str(tiny), "--", "--tp", "2", env=ranks) as launched:
        url = launched.ready()["policy"]["url"]
        async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            for _ in range(20):
                alone = await write(client, 1)
                together = await write(client, 6)
                if any(agreed(tmp_path / "policy.log")):
                    break
            # And they go on in step: guesses are admitted by it, and seeds hold.
            guessed = await write(client, 6, priority=SPECULATIVE)
        first, second = agreed(tmp_path / "policy.log")
    assert first == second != []
    assert alone[0] == together[0] == guessed[0]
    assert together == guessed
