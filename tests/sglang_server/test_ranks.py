"""Two ranks of a tensor-parallel group: what one of them measures or loses, both of them go by."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from asking import spex
from launching import launch

from spex_agents.engines.sglang.engine import SGLangEngine
from spex_agents.engines.sglang.protocol import END, SPECULATIVE

FAULTY = Path(__file__).parent / "faulty"
LOST = re.compile(r"TP(\d)\S* SPEX: lost on all ranks, at exchange (\d+): (.*)")
RIDGE = re.compile(r"TP(\d)\S* SPEX: the ridge of all ranks is (\d+) after step (\d+)")


def agreed(log: Path) -> list[list[tuple[str, str]]]:
    """Of each rank: the ridges it was told, each with the step before."""
    found = RIDGE.findall(log.read_text())
    return [[told[1:] for told in found if told[0] == rank] for rank in "01"]


async def write(
    client: httpx.AsyncClient, requests: int, run: str = "ranks", **settings: object
) -> list[list[int]]:
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
            body["rid"] = f"{run}/0.{number}/thought-1{END}"
        answer = (await client.post("/generate", json=body)).raise_for_status().json()
        texts[number] = answer["output_ids"]

    async with anyio.create_task_group() as tasks:
        for number in range(requests):
            tasks.start_soon(ask, number)
    return [texts[number] for number in range(requests)]


@pytest.fixture(scope="module")
def two(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address and the log of a server with two ranks, in which a hook can be made to fail."""
    logs = tmp_path_factory.mktemp("ranks")
    cores = sorted(os.sched_getaffinity(0))
    path = os.pathsep.join([str(FAULTY), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {
        "SGLANG_CPU_OMP_THREADS_BIND": f"{cores[0]}|{cores[-1]}",  # it wants to be told
        "SGLANG_NCCL_SO_PATH": os.devnull,  # which it would load for a GPU, and fail without
        "PYTHONPATH": path,
    }
    with launch(logs, "--policy", str(tiny), "--", "--tp", "2", env=env) as launched:
        yield launched.ready()["policy"]["url"], logs / "policy.log"


async def test_both_ranks_are_told_the_first_ones_ridge_at_the_same_step(
    two: tuple[str, Path],
) -> None:
    url, log = two
    async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
        for _ in range(20):
            alone = await write(client, 1)
            together = await write(client, 6)
            if any(agreed(log)):
                break
        # And they go on in step: guesses are admitted by it, and seeds hold.
        guessed = await write(client, 6, priority=SPECULATIVE)
    first, second = agreed(log)
    assert first == second != []
    assert alone[0] == together[0] == guessed[0]
    assert together == guessed


async def test_a_hook_that_fails_on_one_rank_is_given_up_on_both_at_the_same_step(
    two: tuple[str, Path],
) -> None:
    url, log = two
    async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
        before = await write(client, 6)
        failing = await write(client, 12, run="fault", priority=SPECULATIVE)
        after = await write(client, 6)
        guessed = await write(client, 6, run="later", priority=SPECULATIVE)
    assert before == failing[:6] == after == guessed
    lost = LOST.findall(log.read_text())
    assert {rank for rank, _, _ in lost} == {"0", "1"}
    assert len({(exchange, features) for _, exchange, features in lost}) == 1
    assert lost[0][2] == "admission"
    async with SGLangEngine(url) as engine:
        state = await spex(engine)
    assert "admission" not in state["features"]
    assert {"abort", "promotion", "seeds", "counters"} <= set(state["features"])
