"""One streamed call, and what its failures mean."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
import openai

from spex_agents.engines.base import Request
from spex_agents.engines.calls.cut import cut
from spex_agents.engines.calls.pace import retry_after
from spex_agents.engines.openai.reply import Reply
from spex_agents.errors import UNAVAILABLE, EngineError, EngineUnavailable, PromptTooLong

CLOSE_SECONDS = 2.0
LINGER_SECONDS = 1.0
"""How long what follows a reply's end, its account, is waited for."""

_CONTEXT = re.compile(r"context (length|size|window)", re.IGNORECASE)
"""How servers say that a prompt is too long for their model: SGLang, vLLM, llama.cpp, OpenAI."""

ReplyT = TypeVar("ReplyT", bound=Reply)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for tokens; comments that keep a connection alive are none.

    Attributes:
        first: Seconds for the first token.
        between: Seconds between two.
    """

    first: float
    between: float


class BrokenReply(Exception):
    """A reply that stopped short or cannot be read; worth another try."""


class Aborted(BrokenReply):
    """The server ended the request, for whatever reason."""

    def __init__(self) -> None:
        super().__init__("the server aborted the request")


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
        chunks = _chunks(stream.response, reply)
        rhythm = Rhythm()
        try:
            async for chunk in chunks:
                seen, text, logprobs = reply.tokens, reply.text, len(reply.logprobs)
                _raise_sent(chunk, stream.response)
                reply.read(chunk)
                over = most_tokens and reply.tokens - reply.reasoning_tokens > most_tokens
                if over and not reply.finish:
                    reply.text, reply.finish = text, "length"
                    del reply.logprobs[logprobs:]
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
                if hang_up_at and cut(reply.split.text.lstrip("\n"), hang_up_at)[1]:
                    return reply
                if over:
                    break
        except asyncio.CancelledError:
            tail = rhythm.since(now())
            request.tokens += tail
            request.estimated_tokens += tail
            raise
        except (openai.APIError, EngineError):
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
    return _ended(reply, request)


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


def _ended(reply: ReplyT, request: Request) -> ReplyT:
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


async def _chunks(response: Any, reply: Reply) -> AsyncGenerator[object, None]:
    """The events of a stream, up to ``[DONE]``; an answer in one piece goes to `reply` itself."""
    whole: list[str] = []
    async for line in _lines(response):
        if whole or line.startswith("{"):
            whole.append(line)
        elif line.startswith("data:"):
            if (data := line.removeprefix("data:").strip()) == "[DONE]":
                return
            yield json.loads(data)
    if whole:
        answer = json.loads("\n".join(whole))
        _raise_sent(answer, response)
        reply.read_whole(answer)
        yield None


async def _lines(response: Any) -> AsyncGenerator[str, None]:
    """The lines of a body; a text in it may have separators that Python takes for line ends."""
    rest = b""
    async for piece in response.aiter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace").rstrip("\r")
    yield rest.decode(errors="replace")


def _raise_sent(chunk: object, response: Any) -> None:
    """Raise the error that a chunk is, if it is one."""
    if isinstance(chunk, dict) and (error := chunk.get("error")):
        said = error.get("message") if isinstance(error, dict) else error
        raise openai.APIError(str(said or "no reason told"), request=response.request, body=error)


def is_transient(error: BaseException) -> bool:
    """Whether another try may go better."""
    if isinstance(error, openai.APIStatusError):
        if is_limit(error):
            return True
        return error.status_code in (408, 425) or error.status_code >= 500
    if isinstance(error, openai.APIConnectionError | BrokenReply):
        return True
    if isinstance(error, openai.APIError):  # sent inside a stream, its code a status or a word
        code = str(error.code)
        return code == "429" or not code.startswith("4")
    return False


def is_limit(error: openai.APIStatusError) -> bool:
    """Whether the server wants fewer requests, and will take more later."""
    return error.status_code in (429, 529) and not is_quota(error)


def is_quota(error: openai.APIStatusError) -> bool:
    """Whether what has been paid for is used up, which no wait changes."""
    return error.status_code == 402 or "insufficient_quota" in (error.code, error.type)


def is_away(error: BaseException) -> bool:
    """Whether no server is there just now, or one that is still loading."""
    return refuses_connections(error) or (
        isinstance(error, openai.APIStatusError) and error.status_code in (502, 503)
    )


def refuses_connections(error: BaseException) -> bool:
    # by its name: each HTTP stack that the client can use has its own kinds
    cause = type(error.__cause__).__name__
    return isinstance(error, openai.APIConnectionError) and cause == "ConnectError"


def explain(error: Exception, url: str, *, tries: int) -> EngineError:
    """The error to raise: where it failed, why, and what to do."""
    if isinstance(error, openai.BadRequestError) and _CONTEXT.search(error.message):
        return PromptTooLong(f"{url} refused the prompt ({error.message}): shorten it")
    if isinstance(error, openai.APIStatusError):
        remedy = {
            401: "pass the server's key as api_key=",
            403: "pass the server's key as api_key=",
            404: "base_url must end where the protocol begins, mostly in /v1, and model= be served",
            429: f"refused {tries} times: lower max_concurrency= or raise retries=",
        }.get(error.status_code, "correct the request it complains of (extra_body=, dialect=)")
        if is_quota(error):
            remedy = "what the key may spend is used up: see the provider's billing"
        elif is_limit(error) and (seconds := retry_after(error.response.headers)):
            remedy = f"it wants {seconds:g} s without requests: raise patience= to wait as long"
        elif error.status_code >= 500:
            remedy = f"failed {tries} times: see the server's log"
        kind = EngineUnavailable if error.status_code in UNAVAILABLE else EngineError
        return kind(f"{url} answered {error.status_code} ({error.message}); {remedy}")
    if isinstance(error, openai.APITimeoutError):
        return EngineError(
            f"{url} sent nothing in time, {tries} times: raise timeout= or lower max_concurrency="
        )
    if isinstance(error, openai.APIConnectionError):
        cause = error.__cause__ or error
        return EngineUnavailable(
            f"{url} cannot be reached ({cause}), {tries} tries: start the server there, or "
            "correct base_url"
        )
    if isinstance(error, BrokenReply):
        return EngineError(
            f"{url} failed {tries} times: {error}; see the server's log, or raise timeout="
        )
    return EngineError(f"{url} failed: {error}; see the server's log")
