"""A reward that takes a second on two workers: ``spex bench real --reward benchmarks.slow:reward``.

As tests of a program are, or a rate-limited judge: no processor is busy while one waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from spex_agents.engines import Request
from spex_agents.rewards import Calculator, Verifier
from spex_agents.search import Thought

SECONDS, WORKERS = 1.0, 2

_calculator = Calculator()


async def judged(question: str, steps: Sequence[str]) -> float:
    """Whether the equations of a path hold, a second later."""
    await asyncio.sleep(SECONDS)
    thoughts = [Thought(text=step, tokens=1) for step in steps]
    return await _calculator.score(question, thoughts, Request(id="judged", seed=0))


reward = Verifier(judged, pure=True, max_concurrency=WORKERS)
