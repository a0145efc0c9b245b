"""One streamed call, and what its failures mean."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import anyio
import openai

from spex_agents.engines.base import Request
from spex_agents.engines.calls.cut import cut
from spex_agents.engines.openai.reply import Reply
from spex_agents.errors import EngineError, PromptTooLong

CLOSE_SECONDS = 2.0

_CONTEXT = re.compile(r"context (length|size|window)", re.IGNORECASE)
"""How servers say that a prompt is too long for their model: SGLang, vLLM, llama.cpp, OpenAI."""

ReplyT = TypeVar("ReplyT", bound=Reply)


class BrokenReply(Exception):
    """A reply that stopped short or cannot be read; worth another try."""


class Aborted(BrokenReply):
    """The server ended the request, for whatever reason."""

    def __init__(self) -> None:
        super().__init__("the server aborted the request")


def open_client(url: str, api_key: str | None, timeout: float) -> openai.AsyncOpenAI:
    """A client whose own retries are off, that waits `timeout` seconds for the next byte."""
    return openai.AsyncOpenAI(
        base_url=url,
        api_key=api_key or "none",
        max_retries=0,
        timeout=openai.Timeout(timeout, connect=min(timeout, 10.0)),
    )


async def stream_reply(
    client: openai.AsyncOpenAI,
    fields: Mapping[str, object],
    request: Request,
    *,
    headers: Mapping[str, str],
    hang_up_at: Sequence[str],
) -> Reply:
    """Stream one reply; `request.tokens` grows with it.

    Args:
        client: With its own retries off.
        fields: The body: ``prompt`` makes it a completion, ``messages`` a chat completion.
        request: Whose tokens to count.
        headers: Sent along.
        hang_up_at: The stream is closed as soon as one of these is in the text.

    Raises:
        openai.OpenAIError: The server cannot be reached, or refuses.
        BrokenReply: The stream cannot be read to its end.
        EngineError: It ended for a reason that is no thought's.
    """
    body = dict(fields)
    model = body.pop("model")
    create: Any  # the fields are data here, the client's signatures name each
    if "prompt" in body:
        create, key = client.completions.create, "prompt"
    else:
        create, key = client.chat.completions.create, "messages"
    asked = {"model": model, key: body.pop(key), "stream": True}
    stream = await create(**asked, extra_body=body, extra_headers=headers)
    return await read_stream(stream, Reply(), request, hang_up_at=hang_up_at)


async def read_stream(
    stream: Any, reply: ReplyT, request: Request, *, hang_up_at: Sequence[str] = ()
) -> ReplyT:
    """Read `stream` into `reply`, to its end; see `stream_reply`."""
    before = request.tokens
    request.started = None
    try:
        async for chunk in stream:
            request.started = request.started or asyncio.get_running_loop().time()
            reply.read(chunk if isinstance(chunk, dict) else chunk.to_dict(warnings=False))
            request.tokens = before + reply.tokens
            request.prompt_tokens = reply.prompt_tokens
            if hang_up_at and cut(reply.text, hang_up_at)[1]:
                return reply
    except Exception as error:  # each HTTP stack that the client can use has its own kinds
        if isinstance(error, openai.APIError) and not isinstance(error, openai.APIConnectionError):
            raise  # sent by the server
        raise BrokenReply(f"the stream broke: {type(error).__name__}: {error}") from error
    finally:
        await _close(stream)
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


async def _close(stream: Any) -> None:
    with anyio.move_on_after(CLOSE_SECONDS, shield=True):
        await stream.close()
        with suppress(Exception):  # lets the iterator end here, not in the garbage collector
            async for _ in stream:
                pass


def is_transient(error: BaseException) -> bool:
    """Whether another try may go better."""
    if isinstance(error, openai.APIStatusError):
        return error.status_code == 429 or error.status_code >= 500
    if isinstance(error, openai.APIConnectionError | BrokenReply):
        return True
    if isinstance(error, openai.APIError):  # sent inside a stream, its code a status or a word
        code = str(error.code)
        return code == "429" or not code.startswith("4")
    return False


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
        if error.status_code >= 500:
            remedy = f"failed {tries} times: see the server's log"
        return EngineError(f"{url} answered {error.status_code} ({error.message}); {remedy}")
    if isinstance(error, openai.APITimeoutError):
        return EngineError(
            f"{url} sent nothing in time, {tries} times: raise timeout= or lower max_concurrency="
        )
    if isinstance(error, openai.APIConnectionError):
        cause = error.__cause__ or error
        return EngineError(
            f"{url} cannot be reached ({cause}), {tries} tries: start the server there, or "
            "correct base_url"
        )
    if isinstance(error, BrokenReply):
        return EngineError(
            f"{url} failed {tries} times: {error}; see the server's log, or raise timeout="
        )
    return EngineError(f"{url} failed: {error}; see the server's log")
