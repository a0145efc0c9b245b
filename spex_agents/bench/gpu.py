"""A quarter of an hour on a GPU: what speculation gains there, and what seeds cost."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from statistics import fmean, median
from time import perf_counter
from typing import Any

from spex_agents.bench.figures import rounded
from spex_agents.bench.machine import machine
from spex_agents.bench.questions import QUESTIONS
from spex_agents.bench.real import timed, wake
from spex_agents.bench.sampler import VOCABULARY
from spex_agents.engines.sglang.engine import SGLangEngine
from spex_agents.errors import SettingsError, above_zero, at_least_one
from spex_agents.rewards import Confidence, Reward
from spex_agents.rewards.asking.process import ProcessReward
from spex_agents.rewards.asking.profiles import SKYWORK, Profile
from spex_agents.search import Limits, Policy
from spex_agents.search.registry import make_policy
from spex_agents.server.launch.launcher import serve
from spex_agents.server.launch.settings import Serving
from spex_agents.speculation.config import SearchConfig, Speculation

QUERIES = (1, 8, 64)
"""Searches at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuRun:
    """What is measured.

    Attributes:
        policy: The model that writes: a directory, or a name on the model hub.
        reward: The model that scores, on the same GPU; None for the policy's own confidence.
        profile: How the reward model wants a path written.
        engine: Address of a policy that is served already, in place of `policy`.
        reward_engine: Of a reward model that is.
        queries: Searches at the same time, one number after the other.
        pairs: How often off and on, in alternating order.
        rollouts: Of rStar.
        width: Of REBASE.
        limits: Of both searches.
        vocabulary: Tokens that the sampler draws from.
        two: Whether to measure tensor parallelism over two GPUs as well.
        minutes: Of searches. A load is left out where the one before it took as long as is left.

    Raises:
        SettingsError: There is no policy, or a number is below 1.
    """

    policy: str | None = None
    reward: str | None = None
    profile: Profile = SKYWORK
    engine: str | None = None
    reward_engine: str | None = None
    queries: tuple[int, ...] = QUERIES
    pairs: int = 2
    rollouts: int = 10
    width: int = 16
    limits: Limits = Limits(depth=8, step_tokens=64)
    vocabulary: int = VOCABULARY
    two: bool = False
    minutes: float = 15

    def __post_init__(self) -> None:
        if (self.policy is None) == (self.engine is None):
            raise SettingsError(
                "policy=, engine=: give the model to serve, or the address of one that is served"
            )
        at_least_one(pairs=self.pairs, rollouts=self.rollouts, width=self.width)
        at_least_one(vocabulary=self.vocabulary)
        for number in self.queries:
            at_least_one(queries=number)
        above_zero(minutes=self.minutes)

    def plan(self) -> list[str]:
        """What will be done, a line each."""
        scored = "the reward model" if self.reward or self.reward_engine else "its own confidence"
        searches = f"RSTAR-{self.rollouts} and REBASE-{self.width}, off and on {self.pairs} times"
        sizes = f"batches of 1, 64 and 256, {self.vocabulary} tokens"
        lines = [f"the seeded sampler beside torch's own: {sizes}"]
        if self.engine is None:
            lines.append(f"serve {self.policy}" + (f" and {self.reward}" if self.reward else ""))
        lines += [
            f"{searches}, scored by {scored}: {number} at the same time" for number in self.queries
        ]
        if self.two:
            lines += [f"serve {self.policy} on two GPUs, --tp 2", f"{searches}: 1 at a time"]
        lines.append(f"begin no load that would go beyond {self.minutes:g} minutes of searches")
        return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuRow:
    """One search at one load, off and on.

    Attributes:
        search: The policy.
        gpus: That the model is spread over.
        queries: Searches at the same time.
        off_s: Mean seconds of a search without speculation, all pairs.
        on_s: The same with it.
        speedup: Median ratio of the pairs.
        lowest: The lowest.
        agreement: Share of the searches whose trees are the same.
        waste: Tokens decoded for thoughts that nobody demanded, by useful ones.
    """

    search: str
    gpus: int
    queries: int
    off_s: float
    on_s: float
    speedup: float
    lowest: float
    agreement: float
    waste: float

    def report(self) -> dict[str, object]:
        """As JSON has it."""
        return rounded(asdict(self))


async def measure(
    run: GpuRun,
    progress: Callable[[str], None],
    keep: Callable[[dict[str, Any]], None] = lambda report: None,
) -> dict[str, Any]:
    """Do all of the plan.

    Args:
        run: What to do.
        progress: Told each result as it comes.
        keep: Given the report as far as it has come, after each result.

    Raises:
        SettingsError: The models cannot be served here.
        EngineError: A server failed.
    """
    report: dict[str, Any] = {
        "machine": machine(),
        "models": {"policy": run.policy or run.engine, "reward": run.reward or run.reward_engine},
        "plan": run.plan(),
        "sampler": [],
        "rows": [],
        "left_out": [],
    }
    report["sampler"], fault = await asyncio.to_thread(sampler_cost, run.vocabulary)
    if fault:
        report["left_out"].append(f"the sampler: {fault}")
        progress(f"left out: {report['left_out'][-1]}")
    else:
        progress(f"the sampler: {len(report['sampler'])} timings")
    keep(report)
    spent = 0.0
    for gpus in (1, 2)[: 1 + run.two]:
        if run.engine is None:
            progress(f"serving {run.policy}" + (f" and {run.reward}" if run.reward else ""))
        async with _served(run, gpus) as engine:
            configs = {name: _search(run, engine, policy) for name, policy in _policies(run)}
            await wake(next(iter(configs.values())), QUESTIONS[0])
            took = dict.fromkeys(configs, 0.0)  # by the load before, which was smaller
            for queries in sorted(run.queries) if gpus == 1 else (1,):
                for search, config in configs.items():
                    if spent + took[search] >= 60 * run.minutes:
                        report["left_out"].append(f"{search}, {queries} at a time")
                        progress(f"left out, for want of time: {report['left_out'][-1]}")
                        continue
                    begun = perf_counter()
                    row = await side_by_side(config, run, search=search, gpus=gpus, queries=queries)
                    took[search] = perf_counter() - begun
                    spent += took[search]
                    progress(f"{search}, {queries} at a time: {row.speedup:.2f} times as fast")
                    report["rows"].append(row.report())
                    keep(report)
    return report


def _search(run: GpuRun, engine: SGLangEngine, policy: Policy) -> SearchConfig:
    return SearchConfig(
        engine=engine,
        policy=policy,
        reward=_reward(run, engine),
        limits=run.limits,
        termination=None,
        failures=None,
        speculation=Speculation(),
    )


async def side_by_side(
    config: SearchConfig, run: GpuRun, *, search: str, gpus: int, queries: int
) -> GpuRow:
    """Some searches at the same time, with speculation off and on in alternating order."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    same: list[bool] = []
    useful = wasted = 0
    for pair in range(run.pairs):
        trees = {}
        for ahead in (bool(pair % 2), not pair % 2):
            chosen = config if ahead else replace(config, speculation=None)
            done = await asyncio.gather(
                *(
                    timed(chosen, QUESTIONS[number % len(QUESTIONS)], pair * queries + number)
                    for number in range(queries)
                )
            )
            seconds[ahead].append(fmean(took for _, took in done))
            trees[ahead] = [result.tree for result, _ in done]
            if ahead:
                useful += sum(result.ledger.useful_tokens for result, _ in done)
                wasted += sum(result.ledger.wasted_tokens for result, _ in done)
        same += [one.agrees(other) for one, other in zip(trees[False], trees[True], strict=True)]
    ratios = [off / on for off, on in zip(seconds[False], seconds[True], strict=True)]
    return GpuRow(
        search=search,
        gpus=gpus,
        queries=queries,
        off_s=fmean(seconds[False]),
        on_s=fmean(seconds[True]),
        speedup=median(ratios),
        lowest=min(ratios),
        agreement=fmean(same),
        waste=wasted / max(1, useful),
    )


def sampler_cost(vocabulary: int) -> tuple[list[dict[str, Any]], str]:
    """What seeds cost on this device, timed in a process that gives its memory back.

    Returns:
        The rows, and why there are none: torch is not installed, or memory did not suffice.
    """
    done = subprocess.run(
        [sys.executable, "-m", "spex_agents.bench.sampler"],
        input=str(vocabulary),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return [], (done.stderr.strip().splitlines() or [f"ended by {done.returncode}"])[-1]
    return json.loads(done.stdout), ""


def _policies(run: GpuRun) -> tuple[tuple[str, Policy], ...]:
    return (
        (f"RSTAR-{run.rollouts}", make_policy("rstar", rollouts=run.rollouts)),
        (f"REBASE-{run.width}", make_policy("rebase", width=run.width)),
    )


def _reward(run: GpuRun, engine: SGLangEngine) -> Reward:
    if run.reward is None and run.reward_engine is None:
        return Confidence()
    return ProcessReward(engine, run.profile)


@asynccontextmanager
async def _served(run: GpuRun, gpus: int) -> AsyncIterator[SGLangEngine]:
    async with AsyncExitStack() as stack:
        url, reward_url = run.engine, run.reward_engine
        if url is None:
            flags: Sequence[str] = ("--tp", str(gpus)) if gpus > 1 else ()
            serving = Serving(policy=run.policy, reward=run.reward, port=0, flags=tuple(flags))
            servers = await stack.enter_async_context(serve(serving))
            url = servers.policies[0].url
            reward_url = servers.reward.url if servers.reward else None
        yield await stack.enter_async_context(SGLangEngine(url, reward_url=reward_url))
