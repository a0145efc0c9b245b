"""A search as OpenAI's chat completion: its thoughts are reasoning, and then comes the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

from pydantic import BaseModel

from spex_agents.server.gateway.errors import ApiError, stopping
from spex_agents.server.gateway.search import Search
from spex_agents.server.gateway.streaming import PING, sent_event
from spex_agents.server.gateway.usage import Usage, usage_of


class AssistantMessage(BaseModel):
    """OpenAI's; what was thought is told by both names that clients know."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    reasoning_content: str
    reasoning: str
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class Choice(BaseModel):
    index: int = 0
    message: AssistantMessage
    finish_reason: Literal["stop", "length", "tool_calls"]
    logprobs: None = None


class Completion(BaseModel):
    """OpenAI's, and under `spex` what else is known of the (first) search."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    system_fingerprint: None = None
    spex: dict[str, Any]


def failure(search: Search) -> ApiError | None:
    """What a client is told of a search that does not run any more and has no answer."""
    if search.state == "suspended":
        return stopping(idempotent=search.idempotent)
    return search.error


def said_by(search: Search) -> tuple[dict[str, Any], Any]:
    """What a message says of a search that is done, and its finish reason."""
    finish = (search.result or {})["finish_reason"]
    if search.misses_its_form:
        return {"refusal": "no thought had an answer of the form that was asked for"}, finish
    if called := search.calls:
        calls = [
            {
                "index": index,
                "id": call_id(search, index),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for index, call in enumerate(called)
        ]
        return {"tool_calls": calls}, "tool_calls"
    return {"content": search.content}, finish


def call_id(search: Search, index: int) -> str:
    """By which a client says what the call has come to."""
    return f"call_{search.id}_{index}" if index else f"call_{search.id}"


async def reasoning_of(search: Search) -> str:
    """The accepted thoughts of a search that is done."""
    return "".join(
        [
            line_of(told[1])
            async for told in search.events.follow(ping_seconds=60)
            if told is not None and told[1].get("status") == "accepted"
        ]
    )


async def completion_of(searches: Sequence[Search]) -> Completion:
    """The answers of searches that are done, their accepted thoughts as reasoning."""
    choices = []
    for index, search in enumerate(searches):
        thought = await reasoning_of(search)
        said, reason = said_by(search)
        message = AssistantMessage(
            **{"content": None, **said}, reasoning_content=thought, reasoning=thought
        )
        choices.append(Choice(index=index, message=message, finish_reason=reason))
    first = searches[0]
    return Completion(
        id=f"chatcmpl-{first.id}",
        created=int(first.created),
        model=first.request.model,
        choices=choices,
        usage=usage_of(searches),
        spex=first.summary(),
    )


async def chunks(
    searches: Sequence[Search], *, usage: bool, progress: bool, ping_seconds: float
) -> AsyncIterator[str]:
    """The same in pieces, while they run: one choice after the other."""
    first = searches[0]

    def chunk(choices: list[dict[str, Any]], **more: Any) -> str:
        whole = {
            "id": f"chatcmpl-{first.id}",
            "object": "chat.completion.chunk",
            "created": int(first.created),
            "model": first.request.model,
            "choices": choices,
            **({"usage": None} if usage else {}),
            **more,
        }
        return sent_event(whole)

    for index, search in enumerate(searches):

        def delta(
            part: dict[str, Any], finish: str | None = None, index: int = index
        ) -> list[dict[str, Any]]:
            return [{"index": index, "delta": part, "finish_reason": finish, "logprobs": None}]

        yield chunk(delta({"role": "assistant", "content": ""}))
        if progress:
            yield chunk(delta({"content": "<think>\n"}))
        async for told in search.events.follow(ping_seconds=ping_seconds):
            if told is None:
                yield PING
            elif told[1].get("status") == "accepted":
                line = line_of(told[1])
                shown = {"content": line} if progress else {}
                yield chunk(delta({"reasoning_content": line, "reasoning": line, **shown}))
        if (error := failure(search)) is not None:
            yield sent_event(error.body())
            return
        said, finish = said_by(search)
        if progress:
            yield chunk(delta({"content": "</think>\n\n"}))
        yield chunk(delta(said))
        yield chunk(delta({}, finish), spex=search.summary())
    if usage:
        yield chunk([], usage=usage_of(searches).model_dump())
    yield sent_event("[DONE]")


def line_of(event: Any) -> str:
    """An accepted thought as a line of reasoning."""
    return f"[{event['id']}] {event['text']}\n"
