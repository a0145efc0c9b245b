"""A language model's opinion of a step, read off the probabilities of two labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spex_agents.engines.base import Engine, Request
from spex_agents.engines.given import as_engine
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.errors import RewardError, SettingsError
from spex_agents.rewards.asking.prompts import filled
from spex_agents.search.tree import Thought

JUDGE_PROMPT = Prompt(
    (
        Message("system", "You check solutions step by step. Answer with Yes or No only."),
        Message(
            "user",
            "Question:\n{question}\n\nSolution so far:\n{steps}\n\n"
            "Is the last step correct, and does it help to answer the question? "
            "The last step is:\n{step}",
        ),
    )
)
"""What a `Judge` asks."""


@dataclass(frozen=True, slots=True)
class Judge:
    """p(good) / (p(good) + p(bad)), where the two labels may begin the judge's reply.

    Attributes:
        engine: Who judges: the search's own engine, or another.
        prompt: What it is asked. In its messages and its reply ``{question}``, ``{steps}`` (all of
            them, a line each) and ``{step}`` (the last one) are filled in.
        labels: The good and the bad one.

    Raises:
        SettingsError: The engine cannot read label probabilities, or the labels are not two
            different texts.

    Example:
        >>> from spex_agents.engines.simulated.clock import run_virtual
        >>> from spex_agents.engines.simulated.engine import SimulatedEngine
        >>> judge = Judge(SimulatedEngine())
        >>> thought = Thought(text="Step 1, quality 0.500000.", tokens=9)
        >>> run_virtual(judge.score("What is 2 + 2?", [thought], Request(id="r", seed=7)))
        0.5
    """

    engine: Engine
    prompt: Prompt = JUDGE_PROMPT
    labels: tuple[str, str] = ("Yes", "No")
    name: str = "judge"
    needs_logprobs: bool = False
    pure: bool = True
    seeded: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "engine", as_engine(self.engine))
        if not self.engine.features.labels:
            raise SettingsError(
                f"{self.engine.name} cannot read label probabilities, which a judge needs: pass "
                "an engine whose features.labels is True, or choose another reward"
            )
        if len(self.labels) != 2 or not all(self.labels) or len(set(self.labels)) != 2:
            raise SettingsError(
                f"labels={self.labels!r}: must be two different texts, the good one first"
            )

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        """Score the last of `thoughts`.

        Raises:
            RewardError: Neither label has any probability.
            EngineError: The engine could not answer.
        """
        prompt = filled(self.prompt, question, thoughts)
        chances = await self.engine.score(prompt, request, labels=self.labels)
        good, bad = (chances.get(label, 0.0) for label in self.labels)
        if not good + bad > 0:
            raise RewardError(
                f"neither {self.labels[0]!r} nor {self.labels[1]!r} has any probability at "
                f"{self.engine.name}: choose labels= that the model would begin its reply with, "
                "or a prompt= that asks for them"
            )
        return good / (good + bad)
