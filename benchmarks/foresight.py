"""How far better predictions could take a search whose rewards are slow.

``python -m benchmarks.foresight`` runs REBASE on the virtual clock with rewards of 3 s, where
forecasts draw what is missing in three ways: from what the search has learnt; by the law of the
simulated world, given the parent's reward; and by that law with the reward of each thought known
once it is written, which only thoughts that are not written yet could tell more than.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from statistics import fmean

from spex_agents import Limits, Rebase, Speculation
from spex_agents.bench.case import Case
from spex_agents.bench.searches import searches
from spex_agents.engines.simulated.world import SyntheticWorld, goodness, quality_in
from spex_agents.search import Path
from spex_agents.search.tree import Thought
from spex_agents.speculation.foresight.forecasts import ReplayForecast
from spex_agents.speculation.foresight.prediction import Prediction
from spex_agents.speculation.reporting.ledger import Ledger

CASE = Case(preset="paper-7b", name="rebase", policy=Rebase(width=16), depth=10, reward_latency=3.0)
WAYS = ("learnt", "law", "rewards known")
WASTES = (1.5, 2.0)
LAW = SyntheticWorld()


class Informed(ReplayForecast):
    """Draws what is missing by the law of the simulated world.

    Args:
        rewards_known: Whether it reads the reward of a thought that is written.
    """

    def __init__(self, speculation: Speculation, *, rewards_known: bool) -> None:
        super().__init__(
            CASE.policy,
            Limits(depth=CASE.depth),
            Prediction(),
            draws=speculation.draws,
            lookahead=speculation.lookahead,
        )
        self._rewards_known = rewards_known

    def ends(self, path: Path, draw: int) -> bool:
        if len(path) >= CASE.depth:
            return True
        return len(path) >= LAW.ends_from and self._quantiles.levels[path][draw] < LAW.ends

    def reward(self, path: Path, thought: Thought | None, parent: float | None, draw: int) -> float:
        quality = quality_in(thought.text) if thought is not None and self._rewards_known else None
        if quality is None:
            mean, spread = LAW.root_mean, math.hypot(LAW.root_spread, LAW.step_spread)
            if parent is not None:
                mean, spread = _quality(parent), LAW.step_spread
            quality = mean + spread * self._quantiles.normals[path][draw]
        return goodness(quality)


def _quality(reward: float) -> float:
    """The quality of a thought of that goodness."""
    reward = min(1 - 1e-9, max(1e-9, reward))
    return 0.5 + math.log(reward / (1 - reward)) / 4


def measure(way: str, waste: float, seeds: int) -> tuple[float, float]:
    """Seconds off / on, and the waste, where forecasts draw in this way."""
    off, on, spent = [], [], Ledger()
    for seed in range(seeds):
        off.append(searches(CASE, seed, [None]).seconds)
        ahead = Speculation(waste=waste, budget=CASE.budget())
        if way != "learnt":
            known = way == "rewards known"
            forecast = Informed(ahead, rewards_known=known)
            ahead = Speculation(waste=waste, budget=CASE.budget(), forecast=forecast)
        ran = searches(CASE, seed, [ahead])
        on.append(ran.seconds)
        spent.add(ran.ledger())
    return fmean(off) / fmean(on), spent.waste_ratio


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="How far better predictions could take a search.")
    parser.add_argument("--seeds", type=int, default=8)
    seeds = parser.parse_args(arguments).seeds
    print("forecast       allowed  speed-up  waste")
    for way in WAYS:
        for waste in WASTES:
            faster, wasted = measure(way, waste, seeds)
            print(f"{way:13}  {waste:7}  {faster:8.2f}  {wasted:5.2f}", flush=True)


if __name__ == "__main__":
    main()
