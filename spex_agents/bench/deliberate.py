"""A policy that takes its time: what one that solves a program for each decision is like."""

from __future__ import annotations

from typing import Any

from spex_agents.engines.simulated.clock import spend
from spex_agents.search.policy import Decision, Policy, State
from spex_agents.search.tree import TreeView


class Deliberate(Policy):
    """The policy that it is given, `blocking`, with decisions of so many seconds.

    Example:
        >>> from spex_agents.search import Rebase
        >>> Deliberate(Rebase(width=4), 0.03).width
        4
    """

    blocking = True

    def __init__(self, policy: Policy, seconds: float) -> None:
        self.policy = policy
        self.seconds = seconds
        self.leaves_only = policy.leaves_only  # type: ignore[misc]
        self.cautious = policy.cautious  # type: ignore[misc]
        for name in ("start", "action", "remaining", "fallbacks", "voters", "frontier"):
            setattr(self, name, getattr(policy, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.policy, name)

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        spend(self.seconds)
        return self.policy.decide(state, tree)
