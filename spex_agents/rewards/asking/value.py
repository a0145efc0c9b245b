"""A language model's opinion in words: is the path sure, likely or impossible to lead there?"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from spex_agents.engines.base import Engine, Request, Sampling
from spex_agents.engines.given import as_engine
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.errors import RewardError, SettingsError, at_least_one
from spex_agents.rewards.asking.prompts import filled
from spex_agents.rewards.asking.replies import check_otherwise, last_line, readings
from spex_agents.search.tree import Thought

VALUE_PROMPT = Prompt(
    (
        Message(
            "system",
            "You judge whether the beginning of a solution can still lead to the right answer. "
            "Reply with one word: sure, likely or impossible.",
        ),
        Message(
            "user",
            "Question:\n{question}\n\nSolution so far:\n{steps}\n\n"
            "Can it lead to the right answer? Reply with one word: sure, likely or impossible.",
        ),
    )
)
"""What a `Value` asks."""

VALUES: Mapping[str, float] = MappingProxyType({"sure": 20.0, "likely": 1.0, "impossible": 0.001})
"""What the words of the paper are worth there."""


@dataclass(frozen=True, slots=True)
class Value:
    """The mean worth of the words that a model says, as a share of the best one.

    With v the worth of a word, the score is ``sum(v) / (n max(v))``: the paper's sum, divided by
    the largest that it could be, so that it orders thoughts as the sum does.

    Samples are the default, as in the paper: they need nothing of the engine, take words of any
    number of tokens, and let the model think first if the prompt asks for it. `expected` reads the
    probabilities of the words as the reply's first token instead, and takes the expectation: what
    the mean of very many samples of one word would be, in one call, without any chance.

    A sample whose last line does not name exactly one word is asked for once more, with another
    seed, and then left out of the mean. The original counts it as 0.

    Source: Yao et al., 2023, "Tree of Thoughts" (https://arxiv.org/abs/2305.10601), and its
    repository's game24 task: 3 samples, temperature 0.7.

    Attributes:
        engine: Who judges: the search's own engine, or another.
        prompt: What it is asked. In its messages and its reply ``{question}``, ``{steps}`` (all of
            them, a line each) and ``{step}`` (the last one) are filled in.
        values: The words, and what each is worth.
        expected: Read the probabilities of the words instead of sampling them.
        samples: Replies to sample.
        sampling: How their tokens are drawn.
        max_tokens: Tokens of a reply.
        otherwise: The score if no reply can be read; None raises an error.

    Raises:
        SettingsError: The engine cannot read label probabilities and `expected` wants them, the
            words or their worth do not fit, `samples` or `max_tokens` is below 1, or `otherwise` is
            not in [0, 1].

    Example:
        >>> from spex_agents.engines.simulated.clock import run_virtual
        >>> from spex_agents.engines.simulated.engine import SimulatedEngine
        >>> value = Value(SimulatedEngine(), values={"Yes": 1, "No": 0}, expected=True)
        >>> thought = Thought(text="Step 1, quality 0.500000.", tokens=9)
        >>> run_virtual(value.score("What is 2 + 2?", [thought], Request(id="r", seed=7)))
        0.5
    """

    engine: Engine
    prompt: Prompt = VALUE_PROMPT
    values: Mapping[str, float] = field(default_factory=lambda: VALUES, kw_only=True)
    expected: bool = field(default=False, kw_only=True)
    samples: int = field(default=3, kw_only=True)
    sampling: Sampling = field(default=Sampling(temperature=0.7, top_p=1, top_k=0), kw_only=True)
    max_tokens: int = field(default=256, kw_only=True)
    otherwise: float | None = field(default=None, kw_only=True)
    name: str = field(default="value", kw_only=True)
    needs_logprobs: bool = field(default=False, kw_only=True)
    pure: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "engine", as_engine(self.engine))
        at_least_one(samples=self.samples, max_tokens=self.max_tokens)
        if self.expected and not self.engine.features.labels:
            raise SettingsError(
                f"expected=True: {self.engine.name} cannot read label probabilities; leave it out, "
                "or pass an engine whose features.labels is True"
            )
        words = [word.casefold() for word in self.values]
        if len(set(words)) < 2 or len(set(words)) < len(words) or not all(words):
            raise SettingsError(
                f"values={dict(self.values)!r}: must be two different words or more"
            )
        worth = self.values.values()
        if not all(0 <= value < math.inf for value in worth) or not max(worth) > 0:
            raise SettingsError(
                f"values={dict(self.values)!r}: must be at least 0, and one of them above"
            )
        check_otherwise(self.otherwise)

    @property
    def seeded(self) -> bool:
        return not self.expected

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        """Score the path of `thoughts`.

        Raises:
            RewardError: No reply can be read, or no word has any probability, and `otherwise` is
                None.
            EngineError: The engine could not answer.
        """
        prompt = filled(self.prompt, question, thoughts)
        best = max(self.values.values())
        if self.expected:
            words = sorted(self.values, key=lambda word: -self.values[word])
            chances = await self.engine.score(prompt, request, labels=words)
            total = math.fsum(chances.get(word, 0.0) for word in words)
            if total > 0:
                mean = math.fsum(chances.get(word, 0.0) * self.values[word] for word in words)
                return min(1.0, mean / total / best)
        else:
            said = await readings(
                self.engine,
                prompt,
                request,
                samples=self.samples,
                read=self._read,
                sampling=self.sampling,
                max_tokens=self.max_tokens,
            )
            if said:
                return min(1.0, math.fsum(said) / len(said) / best)
        if self.otherwise is None:
            raise RewardError(
                f"{self.engine.name} says none of {', '.join(self.values)} of thought "
                f"{thoughts[-1].text!r}: choose values= of words that it would say, a prompt= "
                "that asks for them, or otherwise= for such thoughts"
            )
        return self.otherwise

    def _read(self, reply: str) -> float | None:
        """The worth of the one word that the last line names."""
        line = last_line(reply).casefold()
        named = {
            value
            for word, value in self.values.items()
            if re.search(rf"(?<!\w){re.escape(word.casefold())}(?!\w)", line)
        }
        return named.pop() if len(named) == 1 else None
