"""This library: its policies, with speculation off or on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx

from benchmarks.race.contestants.common import DELIMITER, Problem, Server, race
from spex_agents import Limits, OpenAIEngine, Sampling, SearchConfig, Speculation, Verifier, solve
from spex_agents.answers import AdaptiveStop, ExactStop, boxed
from spex_agents.engines import PromptTemplate
from spex_agents.engines.openai import Dialect
from spex_agents.search import (
    AbMcts,
    AdaptiveConsistency,
    Beam,
    BestOfN,
    Particles,
    Policy,
    Rap,
)

DIALECT = Dialect(
    name="race",
    partial="continue",
    continuation={"continue_final_message": True, "add_generation_prompt": False},
    keep_delimiter={"include_stop_str_in_output": True},
)
DEFAULTS = {"ahead": False, "speculation": {}, "judged": True, "eager": False}
"""Of a search; `judged`: by the race's reward, `eager`: ended as soon as a majority is settled."""
SETTLED = AdaptiveStop(eager=True) | ExactStop(eager=True)
"""A majority that will probably last, or that the samples still missing cannot change."""
LIMITS = Limits(depth=12, step_tokens=512, path_tokens=4096)
MADE: dict[str, type[Policy]] = {
    "beam": Beam,
    "ab-mcts": AbMcts,
    "rap": Rap,
    "particles": Particles,
    "adaptive-consistency": AdaptiveConsistency,
    "best-of-n": BestOfN,
}
"""The policies that race, by name."""


async def search(
    server: Server, problem: Problem, settings: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Solve a problem; the text of the path that the answer is taken from, and the tree's hash."""
    policy, fields = MADE[settings["policy"]], settings.get("fields", {})
    async with (
        httpx.AsyncClient(base_url=server.url, timeout=600) as client,
        OpenAIEngine(f"{server.url}/v1", model="race", dialect=DIALECT) as engine,
    ):

        async def judge(question: str, steps: Sequence[str]) -> float:
            if not settings["judged"]:
                return 1.0
            body = {"problem": problem.number, "text": DELIMITER.join(steps)}
            reply = await client.post("/reward", json=body)
            return float(reply.raise_for_status().json()["reward"])

        config = SearchConfig(
            engine=engine,
            policy=policy(**fields),
            reward=Verifier(judge, pure=True),
            limits=LIMITS,
            sampling=Sampling(temperature=0.8, top_p=1.0, top_k=0, stop=(DELIMITER,)),
            template=PromptTemplate(system="", delimiter=DELIMITER),
            vote=settings["vote"],
            extract=boxed,
            termination=SETTLED if settings["eager"] else None,
            speculation=Speculation(**settings["speculation"]) if settings["ahead"] else None,
        )
        result = await solve(config, problem.question, seed=problem.number, record=False)
    text = "" if result.path is None else result.tree.thought(result.path).text
    return text, {"tree_sha256": result.tree_sha256}


def entry(server: Server, problem: Problem, settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return asyncio.run(search(server, problem, {**DEFAULTS, **settings}))


if __name__ == "__main__":
    race(entry)
