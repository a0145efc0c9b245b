"""One request on its way through `Batcher`."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.reasoning import OPEN, Split, Thinking, split_reasoning
from spex_agents.search.tree import Finish, Thought

CLOSED = "the engine is closed: make a new EmbeddedEngine"


@dataclass(eq=False, kw_only=True)
class Job:
    """One request on its way: waiting, then in the slot of its index, then answered.

    Attributes:
        tokens: The prompt's.
        filled: How many of them have been evaluated.
        text: Prompt and what was written.
        opened: The prompt ends within a block of reasoning.
        reasoned: How many of the tokens written are reasoning.
    """

    prompt: Prompt
    request: Request
    sampling: Sampling
    max_tokens: int
    thinking: Thinking = "off"
    thinking_tokens: int = 0
    opened: bool = False
    reasoned: int = 0
    labels: Sequence[str] = ()
    label_tokens: dict[str, int] = field(default_factory=dict)
    answer: Future[Any] = field(default_factory=Future)
    number: int = field(default_factory=count().__next__)
    over: bool = False
    tokens: list[int] = field(default_factory=list)
    filled: int = 0
    sampler: Any = None
    written: list[int] = field(default_factory=list)
    text: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    @property
    def position(self) -> int:
        """Where the token written last belongs."""
        return len(self.text) - 1

    @property
    def room(self) -> int:
        """Tokens that may still be written, as far as `max_tokens` goes.

        Within a block of reasoning they are of that.
        """
        if self.reasoned and self.reasoned == len(self.written):
            return self.thinking_tokens - self.reasoned
        return self.max_tokens - (len(self.written) - self.reasoned)

    def read(self, text: str) -> Split:
        """What `text`, all that was written, says, and what it was reasoned from."""
        if self.thinking == "steps":
            return Split(text, "")
        found = split_reasoning(text, opened=self.opened)
        if not found.text and (found.reasoning or self.opened or text.lstrip().startswith(OPEN)):
            self.reasoned = len(self.written)
        return found

    def thought(self, said: str, finish: Finish, reasoning: str) -> Thought:
        """What was written, as a thought."""
        if self.reasoned and self.reasoned == len(self.written):
            finish = "reasoning"
        return Thought(
            text=f"{OPEN}\n{said}" if self.opened and self.thinking == "steps" else said,
            tokens=len(self.written),
            finish=finish,
            ends=finish in ("stop", "reasoning"),
            logprobs=tuple(self.logprobs[self.reasoned :]) if self.sampling.logprobs else None,
            reasoning=reasoning,
            reasoning_tokens=self.reasoned,
        )

    def settle(self, answer: object) -> None:
        self.over = True
        if isinstance(answer, Exception):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


def order(job: Job) -> tuple[bool, int]:
    """Demanded jobs first, then the oldest; read anew each time, so that promotion counts."""
    return not job.request.demanded, job.number
