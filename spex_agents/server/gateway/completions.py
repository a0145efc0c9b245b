"""A search as OpenAI's chat completion: its thoughts are reasoning, and then comes the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

from pydantic import BaseModel, Field

from spex_agents.engines.calls.cut import estimated_tokens
from spex_agents.engines.prompts import PromptTemplate
from spex_agents.server.gateway.errors import ApiError, stopping
from spex_agents.server.gateway.search import Search
from spex_agents.server.gateway.streaming import PING, sent_event


class AssistantMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    reasoning_content: str
    refusal: None = None


class Choice(BaseModel):
    index: int = 0
    message: AssistantMessage
    finish_reason: Literal["stop", "length"]
    logprobs: None = None


class PromptDetails(BaseModel):
    estimated: bool = Field(
        default=False, description="The engine does not count them: a token for four characters."
    )


class CompletionDetails(BaseModel):
    reasoning_tokens: int
    accepted_prediction_tokens: int = Field(description="Begun early, and asked for later.")
    rejected_prediction_tokens: int = Field(
        description="Decoded for nothing; not among the completion's."
    )


class Usage(BaseModel):
    """OpenAI's: the question's prompt, once, and all tokens that the search took."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


class Completion(BaseModel):
    """OpenAI's, and under `spex` what else is known of the search."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    spex: dict[str, Any]


def failure(search: Search) -> ApiError | None:
    """What a client is told of a search that does not run any more and has no answer."""
    if search.state == "suspended":
        return stopping()
    return search.error


async def completion_of(search: Search) -> Completion:
    """The answer of a search that is done, its accepted thoughts as reasoning."""
    result = search.result or {}
    reasoning = [
        _line(told[1])
        async for told in search.events.follow(ping_seconds=60)
        if told is not None and told[1].get("status") == "accepted"
    ]
    return Completion(
        id=f"chatcmpl-{search.id}",
        created=int(search.created),
        model=search.request.model,
        choices=[
            Choice(
                message=AssistantMessage(
                    content=result["content"], reasoning_content="".join(reasoning)
                ),
                finish_reason=result["finish_reason"],
            )
        ],
        usage=usage_of(search),
        spex=search.summary(),
    )


async def chunks(search: Search, *, usage: bool, ping_seconds: float) -> AsyncIterator[str]:
    """The same in pieces, while it runs."""

    def chunk(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        whole = {
            "id": f"chatcmpl-{search.id}",
            "object": "chat.completion.chunk",
            "created": int(search.created),
            "model": search.request.model,
            "choices": [] if delta is None else [choice],
            **({"usage": None} if usage else {}),
            **more,
        }
        return sent_event(whole)

    yield chunk({"role": "assistant", "content": ""})
    async for told in search.events.follow(ping_seconds=ping_seconds):
        if told is None:
            yield PING
        elif told[1].get("status") == "accepted":
            yield chunk({"reasoning_content": _line(told[1])})
    if (error := failure(search)) is not None:
        yield sent_event(error.body())
        return
    result = search.result or {}
    yield chunk({"content": result["content"]})
    yield chunk({}, result["finish_reason"], spex=search.summary())
    if usage:
        yield chunk(None, usage=usage_of(search).model_dump())
    yield sent_event("[DONE]")


def usage_of(search: Search) -> Usage:
    """What a search has cost, as OpenAI tells it."""
    spent = search.spent
    asked = search.request.asked
    prompt, details = spent.prompt_tokens, PromptDetails()
    if not prompt:
        text = "".join(
            turn.content
            for turn in asked.told_by(PromptTemplate()).prompt(asked.question, ()).messages
        )
        prompt, details = estimated_tokens(text), PromptDetails(estimated=True)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=spent.useful_tokens,
        total_tokens=prompt + spent.useful_tokens,
        prompt_tokens_details=details,
        completion_tokens_details=CompletionDetails(
            reasoning_tokens=spent.useful_tokens,
            accepted_prediction_tokens=spent.hit_tokens,
            rejected_prediction_tokens=spent.wasted_tokens,
        ),
    )


def _line(event: Any) -> str:
    return f"[{event['id']}] {event['text']}\n"
