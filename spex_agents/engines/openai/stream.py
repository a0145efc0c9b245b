"""One streamed call, read to its end, or to where it is enough."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
import openai

from spex_agents.engines.base import Request
from spex_agents.engines.openai.choices import Choices
from spex_agents.engines.openai.events import chunks_of
from spex_agents.engines.openai.failures import Aborted, BrokenReply
from spex_agents.engines.openai.reply import Reply
from spex_agents.errors import EngineError

CLOSE_SECONDS = 2.0
LINGER_SECONDS = 1.0
"""How long what follows a reply's end, its account, is waited for."""

ReplyT = TypeVar("ReplyT", bound=Reply | Choices)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for tokens; comments that keep a connection alive are none.

    Attributes:
        first: Seconds for the first token.
        between: Seconds between two.
    """

    first: float
    between: float


async def stream_reply(
    client: openai.AsyncOpenAI,
    path: str,
    body: Mapping[str, object],
    reply: ReplyT,
    request: Request,
    *,
    patience: Patience,
    headers: Mapping[str, str] | None = None,
    hang_up_at: Sequence[str] = (),
    most_tokens: int | None = None,
    heard: Callable[[Any], None] = lambda _: None,
) -> ReplyT:
    """Stream one reply; `request.tokens` grows with it.

    Args:
        client: With its own retries off.
        path: Where to post.
        body: What to post; that a stream is wanted is added.
        reply: To read into.
        request: Whose tokens to count.
        patience: With the server.
        headers: Sent along.
        hang_up_at: The stream is closed as soon as one of these is in what the reply says.
        most_tokens: It is closed, too, and the rest dropped, where the server goes on after these,
            reasoning not counted.
        heard: Called with the headers of the answer.

    Raises:
        openai.OpenAIError: The server cannot be reached, or refuses.
        BrokenReply: The stream cannot be read to its end, or nothing came in time.
        EngineError: It ended for a reason that is no thought's.
    """
    before, guessed = request.tokens, request.estimated_tokens
    request.started = None
    now = asyncio.get_running_loop().time
    with anyio.move_on_after(patience.first) as waiting:
        stream = await client.post(
            path,
            cast_to=object,
            body={**body, "stream": True},
            options={"headers": headers} if headers else {},
            stream=True,
            stream_cls=openai.AsyncStream[object],
        )
        heard(stream.response.headers)
        chunks = chunks_of(stream.response, reply)
        rhythm = Rhythm()
        try:
            async for chunk in chunks:
                seen = reply.tokens
                enough = reply.take(chunk, hang_up_at=hang_up_at, most_tokens=most_tokens)
                request.tokens = before + reply.tokens
                request.estimated_tokens = guessed + reply.tokens - reply.told_tokens
                rhythm.count(reply.tokens, now())
                request.prompt_tokens = reply.prompt_tokens
                request.cached_tokens = reply.cached_tokens
                if reply.finish:  # what may follow is an account, not worth a wait
                    waiting.deadline = min(waiting.deadline, now() + LINGER_SECONDS)
                elif reply.tokens > seen:
                    request.started = request.started or now()
                    waiting.deadline = now() + patience.between
                if enough:
                    return reply
        except asyncio.CancelledError:
            tail = rhythm.since(now())
            request.tokens += tail
            request.estimated_tokens += tail
            raise
        except (openai.APIError, EngineError, BrokenReply):
            raise
        except Exception as error:  # each HTTP stack that the client can use has its own kinds
            raise BrokenReply(f"the stream broke: {type(error).__name__}: {error}") from error
        finally:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await chunks.aclose()
                await stream.close()
    if waiting.cancelled_caught and not reply.finish:
        raise BrokenReply(
            f"no token came in {patience.between if reply.tokens else patience.first:g} s"
        )
    return check_end(reply, request)


class Rhythm:
    """How many tokens come at a time, and how often: some servers tell of every 25th.

    Example:
        >>> rhythm = Rhythm()
        >>> for tokens, moment in ((25, 1.0), (50, 1.5), (75, 2.0)):
        ...     rhythm.count(tokens, moment)
        >>> rhythm.since(2.3)
        15
    """

    def __init__(self) -> None:
        self._counts: list[tuple[int, float]] = []
        """The first count and the last."""
        self._times = 0

    def count(self, tokens: int, moment: float) -> None:
        """So many have come up to now."""
        if not self._counts or tokens > self._counts[-1][0]:
            self._counts = [*self._counts[:1], (tokens, moment)]
            self._times += 1

    def since(self, moment: float) -> int:
        """Tokens that have probably been decoded since the last count, and not been told."""
        if self._times < 2:
            return 0
        (before, begun), (tokens, last) = self._counts
        at_a_time = (tokens - before) / (self._times - 1)
        took = (last - begun) / (self._times - 1)
        if at_a_time < 2 or took <= 0:
            return 0
        return min(int(at_a_time * (moment - last) / took + 1e-9), round(at_a_time) - 1)


def check_end(reply: ReplyT, request: Request) -> ReplyT:
    """The reply, if its end is a thought's.

    Raises:
        BrokenReply: It has none, or was aborted.
        EngineError: It was ended for another reason.
    """
    if reply.finish is None:
        raise BrokenReply("the stream ended without a finish_reason")
    if reply.finish == "abort":
        raise Aborted
    if reply.finish not in ("stop", "length"):
        raise EngineError(
            f"request {request.id!r} ended with finish_reason={reply.finish!r}: expected 'stop' "
            "or 'length'; change the prompt or the server's filters and tools"
        )
    return reply
