"""What failures of a server mean, and what to do about them."""

from __future__ import annotations

import json
import re

import openai

from spex_agents.engines.calls.pace import retry_after
from spex_agents.errors import UNAVAILABLE, EngineError, EngineUnavailable, PromptTooLong

SHOWN = 300
"""Characters of an answer's body that an error shows."""

_CONTEXT = re.compile(r"context.?(length|size|window)", re.IGNORECASE)
"""How servers say that a prompt is too long for their model: SGLang, vLLM, llama.cpp, OpenAI."""

_QUOTA = re.compile(
    r"insufficient.(quota|balance|credit)|credit balance|exceeded_current_quota|billing_",
    re.IGNORECASE,
)
"""How hosts say that what was paid for is used up: OpenAI, DeepSeek, Anthropic, Moonshot."""

_BARE = re.compile(r"Error code: \d+")
_MARKUP = re.compile(r"<(style|script|title)\b.*?</\1>|<!--.*?-->|<[^>]*>", re.DOTALL)


class BrokenReply(Exception):
    """A reply that stopped short or cannot be read; worth another try."""


class Aborted(BrokenReply):
    """The server ended the request, for whatever reason."""

    def __init__(self) -> None:
        super().__init__("the server aborted the request")


def is_transient(error: BaseException) -> bool:
    """Whether another try may go better."""
    if isinstance(error, openai.APIError) and (is_quota(error) or is_too_long(error)):
        return False
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


def wanted(error: openai.APIStatusError) -> float | None:
    """Seconds that a server wants to be left alone; None if it does not say."""
    return retry_after(error.response.headers, f"{error.message} {json.dumps(error.body)}")


def is_quota(error: openai.APIError) -> bool:
    """Whether what has been paid for is used up, which no wait changes."""
    told = f"{error.code} {error.type} {error.message}"
    return getattr(error, "status_code", None) == 402 or bool(_QUOTA.search(told))


def is_too_long(error: openai.APIError) -> bool:
    """Whether a prompt, and what was to follow, are more than the model can hold."""
    status = getattr(error, "status_code", 400)
    return status in (400, 413, 422) and bool(_CONTEXT.search(f"{error.code} {said_by(error)}"))


def said_by(error: openai.APIError) -> str:
    """What an answer says, wherever it says it, without a page's markup."""
    body = error.body
    if not body or not _BARE.fullmatch(error.message):
        return error.message
    text = body if isinstance(body, str) else json.dumps(body)
    return f"{error.message} - {' '.join(_MARKUP.sub(' ', text).split())[:SHOWN]}"


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
    times = "once" if tries == 1 else f"{tries} times"
    said = said_by(error) if isinstance(error, openai.APIError) else str(error)
    if isinstance(error, openai.APIError) and is_quota(error):
        return EngineUnavailable(
            f"{url} refused ({said}): what the key may spend is used up: see the provider's billing"
        )
    if isinstance(error, openai.APIError) and is_too_long(error):
        return PromptTooLong(
            f"{url} refused the prompt ({said}): shorten it, or lower step_tokens= or "
            "thinking_tokens="
        )
    if isinstance(error, openai.APIStatusError):
        remedy = {
            401: "pass the server's key as api_key=",
            403: "pass the server's key as api_key=",
            404: "see model="
            if "model" in said.lower()
            else "base_url= must end where the protocol begins, mostly in /v1; see model= too",
            429: f"refused {times}: lower max_concurrency= or raise retries=",
        }.get(error.status_code, "correct the request it complains of (extra_body=, dialect=)")
        if (moved := error.response.history) and error.request.method == "GET":
            remedy = f"it redirects to {moved[0].headers.get('location')}: correct base_url="
        elif is_limit(error) and (seconds := wanted(error)):
            remedy = f"it wants {seconds:g} s without requests: raise patience= to wait as long"
        elif error.status_code >= 500:
            remedy = f"failed {times}: see the server's log"
        kind = EngineUnavailable if error.status_code in UNAVAILABLE else EngineError
        return kind(f"{url} answered {error.status_code} ({said}); {remedy}")
    if isinstance(error, openai.APITimeoutError):
        return EngineError(
            f"{url} sent nothing in time, {times}: raise timeout= or lower max_concurrency="
        )
    if isinstance(error, openai.APIConnectionError):
        cause = error.__cause__ or error
        return EngineUnavailable(
            f"{url} cannot be reached ({cause}), tried {times}: start the server there, or "
            "correct base_url="
        )
    if isinstance(error, BrokenReply):
        return EngineError(
            f"{url} failed {times}: {error}; see the server's log, or raise timeout="
        )
    return EngineError(f"{url} failed: {said}; see the server's log")
