"""Messages as thoughts: an agent's model as an engine, and a reward of conversations."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from langchain.agents.middleware import ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.errors import GraphBubbleUp

from spex_agents._functions import called
from spex_agents.engines.base import Features, Load, Request, Sampling
from spex_agents.engines.calls.gate import Gate
from spex_agents.engines.chat_replies import failure, loop_remedy, take
from spex_agents.engines.chat_requests import prompt_estimate
from spex_agents.engines.prompts import Prompt
from spex_agents.errors import EngineError, SettingsError
from spex_agents.nodes.identities import as_sent, call_ids
from spex_agents.nodes.offered import offered
from spex_agents.rewards.checking.verifier import returned
from spex_agents.search.tree import Thought

logger = logging.getLogger(__name__)

MessageReward: TypeAlias = Callable[[Sequence[BaseMessage]], Awaitable[float]]
"""How good the conversation up to its last message is: a number in [0, 1]."""

Handler: TypeAlias = Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
"""Calls the agent's model."""


class Said:
    """What candidates have said: the messages as they came, by the texts of their thoughts.

    A thought's text tells what its messages say, so that those that say the same are equal: the
    model is sent the messages themselves.
    """

    def __init__(self) -> None:
        self.failures: dict[str, Exception] = {}
        self._responses: dict[tuple[str, ...], ModelResponse[Any]] = {}
        self._messages: dict[tuple[str, ...], list[BaseMessage]] = {}

    def note(
        self, texts: tuple[str, ...], response: ModelResponse[Any], messages: list[BaseMessage]
    ) -> None:
        self._responses.setdefault(texts, response)
        self._messages.setdefault(texts, messages)

    def fail(self, error: Exception) -> str:
        """Note a candidate that is dropped; its text."""
        text = json.dumps({"failed": f"{type(error).__name__}: {error}"})
        self.failures.setdefault(text, error)
        return text

    def first(self, text: str) -> ModelResponse[Any]:
        """The response at depth 1 that says this."""
        return self._responses[(text,)]

    def messages(self, texts: tuple[str, ...]) -> list[BaseMessage]:
        """The messages of a path."""
        ends = range(1, len(texts) + 1)
        return [message for end in ends for message in self._messages[texts[:end]]]


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
        self.said = Said()
        self._request = request
        self._handler = handler
        self._gate = gate
        self._seed_parameter = seed_parameter
        self._offered = offered(request)
        self._tools = {
            tool.name: tool
            for tool in request.tools
            if isinstance(tool, BaseTool) and tool.name in free
        }

    @property
    def features(self) -> Features:
        slots = self._gate.places
        return Features(exactness="unseeded", promotion=True, slots=slots, paid=True)

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        path = tuple(prompt.reply.splitlines())
        before: list[Any] = [*self._request.messages, *self.said.messages(path)]
        if (asked_for := prompt.messages[-1].content) != prompt.question:
            before.append(HumanMessage(asked_for))
        asked = self._request.override(messages=before)
        if self._seed_parameter is not None:
            settings = {**asked.model_settings, self._seed_parameter: request.seed}
            asked = asked.override(model_settings=settings)
        expected = prompt_estimate(filter(None, (asked.system_message, *before)), self._offered)
        try:
            async with self._gate.place(request):
                request.prompt_tokens += expected  # until the model tells, if it does
                response = await self._handler(asked)
            response.result = as_sent(response.result, taken=call_ids(before))
        except (GraphBubbleUp, SettingsError):
            raise
        except Exception as error:
            request.prompt_tokens = 0  # refused, as far as is known, and not read
            logger.warning("%s", failure("a candidate is dropped", error, loop_remedy(error)))
            text = self.said.fail(error)
            return Thought(text=text, tokens=request.tokens, finish="stop", ends=True)
        said = next(message for message in response.result if isinstance(message, AIMessage))
        take(request, said, asked=expected)
        results: list[BaseMessage] = []
        calls = said.tool_calls
        free = bool(calls) and all(call["name"] in self._tools for call in calls)
        if free and len(response.result) == 1:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._call(dict(call))) for call in calls]
            results = [task.result() for task in tasks]
        messages = [*response.result, *results]
        text = json.dumps(contents(messages), sort_keys=True, default=str)
        self.said.note((*path, text), response, messages)
        return Thought(
            text=text,
            tokens=request.tokens,
            finish="step" if results else "stop",
            ends=not results,
        )

    async def _call(self, call: dict[str, Any]) -> BaseMessage:
        try:
            result = await self._tools[call["name"]].ainvoke({**call, "type": "tool_call"})
        except GraphBubbleUp:
            raise
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
    """A reward of messages as one of thoughts; asked once of those that say the same."""

    needs_logprobs = False

    def __init__(
        self,
        messages: Sequence[BaseMessage],
        said: Said,
        reward: MessageReward | None,
        *,
        pure: bool,
        speaks: bool = False,
    ) -> None:
        self.name = "messages" if reward is None else called(reward)
        self.pure = pure or reward is None
        self.speaks = speaks
        self._messages = messages
        self._said = said
        self._reward = reward
        self._known: dict[tuple[str, ...], float] = {}
        self._asking: defaultdict[tuple[str, ...], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        texts = tuple(thought.text for thought in thoughts)
        if texts[-1] in self._said.failures:
            return 0.0
        if self._reward is None:
            return 1.0
        async with self._asking[texts]:
            if texts not in self._known:
                told = [*self._messages, *self._said.messages(texts)]
                value, declare = self._reward(told), "SpexMiddleware(..., speaks=True)"
                self._known[texts] = await returned(
                    value, self.name, speaks=self.speaks, declare=declare
                )
        return self._known[texts]


def check_tools(tools: Sequence[BaseTool | dict[str, Any]], free: Collection[str]) -> None:
    """Check the names of tools that may be called to look ahead against those that there are.

    Raises:
        SettingsError: There is no such tool, two have one name, or one takes what only an agent
            can give it.
    """
    names = [tool.name if isinstance(tool, BaseTool) else _name(tool) for tool in tools]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError(f"tools={names}: {twice[0]!r} names two of them; rename one")
    callable_ones = {tool.name: tool for tool in tools if isinstance(tool, BaseTool)}
    if unknown := sorted(set(free) - callable_ones.keys()):
        raise SettingsError(
            f"free_of_side_effects={sorted(free)}: there is no tool {unknown[0]!r} "
            + (f"among {', '.join(sorted(callable_ones))}" if callable_ones else "of the agent's")
        )
    for name in free:
        if injected := _injected(callable_ones[name]):
            raise SettingsError(
                f"free_of_side_effects={sorted(free)}: {name!r} takes {', '.join(injected)} from "
                "its agent, so it cannot be called to look ahead; leave it out"
            )


def _name(tool: Mapping[str, Any]) -> str:
    return str(tool.get("name") or tool.get("function", {}).get("name") or tool.get("type"))


def _injected(tool: BaseTool) -> list[str]:
    """The arguments of a tool that its caller does not tell."""
    told: Any = tool.tool_call_schema
    if isinstance(told, dict):
        return []
    return sorted(
        set(getattr(tool.get_input_schema(), "model_fields", ())) - set(told.model_fields)
    )


def contents(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """What messages say: without ids, usage and signatures, which differ from call to call."""
    numbers: dict[str | None, int] = {}
    told: list[dict[str, Any]] = []
    for message in messages:
        one: dict[str, Any] = {"type": message.type, "text": str(message.text)}
        if isinstance(message.content, list) and (other := _other_blocks(message.content)):
            one["blocks"] = other
        if isinstance(message, AIMessage):
            for call in message.tool_calls:
                numbers[call["id"]] = len(numbers)
            one["calls"] = [
                {"name": call["name"], "args": call["args"]} for call in message.tool_calls
            ]
        elif isinstance(message, ToolMessage):
            answered = numbers.get(message.tool_call_id)
            one |= {"call": answered, "name": message.name, "status": message.status}
        told.append(one)
    return told


_TOLD_ELSEWHERE = {"text", "reasoning", "thinking", "redacted_thinking"} | {
    "tool_use",
    "tool_call",
    "function_call",
}


def _other_blocks(content: Sequence[Any]) -> list[Any]:
    """Blocks that are neither text nor reasoning nor calls: images, files, citations."""
    return [
        block
        for block in content
        if isinstance(block, dict) and block.get("type") not in _TOLD_ELSEWHERE
    ]
