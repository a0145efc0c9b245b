"""llm-reasoners: its beam search and its Monte-Carlo tree search (RAP), driven through its classes.

A node's children are written, and judged, at the same time; the library asks for one node after the
other. MCTS is set as in the library's own example on grade-school mathematics (examples/RAP/gsm8k):
a path's reward is the mean of its steps', a node's the largest seen below it, and the answer is the
one that the tree's edges vote for.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from reasoners import Reasoner, SearchConfig, WorldModel
from reasoners.algorithm import MCTS, BeamSearch, MCTSAggregation

from benchmarks.race.contestants.common import Problem, Server, at_once, race


class Text(WorldModel):  # type: ignore[misc]
    """A state is what the reply says so far."""

    def init_state(self) -> str:
        return ""

    def step(self, state: str, action: str) -> tuple[str, dict[str, Any]]:
        return state + action, {}

    def is_terminal(self, state: str) -> bool:
        return "boxed{" in state


class Steps(SearchConfig):  # type: ignore[misc]
    """An action is a step; its reward is the race's."""

    def __init__(self, server: Server, problem: Problem, width: int, first: int) -> None:
        super().__init__()
        self.server, self.problem, self.width, self.first = server, problem, width, first
        self.rewards: dict[str, float] = {}

    def get_actions(self, state: str) -> list[str]:
        def child(_: int) -> str:
            step = self.server.step(self.problem, state)
            self.rewards[state + step] = self.server.reward(self.problem, state + step)
            return step

        return at_once(child, range(self.width if state else self.first))

    def fast_reward(self, state: str, action: str) -> tuple[float, dict[str, Any]]:
        return self.rewards[state + action], {}

    def reward(self, state: str, action: str, **kwargs: Any) -> tuple[float, dict[str, Any]]:
        return self.rewards[state + action], {}


def entry(server: Server, problem: Problem, settings: dict[str, Any]) -> str:
    width = settings["width"]
    if settings["algorithm"] == "beam":
        first, depth = width * settings["keep"], settings["depth"]
        algorithm = BeamSearch(beam_size=settings["keep"], max_depth=depth)
    else:
        first = width
        algorithm = MCTS(
            n_iters=settings["rollouts"],
            depth_limit=settings["depth"],
            cum_reward=np.mean,
            calc_q=max,
            aggregator=MCTSAggregation(answer, weight_policy="edge"),
        )
    reasoner = Reasoner(Text(), Steps(server, problem, width, first), algorithm)
    result = reasoner(problem)
    if (elected := getattr(result, "aggregated_result", None)) is not None:
        return f"\\boxed{{{elected}}}"
    return str(result.terminal_state or "")


def answer(state: str) -> str | None:
    """What a state that has ended answers."""
    found = re.findall(r"\\boxed\{(-?\d+)\}", state)
    return found[-1] if found else None


if __name__ == "__main__":
    race(entry)
