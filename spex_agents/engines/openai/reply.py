"""A streamed completion, put together from its chunks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, NamedTuple


class TokenLogprob(NamedTuple):
    token: str
    logprob: float
    top: tuple[tuple[str, float], ...]


@dataclass(slots=True)
class Reply:
    """What one stream has brought so far; reads chat completions and completions alike.

    Attributes:
        text: The text.
        finish: The server's finish reason, once it has come.
        prompt_tokens: The server's count of its prompt, once it has sent it.
        logprobs: The tokens with their log-probabilities, where the server sends them.
    """

    text: str = ""
    finish: str | None = None
    prompt_tokens: int = 0
    logprobs: list[TokenLogprob] = field(default_factory=list)
    _chunks: int = 0
    _usage: int | None = None

    @property
    def tokens(self) -> int:
        """Tokens decoded: the server's count where it has sent one, else what was seen."""
        return self._usage if self._usage is not None else max(self._chunks, len(self.logprobs))

    def read(self, chunk: Mapping[str, Any]) -> None:
        """Add a chunk; raises what a malformed chunk makes plain subscripting raise."""
        if usage := chunk.get("usage"):
            self._usage = int(usage["completion_tokens"])
            self.prompt_tokens = int(usage.get("prompt_tokens") or 0)
        for choice in chunk["choices"]:
            delta = choice.get("delta") or {}
            text = choice.get("text") or delta.get("content") or ""
            if text or delta.get("reasoning_content"):
                self._chunks += 1
            self.text += text
            self.logprobs += _logprobs(choice.get("logprobs") or {})
            self.finish = choice.get("finish_reason") or self.finish


def label_probabilities(first: TokenLogprob, labels: Sequence[str]) -> dict[str, float]:
    """The probability of each label among a token's alternatives; 0 for one not listed."""
    return {
        label: min(
            1.0, math.fsum(math.exp(logprob) for token, logprob in first.top if token == label)
        )
        for label in labels
    }


def _logprobs(found: Mapping[str, Any]) -> Iterator[TokenLogprob]:
    if content := found.get("content"):
        for entry in content:
            top = entry.get("top_logprobs") or ()
            alternatives = tuple((other["token"], float(other["logprob"])) for other in top)
            yield TokenLogprob(entry["token"], float(entry["logprob"]), alternatives)
    elif tokens := found.get("tokens"):
        tops = found.get("top_logprobs") or ()
        for token, logprob, top in zip_longest(tokens, found["token_logprobs"], tops):
            yield TokenLogprob(token, float(logprob), tuple((top or {}).items()))
