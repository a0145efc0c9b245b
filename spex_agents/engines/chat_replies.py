"""What comes back from chat models: text, reasoning, usage, and what a provider refuses."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spex_agents.engines.base import Request
from spex_agents.engines.calls.cut import estimated_tokens, tokens_of_step
from spex_agents.engines.calls.labels import read_labels
from spex_agents.engines.calls.pace import retry_after
from spex_agents.errors import UNAVAILABLE, EngineError, EngineUnavailable

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

END_MARK = "<end>"
"""What a model is asked to say where its reply is complete."""

_THINK = re.compile(r"\s*<think>.*?(?:</think>\s*|\Z)", re.DOTALL)
_CUT_OFF = {"length", "max_tokens", "max_output_tokens"}


def as_message(said: object) -> BaseMessage:
    """What a runnable has returned, as a message: structured output is told as JSON."""
    from langchain_core.messages import AIMessage, BaseMessage  # noqa: PLC0415 (half a second)

    if isinstance(said, BaseMessage):
        return said
    dump = getattr(said, "model_dump_json", None)
    if dump is not None:
        return AIMessage(str(dump()))
    return AIMessage(said if isinstance(said, str) else json.dumps(said, default=str))


def spoken(message: BaseMessage) -> str:
    """The text of a message without any reasoning, be it in blocks or in ``<think>`` marks."""
    return _THINK.sub("", str(message.text), count=1)


def reasoning_in(message: BaseMessage) -> str:
    """The reasoning that came with a message, as far as it is told."""
    blocks = "".join(str(block.get("reasoning") or "") for block in message.content_blocks)
    told = blocks or str(message.additional_kwargs.get("reasoning_content") or "")
    marked = _THINK.match(str(message.text))
    return told + (marked[0] if marked else "")


def take(
    request: Request,
    message: BaseMessage,
    *,
    asked: int,
    chunks: int = 0,
    count: Callable[[str], Sequence[int]] | None = None,
) -> None:
    """Count what a reply has taken, be it whole or broken off, in place of what was expected of it.

    Args:
        request: Whose call it was; `asked` and `chunks` are in its counts.
        message: The reply.
        asked: The estimate of its prompt.
        chunks: Pieces of it that have come.
        count: The model's own counter of tokens, where it has one.
    """
    usage: Mapping[str, Any] = getattr(message, "usage_metadata", None) or {}
    written = written_tokens(message, chunks, count)
    request.prompt_tokens += (usage.get("input_tokens") or asked) - asked
    request.cached_tokens += int((usage.get("input_token_details") or {}).get("cache_read") or 0)
    request.tokens += written - chunks
    request.estimated_tokens += 0 if usage.get("output_tokens") else written


def written_tokens(
    message: BaseMessage, chunks: int, count: Callable[[str], Sequence[int]] | None
) -> int:
    """Tokens of a reply: as told, as counted by the model, or estimated from its chunks and text.

    Some tell the prompt's at the start, and none for the reply.
    """
    usage = getattr(message, "usage_metadata", None)
    if usage and (told := int(usage["output_tokens"])):
        return told
    text = f"{message.text}{getattr(message, 'tool_calls', None) or ''}"
    if count is not None:
        return len(count(text))
    return max(chunks, estimated_tokens(text) + estimated_tokens(reasoning_in(message)))


def is_cut_off(message: BaseMessage) -> bool:
    """Whether the reply ended at its cap of tokens."""
    told = message.response_metadata
    details = told.get("incomplete_details")
    reasons = (
        told.get("finish_reason"),
        told.get("stop_reason"),
        told.get("done_reason"),
        details.get("reason") if isinstance(details, Mapping) else None,
    )
    return any(str(reason).lower() in _CUT_OFF for reason in reasons)


def logprob_entries(message: BaseMessage) -> Sequence[Mapping[str, Any]]:
    """The log-probabilities of a reply's tokens, as OpenAI tells them; none if it does not."""
    found = message.response_metadata.get("logprobs")
    entries = found.get("content") if isinstance(found, Mapping) else None
    return entries or ()


def logprobs_of(
    message: BaseMessage, stop: Sequence[str], start: int = 0
) -> tuple[float, ...] | None:
    """Those of the tokens of the step that begins at `start`; None if the model sent none."""
    if not (entries := logprob_entries(message)):
        return None
    while start > 0 and entries:  # what the reply repeats
        start, entries = start - len(entries[0]["token"]), entries[1:]
    tokens = [entry["token"] for entry in entries]
    blank = next((at for at, token in enumerate(tokens) if token.strip()), len(tokens))
    tokens[: blank + 1] = [token.lstrip() for token in tokens[: blank + 1]]  # as in the text
    step = entries[: tokens_of_step(tokens, stop)]
    return tuple(float(entry["logprob"]) for entry in step)


_LOOPS = ("Event loop is closed", "bound to a different event loop", "attached to a different loop")


def label_chances(
    message: BaseMessage, labels: Sequence[str], warn: Callable[[str], None]
) -> Mapping[str, float]:
    """The probabilities of labels as a reply's first token; read off its text if it has none."""
    first = next((entry for entry in logprob_entries(message) if entry["token"].strip()), None)
    chances = dict.fromkeys(labels, 0.0)
    for entry in first.get("top_logprobs") or (first,) if first else ():
        for label in labels:
            if entry["token"].strip().casefold() == label.casefold():
                chances[label] += math.exp(entry["logprob"])
    if any(chances.values()):
        return chances
    return read_labels(spoken(message), labels, warn)


def refused(error: BaseException, sent: Collection[str]) -> str | None:
    """Which of the keywords that were sent an error says the model does not take.

    A provider answers 400 and names the parameter; a class that lacks the keyword raises TypeError.
    """
    if isinstance(error, TypeError) and "keyword argument" in str(error):
        named = str(error)
    elif status_of(error) in (400, 422):
        named = f"{getattr(error, 'param', None) or ''} {error}"
    else:
        return None
    for keyword in sorted(sent, key=len, reverse=True):
        if any(re.search(rf"(?<!\w){word}(?!\w)", named) for word in _names(keyword)):
            return keyword
    return None


def _names(keyword: str) -> Iterator[str]:
    """How providers call a keyword in their errors."""
    yield keyword
    if keyword == "stop":
        yield from ("stop_sequences", "stopSequences")
    if keyword == "max_tokens":
        yield from ("max_completion_tokens", "max_output_tokens", "maxOutputTokens")


def status_of(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    return status if isinstance(status, int) else getattr(error, "code", None)


def remedy_of(error: BaseException) -> str:
    """What to do about an error that has ended all tries.

    Example:
        >>> remedy_of(ValueError("odd"))
        'if another try may help, name the exception in retry_on='
    """
    if remedy := loop_remedy(error):
        return remedy
    status = status_of(error)
    if status == 429:
        return "lower max_concurrency=, or see the provider's limits and billing"
    told = {401: "check the provider's key", 403: "check the provider's key"}
    told[404] = "check the model's name"
    if isinstance(status, int) and 400 <= status < 500 and status != 408:
        return told.get(status, "correct the request it complains of, in the model's own settings")
    again = "if another try may help, name the exception in retry_on="
    if isinstance(error, ConnectionError) or "Connection" in type(error).__name__:
        return f"see whether the provider can be reached from here; {again}"
    return again


def loop_remedy(error: BaseException) -> str:
    """What to do about a client that is used in another event loop than before; else empty.

    Providers' clients wrap the error of the loop in one of the connection.

    Example:
        >>> loop_remedy(RuntimeError("Event loop is closed"))[:40]
        'the model belongs to another event loop:'
    """
    cause: BaseException | None = error
    while cause is not None:
        if any(sign in str(cause) for sign in _LOOPS):
            return "the model belongs to another event loop: keep to one, or make a model for each"
        cause = cause.__cause__ or cause.__context__
    return ""


def failure(what: str, error: BaseException, remedy: str = "") -> EngineError:
    """The error to raise for a provider's: what failed, why, and what to do if that is known.

    Example:
        >>> failure("fake failed", ConnectionError("gone."), "try again")
        EngineUnavailable('fake failed: ConnectionError: gone; try again')
    """
    away = isinstance(error, ConnectionError) or status_of(error) in UNAVAILABLE
    said = f"{what}: {type(error).__name__}: {error}".rstrip(".")
    return (EngineUnavailable if away else EngineError)(f"{said}; {remedy}" if remedy else said)


def wait_of(error: BaseException) -> float | None:
    """Seconds that a provider, which limits its callers, wants to be left alone; None for none."""
    if status_of(error) not in (429, 529):
        return None
    told = getattr(error, "body", None)
    if "insufficient_quota" in f"{getattr(error, 'code', None)} {told}":  # no wait changes that
        return None
    headers = getattr(getattr(error, "response", None), "headers", None)
    return retry_after(headers or {}, f"{error} {told}")
