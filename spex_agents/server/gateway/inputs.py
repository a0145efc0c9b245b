"""What a response's request has as its input, as the messages of a chat."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, Field

from spex_agents.server.gateway.errors import ApiError
from spex_agents.server.gateway.messages import (
    MOST_MESSAGES,
    CalledFunction,
    ChatMessage,
    Text,
    ToolCall,
)


class InputItem(BaseModel):
    """A message, or what a tool was asked and returned; of other kinds nothing is taken."""

    type: Text = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: Any = None
    name: Text | None = None
    call_id: Text = ""
    arguments: Text = "{}"
    input: Text = ""
    output: Any = None

    def as_message(self) -> ChatMessage | None:
        if self.type == "message" and self.role is not None:
            return ChatMessage(role=self.role, content=self.content)
        if self.type in ("function_call", "custom_tool_call"):
            given = self.arguments if self.type == "function_call" else self.input
            called = CalledFunction(name=self.name or "a tool", arguments=given)
            return ChatMessage(
                role="assistant", tool_calls=[ToolCall(id=self.call_id, function=called)]
            )
        if self.type in ("function_call_output", "custom_tool_call_output"):
            return ChatMessage(role="tool", tool_call_id=self.call_id, content=self.output)
        return None


Items: TypeAlias = Annotated[
    list[InputItem], Field(min_length=1, max_length=MOST_MESSAGES, fail_fast=True)
]


def messages_in(given: str | list[InputItem], instructions: str | None) -> list[ChatMessage]:
    """The messages, calls that were made at once in one of them.

    Raises:
        ApiError: There are none, or an item is none of the protocol's.
    """
    messages = [ChatMessage(role="system", content=instructions)] if instructions else []
    if isinstance(given, str):
        return [*messages, ChatMessage(role="user", content=given)]
    try:
        found = [item.as_message() for item in given]
    except ValueError as error:
        raise ApiError(
            400, "input: content must be text, or parts of text", param="input"
        ) from error
    for message in found:
        if message is None:
            continue
        before = messages[-1] if messages else None
        if message.tool_calls and before is not None and before.tool_calls:
            before.tool_calls += message.tool_calls
        else:
            messages.append(message)
    if not messages:
        raise ApiError(400, "input: has no message", param="input")
    return messages
