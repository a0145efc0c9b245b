"""What stands behind a solution: a reward, and which steps it can check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from examples.math_tutor.steps import quantity, states_sum
from spex_agents.answers import extract_answer
from spex_agents.engines import Engine, Request
from spex_agents.rewards import Calculator, Confidence, Reward
from spex_agents.search import Thought


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A reward, and how far it is to be trusted.

    Attributes:
        reward: Scores the steps.
        bar: A path is sound if no reward on it is below this.
        covers: Whether the reward can tell a right step of this text from a wrong one.
        decides: Whether a sound answer is the right one: a calculator that leaves the way open
            cannot tell whether the sums are those that the question asks for.
    """

    reward: Reward
    bar: float = 0.5
    covers: Callable[[str], bool] = states_sum
    decides: bool = True

    def unread(self, text: str) -> bool:
        """Whether `text` may state a sum that a calculator is to check, and cannot read.

        Example:
            >>> check = Check(reward=Calculator(), decides=False)
            >>> check.unread("15 girls x 4 = 60 girls"), check.unread("15 * 4 = 60 girls")
            (True, False)
        """
        open_sums = self.covers is states_sum and not self.decides
        numbers = any(char.isdigit() for char in text)
        return open_sums and "=" in text and numbers and not states_sum(text)

    @classmethod
    def of_sums(cls, engine: Engine, reward: Reward | None = None) -> Check:
        """A calculator; where there is nothing to calculate, the model's confidence.

        Args:
            engine: The search's.
            reward: The calculator to take; None for one that leaves the way to the answer open.
        """
        if reward is None:
            reward = SumsElseConfidence() if engine.features.logprobs else _CALCULATOR
        free = isinstance(reward, SumsElseConfidence) or getattr(reward, "rule", "") == "free"
        return cls(reward=reward, decides=not free)

    @classmethod
    def unsure(cls, reward: Reward) -> Check:
        """An opinion: it ranks steps, and refutes none."""
        return cls(reward=reward, bar=0.0, covers=lambda text: False, decides=False)

    @classmethod
    def own(cls, reward: Reward) -> Check:
        """A reward of one's own, above 0.5 for what is right."""
        return cls(reward=reward, covers=lambda text: True)


def _bare_answer(text: str) -> str | None:
    answer = extract_answer(text)
    return None if answer is None else quantity(answer).value


_CALCULATOR = Calculator(extract=_bare_answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class SumsElseConfidence:
    """1 while every sum of a path holds, and 0 if one does not; from 0.5 to 1 without any."""

    name: str = "sums, else confidence"
    needs_logprobs: bool = True
    pure: bool = True
    seeded: bool = False

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        """Score the last of `thoughts`."""
        if any(states_sum(thought.text) for thought in thoughts):
            return await _CALCULATOR.score(question, thoughts, request)
        return 0.5 + 0.5 * await Confidence().score(question, thoughts, request)
