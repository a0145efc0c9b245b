"""What clients send: OpenAI's chat completion, and the settings of the search in it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from spex_agents.answers.votes import Vote
from spex_agents.engines.prompts import Offer
from spex_agents.named import REWARDS
from spex_agents.rewards.combining.aggregate import By
from spex_agents.server.gateway.errors import ApiError
from spex_agents.server.gateway.inputs import Items, messages_in
from spex_agents.server.gateway.keys import sha256_of
from spex_agents.server.gateway.messages import (
    MOST_MESSAGES,
    Asked,
    ChatMessage,
    Data,
    Text,
    asked_in,
)
from spex_agents.server.gateway.tools import MOST_TOOLS, Tools, check_schema, functions_in

MOST_CHOICES = 16
MOST_STOPS = 64
"""Continue sends a score of them where it completes code."""

Count = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63, strict=True)]


class SearchChoices(BaseModel):
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
    seed: Seed | None = Field(
        default=None,
        description="Decides the search, with all the above; negative for a new one each time.",
    )
    speculation: bool | None = Field(
        default=None, description="false: begin nothing early; the answer is the same.", strict=True
    )
    progress: bool | None = Field(
        default=None,
        description="Stream the thoughts as content, too, in <think> tags before the answer: for "
        "clients that do not show reasoning.",
        strict=True,
    )


class StreamOptions(BaseModel):
    include_usage: bool = False


class JsonSchema(BaseModel):
    name: Text = "answer"
    description: Text | None = None
    schema_: Annotated[dict[str, Any], Data] = Field(default_factory=dict, alias="schema")
    strict: bool | None = None


class ResponseFormat(BaseModel):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ChatRequest(BaseModel):
    """A chat completion. Fields that change nothing here (`user`, `metadata` ...) are let pass."""

    model: Text
    messages: list[ChatMessage] = Field(default=[], max_length=MOST_MESSAGES, fail_fast=True)
    input: Text | Items | None = Field(
        default=None,
        description="In place of `messages`, as responses have it: for clients that send one "
        "protocol's body to the other's route.",
    )
    instructions: Text | None = Field(default=None, description="Likewise.")
    max_output_tokens: Count | None = Field(default=None, description="Likewise.")
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: Seed | None = Field(
        default=None, description="Decides the search; absent or negative for a new one each time."
    )
    max_completion_tokens: Count | None = Field(
        default=None,
        description="Tokens of the longest path, and of committed thoughts after which nothing "
        "more is decided.",
    )
    max_tokens: Count | None = Field(default=None, description="The same, by its older name.")
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = Field(
        default=None, description="So many searches, of seeds that follow each other."
    )
    stop: Text | Annotated[list[Text], Field(max_length=MOST_STOPS)] | None = Field(
        default=None, description="The answer ends before the first of these."
    )
    response_format: ResponseFormat | None = None
    spex: SearchChoices = SearchChoices()

    # What would change the answer and is not done here is passed over, or refused by `--strict`.
    tools: Annotated[list[Any], Field(max_length=MOST_TOOLS), Data] | None = Field(
        default=None,
        description="Functions: a search ends with a call of one, or with an answer. If "
        "`tool_choice` says which one, its arguments are searched.",
    )
    tool_choice: Annotated[Any, Data] = None
    parallel_tool_calls: bool | None = Field(
        default=None, description="false: one call at most, where a model may call several."
    )
    functions: Annotated[list[Any], Field(max_length=MOST_TOOLS)] | None = None
    function_call: Any = None
    logprobs: bool | int | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, Any] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    modalities: list[Any] | None = None
    audio: Any = None
    prediction: Any = None
    web_search_options: Any = None

    @model_validator(mode="after")
    def _have_messages(self) -> Self:
        if not self.messages:
            if self.input is None:
                raise ApiError(400, "messages: must have at least 1 message", param="messages")
            self.messages = messages_in(self.input, self.instructions)
            self.max_completion_tokens = self.max_completion_tokens or self.max_output_tokens
        self.input = self.instructions = self.max_output_tokens = None
        return self

    @cached_property
    def asked(self) -> Asked:
        """The question, as `create_tot_node` finds it in a conversation; system messages apart.

        Raises:
            ApiError: There is no user message, or it is empty.
        """
        return asked_in(self.messages)

    @cached_property
    def asked_with_tools(self) -> Asked:
        """The same for a chat model that is offered tools: it is shown what was called before."""
        return asked_in(self.messages, calls=True)

    @cached_property
    def fingerprint(self) -> str:
        """What tells it from others of the same Idempotency-Key."""
        return sha256_of(self.model_dump_json(exclude={"stream", "stream_options"}))

    @cached_property
    def saved(self) -> dict[str, Any]:
        """As the database keeps it, at each save of its search."""
        return self.model_dump(exclude_none=True, by_alias=True)

    @property
    def given_seed(self) -> int | None:
        """What decides the search; None for a seed that is drawn."""
        seed = self.spex.seed if self.spex.seed is not None else self.seed
        return None if seed is None or seed < 0 else seed

    @property
    def token_limit(self) -> float:
        return self.max_completion_tokens or self.max_tokens or math.inf

    @property
    def stops(self) -> tuple[str, ...]:
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(one for one in given if one)

    @cached_property
    def called(self) -> str | None:
        """The one tool that must be called."""
        return None if (tool := self._forced()) is None else tool["name"]

    @cached_property
    def offered(self) -> Tools | None:
        """The tools that the search may call; None if there are none, or its form is given."""
        if self.tool_choice == "none" or self.schema_wanted is not None:
            return None
        functions = functions_in(self.tools or ())
        required = self.tool_choice in ("required", "any")
        return Tools(functions, required=required) if functions else None

    @cached_property
    def offer(self) -> Offer | None:
        """The tools, for a chat model that takes them; None if there are none to call."""
        functions = functions_in(self.tools or ())
        if (tool := self._forced()) is not None:
            return Offer(tools=(tool,), choice=tool["name"], several=False)
        if self.offered is None:
            return None
        choice = "any" if self.offered.required else "auto"
        return Offer(tools=functions, choice=choice, several=self.parallel_tool_calls is not False)

    @property
    def schema_wanted(self) -> dict[str, Any] | None:
        """The JSON schema that the answer must fit.

        Raises:
            ApiError: It names another place, or has patterns: these may take for ever.
        """
        wanted: Any = None
        if (tool := self._forced()) is not None:
            wanted, where = tool.get("parameters") or {}, "tools"
        elif self.response_format is not None and self.response_format.type != "text":
            given, where = self.response_format.json_schema, "response_format"
            wanted = {} if given is None else given.schema_
        if wanted is None:
            return None
        if not isinstance(wanted, dict):
            raise ApiError(400, f"{where}: the schema must be an object", param=where)
        check_schema(wanted, where)
        return {"type": "object", **wanted}

    def _forced(self) -> Mapping[str, Any] | None:
        named = functions_in(self.tools or ())
        if self.tool_choice in ("required", "any") and len(named) == 1:
            return named[0]
        if isinstance(self.tool_choice, dict):
            wanted = self.tool_choice.get("function")
            name = wanted.get("name") if isinstance(wanted, dict) else self.tool_choice.get("name")
            return next((tool for tool in named if tool["name"] == name), None)
        return None

    def check(self, *, strict: bool) -> None:
        """Refuse tools that cannot be told apart, and a choice of one that is not offered.

        Args:
            strict: Whether what would be passed over is refused, too.

        Raises:
            ApiError: Two have the same name, `tool_choice` wants a call of none, or something is
                given that is not done here.
        """
        if strict:
            self._check_strictly()
        named = [tool["name"] for tool in functions_in(self.tools or ())]
        if twice := [name for name in named if named.count(name) > 1]:
            raise ApiError(400, f"tools: two are called {twice[0]!r}", param="tools")
        choice = self.tool_choice
        if isinstance(choice, dict) and choice.get("type") == "function" and not self._forced():
            raise ApiError(
                400,
                f"tool_choice={json.dumps(choice)}: no function of that name is among the tools",
                param="tool_choice",
            )
        if choice in ("required", "any") and not self.tools:
            raise ApiError(
                400, f"tool_choice={choice!r}: there are no tools to call", param="tool_choice"
            )

    def _check_strictly(self) -> None:
        functions = len(functions_in(self.tools or ()))
        taken = ("tools", "tool_choice") if functions == len(self.tools or ()) else ()
        for name in _PASSED_OVER:
            if name in taken:
                continue
            value = getattr(self, name)
            if value and value not in ("none", "auto", ["text"]):
                raise ApiError(
                    400,
                    f"{name}: a search does not do this, and the answer would differ: leave it "
                    "out, or let the gateway's owner run it without --strict",
                    param=name,
                )


_PASSED_OVER = (
    *("tools", "tool_choice", "functions", "function_call", "logprobs", "top_logprobs"),
    *("logit_bias", "frequency_penalty", "presence_penalty", "modalities", "audio"),
    *("prediction", "web_search_options"),
)
