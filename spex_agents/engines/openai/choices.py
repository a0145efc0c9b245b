"""Several replies that one request has asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from spex_agents.engines.base import Request
from spex_agents.engines.openai.reply import Reply


class Choices:
    """What one stream has brought so far of several replies, told apart by their index.

    What is decoded of a reply after its step has ended, or for a caller that has left, is paid all
    the same: a host ends all replies of a request, or none.

    Args:
        requests: Whose the replies are. The first one pays for the prompt, and for what is decoded
            for those that have gone.
        gone: Replies whose requests count no more: nobody waits for them, or they have been handed
            over. Their owner adds to it, too.
        hand_over: Called with a reply's number as soon as it is whole.
    """

    def __init__(
        self, requests: Sequence[Request], gone: set[int], hand_over: Callable[[int], None]
    ) -> None:
        self.replies = [Reply(choice=number) for number in range(len(requests))]
        self._requests = requests
        self._before = [(one.tokens, one.estimated_tokens) for one in requests]
        self._beyond = [Reply(choice=number) for number in range(len(requests))]
        self._account = Reply(choice=-1)
        self._ended: set[int] = set()
        self._gone = gone
        self._hand_over = hand_over

    @property
    def tokens(self) -> int:
        """Tokens decoded of all of them: the server's count, or those that were seen."""
        return max(self.told_tokens, sum(self._seen))

    @property
    def told_tokens(self) -> int:
        return self._account.told_tokens

    @property
    def prompt_tokens(self) -> int:
        return self._account.prompt_tokens

    @property
    def cached_tokens(self) -> int:
        return self._account.cached_tokens

    @property
    def finish(self) -> str | None:
        """Why all of them have ended, once they have."""
        return "stop" if all(reply.finish for reply in self.replies) else None

    @property
    def _seen(self) -> list[int]:
        pairs = zip(self.replies, self._beyond, strict=True)
        return [reply.tokens + beyond.tokens for reply, beyond in pairs]

    def take(
        self, chunk: object, *, hang_up_at: Sequence[str] = (), most_tokens: int | None = None
    ) -> bool:
        """Add a chunk; whether it is enough, and no account of them all is to be waited for."""
        self._account.read(chunk)
        said = {**chunk, "usage": None} if isinstance(chunk, Mapping) else chunk
        whole = []
        for number, reply in enumerate(self.replies):
            if number in self._ended:
                self._beyond[number].read(said)
            elif reply.take(said, hang_up_at=hang_up_at, most_tokens=most_tokens) or reply.finish:
                whole.append(number)
        self._ended.update(whole)
        self._count()
        for number in whole:
            self._hand_over(number)
        return self.finish is None and self._ended | self._gone >= set(range(len(self.replies)))

    def read_whole(self, answer: object) -> None:
        """Read an answer that came in one piece, though a stream was asked for."""
        self.take(answer)

    def _count(self) -> None:
        """Tell each request what it costs."""
        counts = apportion(self.tokens, self._seen)
        rest = 0
        for number, (request, count) in enumerate(zip(self._requests, counts, strict=True)):
            tokens, estimated = self._before[number]
            if number in self._gone:
                rest += count - (request.tokens - tokens)
                continue
            request.tokens = tokens + count
            request.estimated_tokens = estimated + (0 if self.told_tokens else count)
        first = self._requests[0]
        first.tokens += rest
        first.prompt_tokens, first.cached_tokens = self.prompt_tokens, self.cached_tokens


def apportion(whole: int, parts: Sequence[int]) -> list[int]:
    """Whole numbers that add up to `whole`, in the proportions of `parts`.

    Example:
        >>> apportion(10, [1, 1, 1]), apportion(7, [0, 0])
        ([3, 4, 3], [7, 0])
    """
    if not (total := sum(parts)):
        return [whole, *(0 for _ in parts[1:])]
    ends = [round(whole * sum(parts[: number + 1]) / total) for number in range(len(parts))]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
