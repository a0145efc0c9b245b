"""A conversation as clients send it, and the question that it comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from spex_agents.engines.prompts import PromptTemplate
from spex_agents.nodes.conversation import question_in
from spex_agents.server.gateway.errors import ApiError

MOST_MESSAGES = 1000
MOST_PARTS = 1000


def _written(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        half = True
    else:
        half = False
    if half or "\0" in text:
        raise PydanticCustomError("no_text", "must be text: no NUL, and no half of a character")
    return text


Text = Annotated[str, AfterValidator(_written)]
"""What databases can keep, and engines can read."""


class TextPart(BaseModel):
    type: Literal["text", "input_text", "output_text"]
    text: Text


class RefusalPart(BaseModel):
    type: Literal["refusal"]
    refusal: Text

    @property
    def text(self) -> str:
        return self.refusal


Part = Annotated[TextPart | RefusalPart, Field(discriminator="type")]


class CalledFunction(BaseModel):
    name: Text
    arguments: Text = "{}"


class ToolCall(BaseModel):
    id: Text = ""
    function: CalledFunction | None = None


class ChatMessage(BaseModel):
    """A turn; of its content, text alone is taken."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | Annotated[list[Part], Field(max_length=MOST_PARTS, fail_fast=True)] | None = (
        None
    )
    name: Text | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=MOST_PARTS)] | None = None
    tool_call_id: Text | None = None

    @property
    def text(self) -> str:
        if self.content is None:
            return ""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a conversation comes to: a question, and what the system message says besides."""

    question: str
    system: str

    def told_by(self, template: PromptTemplate) -> PromptTemplate:
        """A search's own template, with what the system message says."""
        if not self.system:
            return template
        return replace(template, system=f"{template.system}\n\n{self.system}")


def asked_in(messages: Sequence[ChatMessage]) -> Asked:
    """The question: the last of the user's, with the turns before it, and what was done since.

    Raises:
        ApiError: There is no user message, or it is empty.

    Example:
        >>> asked_in([ChatMessage(role="user", content="What is 2 + 3?")]).question
        'What is 2 + 3?'
    """
    system = "\n\n".join(
        message.text for message in messages if message.role in ("system", "developer")
    )
    turns = [message for message in messages if message.role not in ("system", "developer")]
    users = [message for message in turns if message.role == "user"]
    if not users or not users[-1].text.strip():
        raise ApiError(
            400,
            "messages: there must be one of the user's, and the last of them must not be empty",
            param="messages",
        )
    names = {
        call.id: call.function.name
        for message in turns
        for call in message.tool_calls or ()
        if call.function is not None
    }
    return Asked(question_in([_turn(message, names) for message in turns]), system)


def _turn(message: ChatMessage, names: Mapping[str, str]) -> AnyMessage:
    if message.role == "user":
        return HumanMessage(message.text)
    if message.role in ("tool", "function"):
        identity = message.tool_call_id or ""
        name = message.name or names.get(identity, "a tool")
        return ToolMessage(message.text, tool_call_id=identity, name=name)
    calls = [
        f"[calls {call.function.name} with {call.function.arguments}]"
        for call in message.tool_calls or ()
        if call.function is not None
    ]
    return AIMessage("\n".join(part for part in (message.text, *calls) if part))
