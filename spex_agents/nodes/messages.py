"""Messages as thoughts: an agent's model as an engine, and a reward of conversations."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from langchain.agents.middleware import ModelRequest, ModelResponse
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ToolMessage,
    messages_from_dict,
    messages_to_dict,
)
from langchain_core.tools import BaseTool

from spex_agents.engines.base import Features, Load, Request, Sampling
from spex_agents.engines.calls.gate import Gate
from spex_agents.engines.prompts import Prompt
from spex_agents.errors import EngineError
from spex_agents.search.tree import Thought

MessageReward: TypeAlias = Callable[[Sequence[BaseMessage]], Awaitable[float]]
"""How good the conversation up to its last message is: a number in [0, 1]."""

Handler: TypeAlias = Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
"""Calls the agent's model."""


class Candidates:
    """The agent's model as an engine: a thought is a message, and the results of its tools."""

    name = "agent"

    def __init__(
        self,
        request: ModelRequest[Any],
        handler: Handler,
        free: Collection[str],
        gate: Gate,
        seed_parameter: str | None,
    ) -> None:
        self.responses: dict[str, ModelResponse[Any]] = {}
        self._request = request
        self._handler = handler
        self._gate = gate
        self._seed_parameter = seed_parameter
        self._tools = {
            tool.name: tool
            for tool in request.tools
            if isinstance(tool, BaseTool) and tool.name in free
        }

    @property
    def features(self) -> Features:
        return Features(exactness="unseeded", promotion=True, slots=self._gate.places)

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        said_before: list[Any] = [*self._request.messages, *_messages(prompt.reply)]
        asked = self._request.override(messages=said_before)
        if self._seed_parameter is not None:
            settings = {**asked.model_settings, self._seed_parameter: request.seed}
            asked = asked.override(model_settings=settings)
        async with self._gate.place(request):
            response = await self._handler(asked)
        said = next(message for message in response.result if isinstance(message, AIMessage))
        tokens = said.usage_metadata["output_tokens"] if said.usage_metadata else 0
        request.tokens += tokens or max(1, len(str(said.text)) // 4)
        calls = said.tool_calls
        ahead = bool(calls) and all(call["name"] in self._tools for call in calls)
        results: list[BaseMessage] = []
        if ahead and len(response.result) == 1:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._call(dict(call))) for call in calls]
            results = [task.result() for task in tasks]
        text = _written([*response.result, *results])
        self.responses.setdefault(text, response)
        return Thought(
            text=text,
            tokens=request.tokens,
            finish="step" if results else "stop",
            ends=not results,
        )

    async def _call(self, call: dict[str, Any]) -> BaseMessage:
        try:
            result = await self._tools[call["name"]].ainvoke({**call, "type": "tool_call"})
        except Exception as error:  # as an agent's tools node tells the model of it
            text = f"{type(error).__name__}: {error}"
            return ToolMessage(text, tool_call_id=call["id"], name=call["name"], status="error")
        if isinstance(result, ToolMessage):
            return result
        return ToolMessage(str(result), tool_call_id=call["id"], name=call["name"])

    async def score(
        self, prompt: Prompt, request: Request, *, labels: Sequence[str]
    ) -> Mapping[str, float]:
        raise EngineError("an agent's model gives no label probabilities")

    async def promote(self, request: Request) -> None:
        """Nothing to send: the gate reads `request.demanded` when a place falls free."""

    async def load(self) -> Load:
        return Load(running=self._gate.running, waiting=self._gate.waiting)

    async def aclose(self) -> None:
        """Nothing to close: the model is the agent's."""


class OfMessages:
    """A reward of messages as one of thoughts."""

    name = "messages"
    needs_logprobs = False

    def __init__(
        self, messages: Sequence[BaseMessage], reward: MessageReward | None, pure: bool
    ) -> None:
        self.pure = pure or reward is None
        self._messages = messages
        self._reward = reward

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        if self._reward is None:
            return 1.0
        said = [message for thought in thoughts for message in _messages(thought.text)]
        return await self._reward([*self._messages, *said])


def _messages(lines: str) -> list[BaseMessage]:
    return [
        message for line in lines.splitlines() for message in messages_from_dict(json.loads(line))
    ]


def _written(messages: Sequence[BaseMessage]) -> str:
    """Messages as a line of JSON: what they say, so that those that say the same are equal.

    Ids and usage differ from call to call, as do the ids of tool calls.
    """
    ids: dict[str | None, str] = {}
    plain: list[BaseMessage] = []
    for message in messages:
        if isinstance(message, AIMessage):
            calls = []
            for call in message.tool_calls:
                ids[call["id"]] = f"call-{len(ids)}"
                calls.append({**call, "id": ids[call["id"]]})
            plain.append(AIMessage(message.content, tool_calls=calls))
        elif isinstance(message, ToolMessage):
            answered = ids.get(message.tool_call_id, message.tool_call_id)
            plain.append(
                ToolMessage(
                    message.content,
                    tool_call_id=answered,
                    name=message.name,
                    status=message.status,
                )
            )
        else:
            plain.append(message)
    return json.dumps(messages_to_dict(plain), sort_keys=True)
