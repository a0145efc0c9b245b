"""Running ahead is never slower: the benchmark of that, and the worlds it runs in."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from benchmarks import slow
from spex_agents.bench.never_slower import LEAST_MEDIAN, LEAST_WORST, WORLDS, measure
from spex_agents.cli import app
from spex_agents.engines.base import Engine, Request, Sampling
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.engines.simulated.api import SimulatedApi
from spex_agents.engines.simulated.clock import run_virtual, spend
from spex_agents.rewards import SimulatedReward
from spex_agents.search import Thought
from spex_agents.search.registry import POLICIES

QUESTION = Prompt((Message("user", "What is 5 + 7?"),))
QUICK = ["rebase", "dvts", "rap", "rest-mcts", "tot-dfs", "rstar", "particles", "lats"]
"""Whose median is taken, in the steepest world."""

KEYS = {"policy", "world", "seeds", "worst", "median", "waste", "reward_calls", "same_tree"}


def never_slower(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", "never-slower", *arguments])


def test_a_row_has_every_figure() -> None:
    chosen = ("--policy", "rstar", "--world", "paper-7b", "--world", "linear")
    result = never_slower(*chosen, "--seeds", "1", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [row["world"] for row in report["rows"]] == ["paper-7b", "linear"]
    for row in report["rows"]:
        assert row.keys() >= KEYS
        assert (row["policy"], row["seeds"], row["same_tree"]) == ("rstar-10", 1, 1)
        assert row["worst"] <= row["median"]
    assert report["rows"][0]["worst"] > 4
    assert all(0 <= one["hit"] <= 1 for one in report["calibration"])


@pytest.mark.slow
def test_no_policy_is_slower_anywhere() -> None:
    others = [policy for policy in POLICIES if policy not in QUICK]
    rows, _ = measure(QUICK, ["linear"], seeds=3)
    rows += measure(others, ["linear"], seeds=1)[0]
    rows += measure(list(POLICIES), [world for world in WORLDS if world != "linear"], seeds=1)[0]
    assert all(row.same_tree == row.seeds for row in rows)
    medians = [row for row in rows if row.seeds > 1]
    assert all(round(row.median, 2) >= LEAST_MEDIAN for row in medians), medians
    assert not [
        f"{row.world}, {row.policy}: {row.median:.3f}, at least {row.worst:.3f}"
        for row in rows
        if round(row.worst, 2) < LEAST_WORST
    ]


@pytest.mark.parametrize("policy", ["rebase", "beam"])
def test_nothing_is_begun_early_where_demanded_work_alone_uses_up_the_allowance(
    policy: str,
) -> None:
    rows, _ = measure([policy], ["limited API"], seeds=1)
    assert (rows[0].worst, rows[0].median, rows[0].waste) == (1, 1, 0)


def test_what_a_search_leaves_of_the_allowance_is_used() -> None:
    rows, _ = measure(["rstar"], ["limited API"], seeds=1)
    assert rows[0].worst > 2


def test_a_policy_of_ones_own_is_measured_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_never.py").write_text(
        "from spex_agents.search import Rebase\n\n\nclass Mine(Rebase):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    world = ("--world", "paper-7b", "--seeds", "1", "--json")
    names = ("mine_never:Mine:width=4", "rebase:width=4")
    result = never_slower("--policy", names[0], "--policy", names[1], *world)
    assert result.exit_code == 0, result.output
    mine, shipped = json.loads(result.stdout)["rows"]
    assert mine.pop("policy") == "mine_never:Mine-4"
    assert shipped.pop("policy") == "rebase-4"
    assert mine == shipped
    for name in ("mine_never:Others", "mine_never:Mine:size=3", "nobody:Mine"):
        refused = never_slower("--policy", name, *world)
        assert (refused.exit_code, name.partition(":")[0] in refused.stderr) == (2, True)


def test_a_world_that_is_none_is_refused() -> None:
    result = never_slower("--world", "nowhere")
    assert result.exit_code == 2
    assert all(name in result.stderr for name in WORLDS)


# The worlds.


async def asked(engine: Engine, name: str, *, demanded: bool = True) -> float:
    """When a request has started."""
    request = Request(id=f"run/{name}/thought-1", seed=1, demanded=demanded)
    await engine.generate(QUESTION, request, sampling=Sampling(), max_tokens=10)
    assert request.started is not None
    return request.started


def started(engine: SimulatedApi, names: str, *, guesses: str = "") -> list[float]:
    async def main() -> list[float]:
        async with engine:
            calls = (asked(engine, name, demanded=name not in guesses) for name in names)
            return await asyncio.gather(*calls)

    return run_virtual(main())


def test_an_api_starts_as_many_requests_as_a_minute_may_have_and_then_one_by_one() -> None:
    engine = SimulatedApi(None, requests=3, tokens=10**6)
    assert started(engine, "01234") == pytest.approx([0, 0, 0, 20, 40])


def test_an_api_counts_tokens_of_prompts_and_thoughts() -> None:
    engine = SimulatedApi(None, requests=1000, tokens=2 * (256 + 10))
    assert started(engine, "012") == pytest.approx([0, 0, 30], abs=1e-6)


def test_an_api_serves_what_is_demanded_first() -> None:
    engine = SimulatedApi(None, requests=1, tokens=10**6)
    assert started(engine, "0123", guesses="12") == pytest.approx([0, 120, 180, 60])


def test_an_api_tells_its_limits_where_it_should() -> None:
    told = SimulatedApi(None, requests=60, tokens=40_000).features
    assert (told.requests_per_minute, told.tokens_per_minute) == (60, 40_000)
    untold = SimulatedApi(None, requests=60, tokens=40_000, told=False).features
    assert untold.requests_per_minute is None


def test_rewards_wait_for_a_place_the_demanded_ones_first() -> None:
    reward = SimulatedReward(latency=1.0, max_concurrency=1)
    thought = Thought(text="Step 1, quality 0.500000.", tokens=9)

    async def judged(*, demanded: bool) -> float:
        request = Request(id=f"run/{demanded}", seed=1, demanded=demanded)
        await reward.score("?", [thought], request)
        return asyncio.get_running_loop().time()

    async def main() -> list[float]:
        calls = (judged(demanded=demanded) for demanded in (True, False, True))
        return await asyncio.gather(*calls)

    assert run_virtual(main()) == [1, 3, 2]


def test_the_slow_reward_takes_a_second_of_one_of_two_workers() -> None:
    async def judged(text: str) -> tuple[float, float]:
        thought = Thought(text=text, tokens=9)
        score = await slow.reward.score("5 + 7?", [thought], Request(id="run/judged", seed=1))
        return asyncio.get_running_loop().time(), score

    async def main() -> list[tuple[float, float]]:
        return await asyncio.gather(*map(judged, ["5 + 7 = 12", "5 + 7 = 13", "5 + 7 = 12"]))

    assert run_virtual(main()) == [(1, 1), (1, 0), (2, 1)]


def test_an_executor_has_only_so_many_workers() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()

        async def worked(executor: ThreadPoolExecutor | None, seconds: float) -> float:
            await loop.run_in_executor(executor, spend, seconds)
            return loop.time()

        with ThreadPoolExecutor(1) as own:
            return await asyncio.gather(
                *(worked(None, 2.0) for _ in range(3)), worked(own, 1.0), worked(own, 1.0)
            )

    assert run_virtual(main()) == [2, 2, 4, 1, 2]
