"""its_hub (Red Hat): beam search, particle filtering and self-consistency by its Beta rule."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from its_hub.api import AbstractProcessRewardModel
from its_hub.core.algorithms.beam_search import BeamSearch
from its_hub.core.algorithms.beta_self_consistency import BetaSelfConsistency
from its_hub.core.algorithms.particle_gibbs import ParticleFiltering
from its_hub.core.lms.openai_lm import OpenAICompatibleLanguageModel
from its_hub.core.lms.step_generation import StepGeneration

from benchmarks.race.contestants.common import DELIMITER, Problem, Server, race


class Judge(AbstractProcessRewardModel):  # type: ignore[misc]
    """The race's reward, for all paths of a call at the same time."""

    def __init__(self, server: Server, problem: Problem) -> None:
        self.server, self.problem = server, problem

    async def ascore(self, prompt: Any, steps: Any) -> Any:
        if isinstance(steps, str):
            return await asyncio.to_thread(self.server.reward, self.problem, steps)
        asked = (asyncio.to_thread(self.server.reward, self.problem, text) for text in steps)
        return list(await asyncio.gather(*asked))

    def score(self, prompt: Any, steps: Any) -> Any:
        return asyncio.run(self.ascore(prompt, steps))


def boxed(text: str) -> str:
    found = re.findall(r"boxed\{(.*?)\}", text)
    return found[-1] if found else ""


async def search(server: Server, problem: Problem, settings: dict[str, Any]) -> str:
    steps = StepGeneration(
        max_steps=12,
        step_token=DELIMITER,
        stop_token="boxed{",  # noqa: S106
        temperature=0.8,
        include_stop_str_in_output=True,
    )
    judge = Judge(server, problem)
    async with OpenAICompatibleLanguageModel(
        f"{server.url}/v1", "none", "race", temperature=0.8
    ) as model:
        algorithm = {
            "beam": lambda: BeamSearch(steps, judge, beam_width=settings["width"]),
            "particles": lambda: ParticleFiltering(steps, judge),
            "beta": lambda: BetaSelfConsistency(consistency_space_projection_func=boxed),
        }[settings["algorithm"]]()
        reply = await algorithm.ainfer(model, problem.question, budget=settings["budget"])
    return str(reply["content"])


def entry(server: Server, problem: Problem, settings: dict[str, Any]) -> str:
    return asyncio.run(search(server, problem, settings))


if __name__ == "__main__":
    race(entry)
