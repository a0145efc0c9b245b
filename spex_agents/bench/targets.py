"""What the project sets out to reach on the preset `paper-7b`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from spex_agents.bench.case import Case, depth_cap
from spex_agents.search import Policy, Rebase, Rstar
from spex_agents.search.registry import make_policy

PAPER = "rstar:create=all"
"""The form that SPEX runs: all children of a thought are written and scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A case and what it should reach.

    Attributes:
        queries: Searches at a time.
        replicas: Devices that share them: with eight times the queries on eight times the devices
            the speed-up should be that of one device.
        latency: Seconds a reward takes.
        speedup: At least; None for that of eight queries on one device.
        share: Of the oracle's speed-up, at least; None where none is set.
    """

    name: str
    policy: Policy
    queries: int = 1
    replicas: int = 1
    latency: float = 0.05
    speedup: float | None = None
    share: float | None = None

    def case(self, base: Case) -> Case:
        """The case, with all else as in `base`; many queries take fewer seeds, not less work."""
        return replace(
            base,
            name=self.name,
            policy=self.policy,
            depth=depth_cap(self.name),
            queries=self.queries,
            replicas=base.replicas * self.replicas,
            seeds=math.ceil(base.seeds / self.replicas),
            reward_latency=self.latency,
        )

    def goal(self) -> str:
        return "as q=8" if self.speedup is None else f">= {self.speedup}"


TARGETS: Sequence[Target] = (
    Target(name="rstar", policy=Rstar(rollouts=10), speedup=4.5, share=0.9),
    Target(name="rstar", policy=Rstar(rollouts=10), queries=8, speedup=4.2),
    Target(name="rstar", policy=Rstar(rollouts=20), speedup=7.0, share=0.9),
    Target(name="rebase", policy=Rebase(width=16), speedup=1.8, share=0.95),
    Target(name="rebase", policy=Rebase(width=16), queries=8, speedup=1.4),
    Target(name="rstar", policy=Rstar(rollouts=10), latency=3.0, speedup=5.5, share=0.9),
    Target(name="rebase", policy=Rebase(width=16), latency=3.0, speedup=2.8, share=0.95),
    Target(name=PAPER, policy=make_policy(PAPER, rollouts=10), speedup=5.0),
    Target(name=PAPER, policy=make_policy(PAPER, rollouts=10), latency=3.0, speedup=6.0),
    Target(name="rstar", policy=Rstar(rollouts=10), queries=64, replicas=8),
    Target(name="rebase", policy=Rebase(width=16), queries=64, replicas=8),
)
"""Waste should stay below 0.8, demanded work be slowed by 5 % at most, and every tree be equal."""
