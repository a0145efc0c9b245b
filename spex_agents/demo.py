"""The demonstration: running totals that a calculator checks step by step."""

from __future__ import annotations

from spex_agents.engines.base import Engine, Sampling
from spex_agents.problems.weekday_sums import TEMPLATE, weekday_sums
from spex_agents.rewards.checking.arithmetic import Calculator
from spex_agents.search.limits import Limits
from spex_agents.search.policies.rebase import Rebase
from spex_agents.speculation.config import SearchConfig

SAMPLING = Sampling(temperature=0.8)
LIMITS = Limits(step_tokens=24, path_tokens=120, depth=10)

PROBLEMS = weekday_sums()[:4]
"""The first four of `examples/data/weekday_sums.jsonl`."""


def config(engine: Engine) -> SearchConfig:
    """The demonstration's search on `engine`."""
    return SearchConfig(
        engine=engine,
        policy=Rebase(width=8),
        reward=Calculator(rule="in order"),
        limits=LIMITS,
        sampling=SAMPLING,
        template=TEMPLATE,
    )
