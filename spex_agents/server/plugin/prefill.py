"""How much of guesses' prompts a step may compute beside demanded work.

SGLang computes prompts before it decodes, up to a chunk of thousands of tokens in a step, and a
guess whose prefix has been evicted may need all of it. Here guesses get smaller chunks, and after
each of them demanded requests decode first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from spex_agents.server.plugin.requests import is_leaving, is_speculative

TOKENS = 512
"""As many as a GPU computes in about the time in which it reads the weights, or twice that."""


class Prefill:
    """Bounds the prefill of guesses while somebody waits for something.

    Args:
        scheduler: SGLang's.
        tokens: Of guesses' prompts, in a step.
        missing: How many tokens of a waiting request's prompt are not in the cache.
    """

    def __init__(self, scheduler: Any, *, tokens: int, missing: Callable[[Any], int]) -> None:
        self.scheduler = scheduler
        self.tokens = tokens
        self.missing = missing
        self._guesses_last = False

    def computed(self, requests: list[Any]) -> None:
        """Prompts of these are computed in the step that follows."""
        self._guesses_last = bool(requests) and all(map(is_speculative, requests))

    def must_decode(self, running: Iterable[Any]) -> bool:
        """Whether the next step is for demanded requests: the last one was for guesses' prompts.

        Not where ranks vote on each prefill: all of them must ask, then.
        """
        scheduler, last = self.scheduler, self._guesses_last
        self._guesses_last = False
        chunked = scheduler.chunked_req
        return (
            last
            and not scheduler.prefill_delayer
            and all(map(is_speculative, scheduler.waiting_queue))
            and (chunked is None or is_speculative(chunked))
            and any(not is_speculative(each) and not is_leaving(each) for each in running)
        )

    def chunk(self, running: int) -> int | None:
        """SGLang's ``chunked_prefill_size`` for a step in which only guesses join.

        Args:
            running: Requests in the running batch, which are counted in where both are mixed.
        """
        scheduler = self.scheduler
        own: int | None = scheduler.chunked_prefill_size
        queue = scheduler.waiting_queue
        chunked = [] if scheduler.chunked_req is None else [scheduler.chunked_req]
        if own is None or not all(map(is_speculative, [*chunked, *queue])):
            return own
        beside = running if scheduler.is_mixed_chunk else 0
        return min(own, self._aligned(self.tokens) + beside)

    def limit(self, chunked: Any, budget: int, given: int | None) -> int | None:
        """SGLang's limit of the chunk of a prompt that is under way.

        Args:
            chunked: The request.
            budget: Tokens that the step may compute.
            given: SGLang's own limit.
        """
        if not is_speculative(chunked) or all(map(is_speculative, self.scheduler.waiting_queue)):
            return given
        ours = self._aligned(min(self.tokens, budget // 2))
        return ours if given is None else min(ours, given)

    def _aligned(self, tokens: int) -> int:
        scheduler = self.scheduler
        unit = max(scheduler.page_size, scheduler.truncation_align_size or 1)
        return int(max(tokens // unit * unit, unit))
