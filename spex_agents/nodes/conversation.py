"""Messages as a question: what a search is about, and what its model is shown of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    MessageLikeRepresentation,
    SystemMessage,
    ToolMessage,
    convert_to_messages,
)

from spex_agents.engines.base import Engine
from spex_agents.engines.prompts import Conversation, Message
from spex_agents.errors import SettingsError

MessagesLike: TypeAlias = str | MessageLikeRepresentation | Iterable[MessageLikeRepresentation]
"""Messages as LangChain takes them: objects, ``(role, text)``, dicts, or the text of a user."""

_TEXT = {"text", "text-plain", "reasoning", "tool_call", "tool_call_chunk", "invalid_tool_call"}


def as_messages(given: MessagesLike) -> list[BaseMessage]:
    """Messages in whatever form LangChain takes them.

    Raises:
        SettingsError: They are no messages.
    """
    several = isinstance(given, Sequence) and not isinstance(given, str) and not _is_pair(given)
    try:
        return convert_to_messages(given if several else [given])  # type: ignore[arg-type, list-item]
    except (NotImplementedError, ValueError) as error:
        raise SettingsError(
            f"messages={given!r}: must be messages, (role, text) tuples, dicts with a role and a "
            f"content, or a text: {error}"
        ) from error


def _is_pair(given: Sequence[Any]) -> bool:
    return isinstance(given, tuple) and len(given) == 2 and all(isinstance(x, str) for x in given)


def question_in(messages: MessagesLike) -> str:
    """The last human message in words, after the turns before it and before those since then.

    Raises:
        SettingsError: There is no human message.

    Example:
        >>> question_in([("user", "What is 5 + 7?")])
        'What is 5 + 7?'
    """
    said = as_messages(messages)
    last = _last_human(said)
    before, after = said[:last], said[last + 1 :]
    question = _words(said[last])
    if before:
        question = f"Conversation so far:\n{_told(before)}\n\nQuestion:\n{question}"
    return f"{question}\n\nSince then:\n{_told(after)}" if after else question


def conversation_in(messages: MessagesLike, engine: Engine) -> Conversation:
    """The conversation as it is, for an engine that takes messages, else in words.

    Raises:
        SettingsError: There is no human message, or the engine takes text alone, and there is more.
    """
    said = as_messages(messages)
    _last_human(said)
    if not engine.features.messages and (other := _other_than_text(said)):
        raise SettingsError(
            f"{engine.name} takes text alone, and there is content of type {', '.join(other)} in "
            "the messages: pass a LangChain chat model that takes it, or leave it out"
        )
    return Conversation(question_in(said), tuple(map(_turn, said)))


def _last_human(messages: Sequence[AnyMessage | BaseMessage]) -> int:
    for index in reversed(range(len(messages))):
        if isinstance(messages[index], HumanMessage):
            return index
    raise SettingsError(f"no question among {len(messages)} messages: add a human message")


def _turn(message: BaseMessage) -> Message:
    if isinstance(message, SystemMessage):
        return Message("system", _words(message), source=message)
    if isinstance(message, AIMessage):
        return Message("assistant", _words(message), source=message)
    if isinstance(message, ToolMessage):  # chat templates of text engines know no fourth role
        text = f"Result of {message.name or 'the tool'}:\n{_words(message)}"
        return Message("user", text, source=message)
    return Message("user", _words(message), source=message)


_SPEAKERS = {"human": "User", "ai": "Assistant", "system": "System"}


def _told(messages: Iterable[BaseMessage]) -> str:
    return "\n".join(
        f"{_SPEAKERS.get(message.type) or message.name or message.type}: {_words(message)}"
        for message in messages
    )


def _words(message: BaseMessage) -> str:
    """A message in words; what is no text is named by its type, and told apart by a hash."""
    parts = [str(message.text)] if message.text else []
    for block in message.content_blocks:
        if block["type"] == "tool_call":
            arguments = json.dumps(block["args"], sort_keys=True, default=str)
            parts.append(f"[calls {block['name']} with {arguments}]")
        elif block["type"] not in _TEXT:
            parts.append(f"[{block['type']} {_digest(block)}]")
    return "\n".join(parts)


def _digest(block: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(block, sort_keys=True, default=str).encode()).hexdigest()[:8]


def _other_than_text(messages: Iterable[BaseMessage]) -> list[str]:
    types = {block["type"] for message in messages for block in message.content_blocks}
    return sorted(types - _TEXT)
