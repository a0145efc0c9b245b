"""What the streams of llama.cpp hold: evaluated texts, for later prompts to start from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spex_agents.engines.embedded.llama import Llama

_WORTH_SHARING = 16
"""Tokens: a shorter common prefix is evaluated again rather than copied."""


class Streams:
    """The texts in a model's streams.

    A stream keeps the text it evaluated last. Where a job needs the stream, the text goes to the
    idle one that was used longest ago: the branches of a search are seldom seated where they were.
    """

    def __init__(self, llama: Llama, count: int) -> None:
        self._llama = llama
        self._held: list[list[int]] = [[] for _ in range(count)]
        self._used = [0] * count
        self._uses = 0

    def forget(self) -> None:
        """Nothing of what was evaluated is to be relied on."""
        self._llama.forget()
        self._held = [[] for _ in self._held]

    def begin(self, stream: int, tokens: Sequence[int], filled: int, idle: Collection[int]) -> int:
        """Give `stream` what others hold of a prompt, and return how much of it it has then.

        Args:
            stream: Where the prompt is read.
            tokens: The prompt; its last token is not taken from others.
            filled: How many of them `stream` has already.
            idle: Streams without a job.
        """
        shared = [min(_common(held, tokens), len(tokens) - 1) for held in self._held]
        donor = max(range(len(shared)), key=lambda other: (shared[other], other == stream))
        if filled == 0 and shared[stream] < len(self._held[stream]):
            self._keep(stream, [other for other in idle if other != donor])
        if shared[donor] >= filled + _WORTH_SHARING:
            self._llama.share(donor, stream, shared[donor])
            filled = shared[donor]
        elif filled == 0:
            self._llama.share(stream, stream, 0)
        self._held[stream] = list(tokens[:filled])
        self._use(donor)
        return filled

    def move(self, source: int, target: int, length: int, idle: Collection[int]) -> None:
        """Bring the first `length` tokens that `source` holds to `target`."""
        self._keep(target, idle)
        self._llama.share(source, target, length)
        self._held[target], self._held[source] = self._held[source], []
        self._use(target)

    def extend(self, stream: int, tokens: Sequence[int]) -> None:
        """`stream` has evaluated `tokens` after what it held."""
        self._held[stream] += tokens
        self._use(stream)

    def _use(self, stream: int) -> None:
        self._uses += 1
        self._used[stream] = self._uses

    def _keep(self, stream: int, idle: Collection[int]) -> None:
        """Move the text of `stream`, about to be overwritten, to the idle one that is least worth.

        That is one whose text another holds as well, else the one that was used longest ago, which
        may be `stream` itself.
        """
        if self._is_copied(stream):
            return
        spare = min(
            [*idle, stream], key=lambda other: (not self._is_copied(other), self._used[other])
        )
        if spare != stream:
            self._llama.share(stream, spare, len(self._held[stream]))
            self._held[spare], self._used[spare] = self._held[stream], self._used[stream]

    def _is_copied(self, stream: int) -> bool:
        """Whether another stream's text begins with all that this one holds."""
        held = self._held[stream]
        if not held:
            return True
        last = len(held) - 1
        return any(
            index != stream
            and last < len(other)
            and other[last] == held[last]  # a branch mostly differs there: no need to compare more
            and other[: len(held)] == held
            for index, other in enumerate(self._held)
        )


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """The length of the prefix that both share."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
