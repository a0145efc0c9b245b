"""The demonstration: running totals, each step of which has to pass unit tests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from spex_agents.engines.base import Engine, Request, Sampling
from spex_agents.errors import SettingsError
from spex_agents.problems.weekday_sums import TEMPLATE, weekday_sums
from spex_agents.rewards.checking.arithmetic import Calculator
from spex_agents.sandbox import Isolation, SandboxLimits, run
from spex_agents.search.limits import Limits
from spex_agents.search.policies.best_of_n import BestOfN
from spex_agents.search.policies.rebase import Rebase
from spex_agents.search.tree import Thought
from spex_agents.speculation.config import SearchConfig

SAMPLING = Sampling(temperature=0.8)
LIMITS = Limits(step_tokens=24, path_tokens=120, depth=10)

PROBLEM = weekday_sums()[1]
"""The model gets it wrong in one go, and right by a search."""

_EQUATION = re.compile(r"(\d+) \+ (\d+) = (\d+)")


class UnitTests:
    """Runs the sums of a path as unit tests, in the sandbox.

    Args:
        wait: Seconds the tests wait for something besides, as tests with a database, a browser or
            a server do.
        isolation: As of the sandbox; the program holds numbers and nothing else of the model's.
    """

    name = "unit tests"
    needs_logprobs = False
    pure = True

    def __init__(self, wait: float = 1.0, isolation: Isolation = "auto") -> None:
        self.wait = wait
        self.isolation = isolation

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        code = self.program(question, [thought.text for thought in thoughts])
        limits = SandboxLimits(seconds=self.wait + 10)
        outcome = await run(code, limits=limits, isolation=self.isolation)
        return float(outcome.status == "ok")

    def program(self, question: str, steps: Sequence[str]) -> str:
        r"""The tests: each sum holds, and goes on from the one before it.

        Example:
            >>> print(UnitTests(wait=1).program("Start: 4\nMonday: + 3", ["Monday: 4 + 3 = 7"]))
            import time
            time.sleep(1)
            assert (4, 3) == (4, 3)
            assert 4 + 3 == 7
        """
        total, daily = [int(number) for number in re.findall(r"\d+", question)[:2]]
        lines = ["import time", f"time.sleep({self.wait})"]
        for left, right, result in _EQUATION.findall("\n".join(steps)):
            lines.append(f"assert ({int(left)}, {int(right)}) == ({total}, {daily})")
            lines.append(f"assert {int(left)} + {int(right)} == {int(result)}")
            total = int(result)
        return "\n".join(lines)


async def isolation_here() -> Isolation:
    """What keeps a program apart on this machine, if anything does."""
    try:
        await run("", isolation="auto")
    except SettingsError:
        return "none"
    return "auto"


def config(engine: Engine) -> SearchConfig:
    """A search on `engine` that checks each step by a calculator, at once."""
    return SearchConfig(
        engine=engine,
        policy=Rebase(width=8),
        reward=Calculator(rule="in order"),
        limits=LIMITS,
        sampling=SAMPLING,
        template=TEMPLATE,
    )


def tested(engine: Engine, tests: UnitTests) -> SearchConfig:
    """The same with fewer thoughts, each of which has to pass `tests`."""
    return replace(config(engine), policy=Rebase(width=4), reward=tests)


def greedy(engine: Engine) -> SearchConfig:
    """No search at all: the model's likeliest words."""
    cold = replace(SAMPLING, temperature=0)
    return replace(config(engine), policy=BestOfN(width=1), sampling=cold, speculation=None)
