"""SPEX's own forecast, for comparison with `ReplayForecast`."""

from __future__ import annotations

from collections.abc import Callable

from spex_agents.search.tree import Path, Thought
from spex_agents.speculation.config import Known
from spex_agents.speculation.foresight.forecasts import ReplayForecast


class PaperForecast(ReplayForecast):
    """SPEX's own rules, for comparison: one replay, on the rewards already known and nothing else.

    What is not scored yet counts as ended with the reward 0. For MCTS that bumps the visits of a
    selected path and leaves its value, which gives the next-k UCB selections; for REBASE it hands
    the finished siblings, and as much width as there are of them, to the softmax. No thought is
    begun before its parent's reward is known, where its parent has one.
    """

    def _beginnable(self, parent: Path, known: Known) -> bool:
        scored = self.policy.leaves_only or not parent or parent in known.rewards
        return scored and super()._beginnable(parent, known)

    def seen(self, known: Known) -> Callable[[Path], Thought | None]:
        if self.policy.leaves_only:
            return known.thoughts.get
        return lambda path: known.thoughts.get(path) if path in known.rewards else None

    def ends(self, path: Path, draw: int) -> bool:
        return True

    def reward(self, path: Path, thought: Thought | None, parent: float | None, draw: int) -> float:
        return 0.0
