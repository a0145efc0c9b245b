"""Messages as providers accept them back: with ids of tool calls that are there, and unique."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from spex_agents.errors import EngineError


def call_ids(messages: Iterable[BaseMessage]) -> set[str]:
    """The ids of all tool calls in a conversation."""
    calls = [call for said in messages if isinstance(said, AIMessage) for call in said.tool_calls]
    return {call["id"] for call in calls if call["id"]}


def as_sent(messages: Sequence[BaseMessage], *, taken: Collection[str]) -> list[BaseMessage]:
    """A model's messages as they came, but for what no provider takes back.

    An id of a tool call that is missing, or that another call of the conversation has, becomes a
    new one wherever it stands: in calls, content blocks, `additional_kwargs` and results.
    Blocks of text that are white space alone are left out.

    Raises:
        EngineError: A message says nothing and calls nothing.
    """
    known = set(taken)
    sent: list[BaseMessage] = []
    renamed: dict[str, str] = {}
    for message in messages:
        if isinstance(message, AIMessage):
            sent.append(_unique(_without_blanks(message), known, renamed))
        elif isinstance(message, ToolMessage) and message.tool_call_id in renamed:
            answered = renamed[message.tool_call_id]
            sent.append(message.model_copy(update={"tool_call_id": answered}))
        else:
            sent.append(message)
    return sent


def _without_blanks(message: AIMessage) -> AIMessage:
    content = message.content
    if isinstance(content, str):
        kept: Any = content if content.strip() else ""
    else:
        kept = [block for block in content if not _is_blank(block)]
    structured = message.additional_kwargs.get("parsed") or message.additional_kwargs.get("refusal")
    if not (kept or message.tool_calls or message.invalid_tool_calls or structured):
        raise EngineError("the model said nothing: neither a text nor a tool call")
    return message if kept == content else message.model_copy(update={"content": kept})


def _is_blank(block: Any) -> bool:
    if isinstance(block, str):
        return not block.strip()
    return block.get("type") == "text" and not str(block.get("text", "")).strip()


def _unique(message: AIMessage, known: set[str], renamed: dict[str, str]) -> AIMessage:
    calls = []
    for number, call in enumerate(message.tool_calls):
        old = call["id"]
        new = old if old and old not in known else _new_id(f"{old}/{number}", known)
        known.add(new)
        if old and new != old:
            renamed[old] = new
        calls.append({**call, "id": new})
    if calls == message.tool_calls:
        return message
    return message.model_copy(
        update={
            "tool_calls": calls,
            "content": _with_names(message.content, renamed),
            "additional_kwargs": _with_names(message.additional_kwargs, renamed),
        }
    )


def _new_id(seed: str, known: Collection[str]) -> str:
    """Nine letters and digits: what Mistral takes, and everybody else."""
    number = 0
    while (made := hashlib.sha256(f"{seed}/{number}".encode()).hexdigest()[:9]) in known:
        number += 1
    return made


def _with_names(value: Any, renamed: dict[str, str]) -> Any:
    """`value` with ids replaced wherever they stand: Gemini has signatures under them as keys."""
    if isinstance(value, str):
        return renamed.get(value, value)
    if isinstance(value, list):
        return [_with_names(item, renamed) for item in value]
    if isinstance(value, dict):
        return {renamed.get(key, key): _with_names(item, renamed) for key, item in value.items()}
    return value
