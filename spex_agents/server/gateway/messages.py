"""A conversation as clients send it, and the question that it comes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from json import dumps, loads
from typing import Annotated, Any, Literal, Self

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from pydantic import AfterValidator, BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from spex_agents.engines.prompts import Conversation, PromptTemplate, Role
from spex_agents.engines.prompts import Message as PromptMessage
from spex_agents.nodes.conversation import question_in
from spex_agents.server.gateway.errors import ApiError

MOST_MESSAGES = 1000
MOST_PARTS = 1000

GO_ON = "Go on, with what has been done since."
"""Asks for an answer where the last turns are of tools."""


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


def _written_throughout(value: Any) -> Any:
    _written(dumps(value, ensure_ascii=False))
    return value


Data = AfterValidator(_written_throughout)
"""Of JSON of any form: all texts in it are such."""


class TextPart(BaseModel):
    type: Literal["text", "input_text", "output_text"]
    text: Text


class RefusalPart(BaseModel):
    type: Literal["refusal"]
    refusal: Text

    @property
    def text(self) -> str:
        return self.refusal


def _enclosed(address: str) -> str:
    if not address.startswith("data:image/") or ";base64," not in address[:64]:
        raise PydanticCustomError(
            "no_image", "must be the image itself, data:image/png;base64,...: nothing is fetched"
        )
    return address


class ImageAddress(BaseModel):
    url: Annotated[Text, AfterValidator(_enclosed)]


class ImagePart(BaseModel):
    """An image; responses have its address without an object around it."""

    type: Literal["image_url", "input_image"]
    image_url: ImageAddress | Annotated[Text, AfterValidator(_enclosed)]

    @property
    def text(self) -> str:
        return ""

    @property
    def address(self) -> str:
        return self.image_url if isinstance(self.image_url, str) else self.image_url.url


Part = Annotated[TextPart | RefusalPart | ImagePart, Field(discriminator="type")]


class CalledFunction(BaseModel):
    name: Text
    arguments: Text = "{}"


class CalledCustom(BaseModel):
    """A tool that takes a text, of a grammar perhaps."""

    name: Text
    input: Text = ""


class ToolCall(BaseModel):
    id: Text = ""
    function: CalledFunction | None = None
    custom: CalledCustom | None = None

    @model_validator(mode="after")
    def _is_of_a_function(self) -> Self:
        if self.function is None and self.custom is not None:
            self.function = CalledFunction(name=self.custom.name, arguments=self.custom.input)
        self.custom = None
        return self


class ChatMessage(BaseModel):
    """A turn; its content is text, and images where the engine takes them."""

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

    @property
    def images(self) -> list[str]:
        """The addresses of its images, each of which is one."""
        parts = self.content if isinstance(self.content, list) else []
        return [part.address for part in parts if isinstance(part, ImagePart)]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a conversation comes to: a question, and what the system message says besides.

    Attributes:
        question: In words; images are named in it, each by its hash.
        system: Of all system messages.
        conversation: The turns, with their images; None where there are none.
    """

    question: str
    system: str
    conversation: Conversation | None = None

    def told_by(self, template: PromptTemplate) -> PromptTemplate:
        """A search's own template, with what the system message says, and the images."""
        if self.system:
            template = replace(template, system=f"{template.system}\n\n{self.system}")
        return replace(template, conversation=self.conversation)


def asked_in(messages: Sequence[ChatMessage], *, calls: bool = False) -> Asked:
    """The question: the last of the user's, with the turns before it, and what was done since.

    Args:
        messages: The conversation.
        calls: Whether what was called, and what that came to, is shown as such, not in words.

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
    if not users or not (users[-1].text.strip() or users[-1].images):
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
    told = [_turn(message, names) for message in turns]
    question = question_in(told)
    if calls and any(message.role == "tool" for message in turns):
        shown = [_turn(message, names, calls=True) for message in turns]
        if _answered(shown):
            return Asked(question, system, Conversation(question, tuple(map(_shown, shown))))
    if not any(message.images for message in turns):
        return Asked(question, system)
    return Asked(question, system, Conversation(question, tuple(_spoken(told))))


def _answered(messages: Sequence[AnyMessage]) -> bool:
    """Whether each call has its result next to it, and each result its call: else none is taken."""
    open_calls: set[str | None] = set()
    for message in messages:
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in open_calls:
                return False
            open_calls.remove(message.tool_call_id)
        elif open_calls:
            return False
        elif isinstance(message, AIMessage):
            open_calls = {call["id"] for call in message.tool_calls}
    return not open_calls


def _shown(message: AnyMessage) -> PromptMessage:
    role: Role = "assistant" if isinstance(message, AIMessage) else "user"
    return PromptMessage(role, str(message.text), source=message)


def _spoken(messages: Sequence[AnyMessage]) -> Iterator[PromptMessage]:
    """The turns for an engine that takes messages; what tools said is told in words.

    A provider would want to know of these tools, and models take turns of two alone.
    """
    done: list[str] = []
    for message in messages:
        if isinstance(message, HumanMessage):
            if done:
                yield PromptMessage("assistant", "\n".join(done))
                done = []
            yield PromptMessage("user", str(message.text), source=message)
        else:
            result = isinstance(message, ToolMessage)
            done.append(f"[{message.name}: {message.text}]" if result else str(message.text))
    if done:
        yield PromptMessage("assistant", "\n".join(done))
        yield PromptMessage("user", GO_ON)


def _turn(message: ChatMessage, names: Mapping[str, str], *, calls: bool = False) -> AnyMessage:
    if message.role == "user":
        if not message.images:
            return HumanMessage(message.text)
        shown = [{"type": "image_url", "image_url": {"url": one}} for one in message.images]
        said = [{"type": "text", "text": message.text}] if message.text.strip() else []
        return HumanMessage([*said, *shown])
    if message.role in ("tool", "function"):
        identity = message.tool_call_id or ""
        name = message.name or names.get(identity, "a tool")
        return ToolMessage(message.text, tool_call_id=identity, name=name)
    called = [call for call in message.tool_calls or () if call.function is not None]
    if calls:
        return AIMessage(message.text, tool_calls=[_called(call) for call in called])
    words = [
        f"[calls {call.function.name} with {call.function.arguments}]"
        for call in called
        if call.function is not None
    ]
    return AIMessage("\n".join(part for part in (message.text, *words) if part))


def _called(call: ToolCall) -> dict[str, Any]:
    function = call.function or CalledFunction(name="a tool")
    try:
        arguments = loads(function.arguments)
    except ValueError:  # of a tool that takes a text
        arguments = {"input": function.arguments}
    given = arguments if isinstance(arguments, dict) else {}
    return {"name": function.name, "args": given, "id": call.id, "type": "tool_call"}
