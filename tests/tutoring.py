"""What the tests of the tutor share: a writer of running totals that slips, and a lesson on it."""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random
from typing import Any

from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from examples.math_tutor import Check, create_math_tutor
from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.rewards import Calculator
from spex_agents.search import Limits, Policy, Rebase
from spex_agents.search.tree import Thought
from spex_agents.speculation.config import Speculation

QUESTION = "Start: 13\nMonday: + 6\nTuesday: + 6\nWednesday: + 6"
ANSWER = "31"
POLICY = Rebase(width=6)
IN_ORDER = Check(reward=Calculator(rule="in order"))


class Adder(SimulatedEngine):
    """Adds as a small model does: with a slip now and then, which the request's seed decides."""

    def __init__(self, *, slips: float = 0.4, speed: float = 1000) -> None:
        super().__init__(speed=speed)
        self.slips = slips
        self.calls = 0

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        self.calls += 1
        written = await super().generate(prompt, request, sampling=sampling, max_tokens=max_tokens)
        text, ends = self._line(prompt, Random(request.seed))
        return replace(written, text=text, ends=ends, finish="stop" if ends else "step")

    def _line(self, prompt: Prompt, chance: Random) -> tuple[str, bool]:
        start, *days = prompt.messages[-1].content.splitlines()
        done = prompt.reply.splitlines()
        total = int(re.findall(r"\d+", done[-1] if done else start)[-1])
        if len(done) >= len(days):
            return f"The answer is {total}", True
        day, daily = days[len(done)].split(": + ")
        slip = chance.choice((10, -10, 1)) if chance.random() < self.slips else 0
        return f"{day}: {total} + {daily} = {total + int(daily) + slip}", False


def tutor(
    engine: SimulatedEngine,
    *,
    check: Check = IN_ORDER,
    seed: int = 0,
    policy: Policy = POLICY,
    speculation: Speculation | None = Speculation(),
    **compiled: Any,
) -> CompiledStateGraph[Any, Any, Any, Any]:
    graph = create_math_tutor(
        engine,
        check,
        seed=seed,
        policy=policy,
        limits=Limits(depth=8),
        speculation=speculation,
    )
    return graph.compile(**compiled)


async def lesson(
    graph: Any, config: Any, lines: list[str], asked: Any = None
) -> tuple[dict[str, Any], list[str]]:
    """The state after these lines, and all that was said."""
    asked = asked or {"question": QUESTION, "known": ANSWER}
    state = await graph.ainvoke(asked, config)
    for line in lines:
        state = await graph.ainvoke(Command(resume=line), config)
    return state, [f"{message.type}: {message.text}" for message in state["messages"]]
