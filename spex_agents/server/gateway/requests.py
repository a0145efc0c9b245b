"""What clients send: OpenAI's chat completion, and the settings of the search in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic_core import PydanticCustomError

from spex_agents.answers.votes import Vote
from spex_agents.engines.prompts import PromptTemplate
from spex_agents.errors import SettingsError
from spex_agents.named import REWARDS
from spex_agents.nodes.conversation import question_in
from spex_agents.rewards.combining.aggregate import By
from spex_agents.server.gateway.errors import ApiError

MOST_MESSAGES = 1000
MOST_PARTS = 1000

Count = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
Nothing = Annotated[float, Field(ge=0, le=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63, strict=True)]


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


class SearchSettings(BaseModel):
    """The search, in ``extra_body={"spex": {...}}``; what is left out is the gateway's choice."""

    model_config = ConfigDict(extra="forbid")

    width: Count | None = Field(default=None, description="As of `spex solve`.")
    rollouts: Count | None = Field(default=None, description="Of policies that have some.")
    depth: Count | None = Field(default=None, description="Thoughts in a path, at most.")
    step_tokens: Count | None = Field(default=None, description="Tokens of a thought, at most.")
    path_tokens: Count | None = Field(default=None, description="Tokens of a path, at most.")
    reward: Text | None = Field(default=None, description=f"One of {', '.join(REWARDS)}.")
    aggregate: By | None = Field(
        default=None, description="How the rewards of a path's steps become its reward."
    )
    vote: Vote | None = Field(default=None, description="How the answers are counted.")
    seed: Seed | None = Field(default=None, description="Decides the search, with all the above.")
    speculation: bool | None = Field(
        default=None, description="false: begin nothing early; the answer is the same.", strict=True
    )


class TextPart(BaseModel):
    type: Literal["text"]
    text: Text


class ChatMessage(BaseModel):
    """A turn; of its content, text alone is taken."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[TextPart], Field(max_length=MOST_PARTS, fail_fast=True)]
    name: Text | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class StreamOptions(BaseModel):
    include_usage: bool = False


class TextFormat(BaseModel):
    type: Literal["text"]


class ChatRequest(BaseModel):
    """A chat completion. Fields that change nothing here (`user`, `metadata` ...) are let pass."""

    model: Text
    messages: list[ChatMessage] = Field(min_length=1, max_length=MOST_MESSAGES, fail_fast=True)
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: Seed | None = None
    max_completion_tokens: Count | None = Field(
        default=None,
        description="Tokens of committed thoughts after which nothing more is decided.",
    )
    max_tokens: Count | None = Field(default=None, description="The same, by its older name.")
    n: Literal[1] | None = None
    spex: SearchSettings = SearchSettings()

    # What would change the answer and is not done here is refused, not passed over.
    stop: None = None
    tools: list[Any] | None = Field(default=None, max_length=0)
    functions: list[Any] | None = Field(default=None, max_length=0)
    logprobs: Literal[False] | None = None
    logit_bias: dict[str, Any] | None = Field(default=None, max_length=0)
    frequency_penalty: Nothing | None = None
    presence_penalty: Nothing | None = None
    response_format: TextFormat | None = None
    audio: None = None

    @field_validator(
        *("stop", "tools", "functions", "logprobs", "logit_bias"),
        *("frequency_penalty", "presence_penalty", "audio"),
        mode="wrap",
    )
    @classmethod
    def _refuse(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(value)
        except ValidationError as error:
            raise PydanticCustomError(
                "not_done", "a search does not do this, and the answer would differ: leave it out"
            ) from error

    @cached_property
    def asked(self) -> Asked:
        """The question, as `create_tot_node` finds it in a conversation; system messages apart.

        Raises:
            ApiError: There is no user message, or it is empty.
        """
        return _asked(self.messages)

    @property
    def search_seed(self) -> int:
        return self.spex.seed if self.spex.seed is not None else self.seed or 0

    @property
    def token_limit(self) -> float:
        return self.max_completion_tokens or self.max_tokens or math.inf


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


def _asked(messages: Sequence[ChatMessage]) -> Asked:
    system = "\n\n".join(
        message.text for message in messages if message.role in ("system", "developer")
    )
    turns: list[BaseMessage] = [
        HumanMessage(message.text) if message.role == "user" else AIMessage(message.text)
        for message in messages
        if message.role in ("user", "assistant")
    ]
    if not any(isinstance(turn, HumanMessage) and turn.text.strip() for turn in turns[-1:]):
        raise ApiError(
            400,
            "messages: the last one besides system messages must be the user's, and not empty",
            param="messages",
        )
    try:
        return Asked(question_in(turns), system)
    except SettingsError as error:
        raise ApiError(400, str(error), param="messages") from error
