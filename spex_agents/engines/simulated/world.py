"""Where simulated thoughts come from: a synthetic process, or anything with its one method."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

from spex_agents.engines.prompts import Prompt
from spex_agents.errors import SettingsError, at_least_zero
from spex_agents.search.tree import Thought, derive_seed

_MARK = "quality "
_NUMBER = re.compile(r"-?\d+\.\d+")


class World(Protocol):
    """The source of a simulated engine's thoughts; recorded ones of a real model serve too.

    Example:
        >>> from spex_agents.engines.prompts import Message, Prompt
        >>> prompt = Prompt(messages=(Message(role="user", content="What is 5 + 7?"),))
        >>> world: World = SyntheticWorld()
        >>> world.thought(prompt, 7, 100) == world.thought(prompt, 7, 100)
        True
    """

    def thought(self, prompt: Prompt, seed: int, max_tokens: int) -> Thought:
        """The next thought after `prompt.reply`: a pure function of its arguments."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticWorld:
    r"""Thoughts of a hidden quality that walks at random along its path, written into their text.

    The number of tokens is log-normal. The question's quality and each step from a thought to the
    next are normal. A path that ends gives the right answer with probability
    `goodness(quality)`, else a wrong one.

    Attributes:
        mean_tokens: Mean length of a thought.
        sigma: Of the length's logarithm.
        root_mean: Mean quality of a question.
        root_spread: Its standard deviation.
        step_spread: Standard deviation of a step.
        ends: Probability that a thought ends its path.
        ends_from: Depth of the first thought that may.
        right: The right answer.
        wrong: The others, equally likely.

    Raises:
        SettingsError: A value is outside its range.

    Example:
        >>> world = SyntheticWorld(mean_tokens=10)
        >>> thought = world.thought(Prompt((), "Step 1, quality 0.500000."), seed=7, max_tokens=99)
        >>> thought.tokens, thought.text
        (8, 'Step 00000007, quality 0.561372.')
    """

    mean_tokens: float = 75.0
    sigma: float = 0.5
    root_mean: float = 0.5
    root_spread: float = 0.15
    step_spread: float = 0.12
    ends: float = 0.18
    ends_from: int = 2
    right: str = "12"
    wrong: tuple[str, ...] = ("7", "10", "15", "24")

    def __post_init__(self) -> None:
        if self.mean_tokens < 1:
            raise SettingsError(f"mean_tokens={self.mean_tokens!r}: must be at least 1")
        at_least_zero(sigma=self.sigma, root_spread=self.root_spread, step_spread=self.step_spread)
        if not 0 <= self.ends <= 1:
            raise SettingsError(f"ends={self.ends!r}: must lie in [0, 1]")
        if not self.wrong:
            raise SettingsError("wrong=(): must name at least one wrong answer")

    def thought(self, prompt: Prompt, seed: int, max_tokens: int) -> Thought:
        """The thought that `seed` draws after `prompt.reply`, at most `max_tokens` long."""
        before = quality_in(prompt.reply)
        rng = Random(seed)
        location = math.log(self.mean_tokens) - self.sigma**2 / 2
        tokens = max(1, round(math.exp(rng.gauss(location, self.sigma))))
        quality = (self._root(prompt) if before is None else before) + rng.gauss(
            0, self.step_spread
        )
        depth = prompt.reply.count(_MARK) + 1
        ends = rng.random() < self.ends and depth >= self.ends_from and tokens <= max_tokens
        text = f"Step {seed:08x}, {_MARK}{quality:.6f}."
        if ends:
            is_right = rng.random() < goodness(quality)
            answer = self.right if is_right else rng.choice(self.wrong)
            text += f" The answer is \\boxed{{{answer}}}."
        sure = math.log(0.5 + 0.45 * goodness(quality))
        cut = min(tokens, max_tokens)
        return Thought(
            text=text,
            tokens=cut,
            finish="stop" if ends else "step" if cut == tokens else "length",
            ends=ends,
            logprobs=(sure,) * cut,
        )

    def _root(self, prompt: Prompt) -> float:
        # Earlier turns count as well; a system message does not.
        question = "\n".join(turn.content for turn in prompt.messages if turn.role != "system")
        digest = hashlib.sha256(question.encode()).digest()
        return Random(int.from_bytes(digest[:8], "big")).gauss(self.root_mean, self.root_spread)


def whole_path(world: World, prompt: Prompt, seed: int, max_tokens: int) -> Thought:
    """One thought that runs to the end of its path: the world's thoughts, a line each."""
    reply = prompt.reply
    tokens = 0
    logprobs: tuple[float, ...] = ()
    for step in itertools.count():
        thought = world.thought(
            replace(prompt, reply=reply), derive_seed(seed, (step,)), max_tokens - tokens
        )
        reply += thought.text
        tokens += thought.tokens
        logprobs += thought.logprobs or ()
        if thought.ends or thought.finish == "length" or tokens >= max_tokens:
            break
        reply += "\n"
    return Thought(
        text=reply[len(prompt.reply) :],
        tokens=tokens,
        finish="stop" if thought.ends else "length",
        ends=thought.ends,
        logprobs=logprobs or None,
    )


def quality_in(text: str) -> float | None:
    """The hidden quality of the last simulated thought in `text`, or None if there is none."""
    at = text.rfind(_MARK)
    number = _NUMBER.match(text, at + len(_MARK)) if at >= 0 else None
    return float(number[0]) if number else None


def goodness(quality: float) -> float:
    """A quality as a number in (0, 1): a half at 0.5, steepest there."""
    return 1 / (1 + math.exp(-4 * (quality - 0.5)))
