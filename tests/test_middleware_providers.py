"""What an agent's search sends to a provider: accepted by all of them, in recorded shapes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    HumanInTheLoopMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    SummarizationMiddleware,
)
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain.tools import ToolRuntime
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from node_runs import thread
from pydantic import BaseModel
from test_middleware import QUESTION, Scripted, look_up

from spex_agents.errors import EngineError, EngineUnavailable, SettingsError
from spex_agents.nodes.middleware import SpexMiddleware
from spex_agents.search import BestOfN, Rebase

make: Any = create_agent
AHEAD: dict[str, Any] = {
    "policy": Rebase(width=3),
    "free_of_side_effects": ["look_up"],
    "depth": 4,
    "seed_parameter": "seed",
}
Rule: TypeAlias = Callable[[Sequence[BaseMessage]], None]


async def done(messages: Sequence[BaseMessage]) -> float:
    return float(messages[-1].text == "done")


def calls_of(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    said = [message for message in messages if isinstance(message, AIMessage)]
    return [dict(call) for message in said for call in message.tool_calls]


# The rules, as their documentation has them


def everybody(messages: Sequence[BaseMessage]) -> None:
    ids = [call["id"] for call in calls_of(messages)]
    assert all(ids)
    assert len(set(ids)) == len(ids)
    waiting: list[str] = []
    for message in messages[1:]:
        if isinstance(message, AIMessage):
            assert not waiting
            waiting = [str(call["id"]) for call in message.tool_calls]
        elif isinstance(message, ToolMessage):
            waiting.remove(message.tool_call_id)
    assert not waiting


def blocks_of(message: BaseMessage) -> list[Any]:
    return message.content if isinstance(message.content, list) else []


def openai(messages: Sequence[BaseMessage]) -> None:
    assert all(len(call["id"]) <= 40 for call in calls_of(messages))
    for message in messages:
        if isinstance(message, AIMessage) and (blocks := blocks_of(message)):
            called = {block["call_id"] for block in blocks if "call_id" in block}
            assert called == {call["id"] for call in message.tool_calls}
            assert [block["type"] for block in blocks] == ["reasoning", "function_call"]
            assert blocks[0]["encrypted_content"] == "gAAAA"


def anthropic(messages: Sequence[BaseMessage]) -> None:
    for message in messages:
        assert message.content == "" or str(message.text).strip() or message.content
        if isinstance(message, AIMessage) and message.tool_calls:
            blocks = blocks_of(message)
            used = [block["id"] for block in blocks if block["type"] == "tool_use"]
            assert used == [call["id"] for call in message.tool_calls]
            assert all(re.fullmatch("[a-zA-Z0-9_-]+", name) for name in used)
            assert blocks[0] == THINKING
            texts = [block["text"] for block in blocks if block["type"] == "text"]
            assert all(text.strip() for text in texts)


def mistral(messages: Sequence[BaseMessage]) -> None:
    assert all(re.fullmatch("[a-zA-Z0-9]{9}", call["id"]) for call in calls_of(messages))
    kinds = [message.type for message in messages]
    assert ("tool", "human") not in set(pairwise(kinds))


def gemini(messages: Sequence[BaseMessage]) -> None:
    for message in messages:
        if isinstance(message, AIMessage) and message.tool_calls:
            signed = message.additional_kwargs["__gemini_function_call_thought_signatures__"]
            assert set(signed) == {call["id"] for call in message.tool_calls}


# Their replies, as their packages tell them

THINKING = {"type": "thinking", "thinking": "Look it up.", "signature": "EqQBCg=="}


def call(name: str | None, word: str) -> dict[str, Any]:
    return {"name": "look_up", "args": {"word": word}, "id": name, "type": "tool_call"}


def from_openai(name: str, word: str) -> AIMessage:
    item = {"type": "function_call", "id": f"fc_{name}", "call_id": name, "name": "look_up"}
    reasoning = {"type": "reasoning", "id": f"rs_{name}", "encrypted_content": "gAAAA"}
    return AIMessage(
        [reasoning, {**item, "arguments": f'{{"word": "{word}"}}'}],
        id=f"resp_{name}",
        tool_calls=[call(name, word)],
        response_metadata={"model_provider": "openai"},
    )


def from_anthropic(name: str, word: str) -> AIMessage:
    used = {"type": "tool_use", "id": name, "name": "look_up", "input": {"word": word}}
    return AIMessage(
        [THINKING, {"type": "text", "text": "\n\n"}, used],
        tool_calls=[call(name, word)],
        response_metadata={"model_provider": "anthropic"},
    )


def from_mistral(name: str, word: str) -> AIMessage:
    return AIMessage("", tool_calls=[call(name, word)])


def from_gemini(name: str, word: str) -> AIMessage:
    signed = {"__gemini_function_call_thought_signatures__": {name: "CtEB"}}
    return AIMessage("", tool_calls=[call(name, word)], additional_kwargs=signed)


PROVIDERS = {
    "openai": (from_openai, openai, "call_u7Yz{}"),
    "anthropic": (from_anthropic, anthropic, "toolu_01A{}"),
    "mistral": (from_mistral, mistral, "D681PevK{}"),
    "gemini": (from_gemini, gemini, "8f14e45f-ceea-{}"),
}


@pytest.mark.parametrize("unique", [True, False], ids=["unique", "repeating"])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_what_is_sent_keeps_the_rules_at_any_depth(provider: str, unique: bool) -> None:
    reply, rule, form = PROVIDERS[provider]
    sent: list[list[BaseMessage]] = []
    number = 0

    def says(messages: Sequence[BaseMessage], seed: int) -> AIMessage:
        nonlocal number
        sent.append(list(messages))
        if len(calls_of(messages)) == 2:
            return AIMessage("done")
        number += 1
        return reply(form.format(number % 10 if unique else 7), ["apple", "pear"][seed % 2])

    model = Scripted(says=says)
    agent = make(model, [look_up], middleware=[SpexMiddleware(reward=done, **AHEAD)])
    result = await agent.ainvoke(QUESTION)
    for messages in [*sent, result["messages"]]:
        everybody(messages)
        rule(messages)
    assert {len(calls_of(messages)) for messages in sent} >= {0, 1, 2}


async def test_ids_that_are_unique_are_the_models_own() -> None:
    def says(messages: Sequence[BaseMessage], seed: int) -> AIMessage:
        if calls_of(messages):
            return AIMessage("done")
        return from_anthropic("toolu_01", "pear")

    agent = make(Scripted(says=says), [look_up], middleware=[SpexMiddleware(reward=done, **AHEAD)])
    chosen = (await agent.ainvoke(QUESTION))["messages"][1]
    assert chosen.tool_calls[0]["id"] == "toolu_01"
    assert chosen.content[0] == THINKING


async def test_a_turn_of_white_space_is_no_candidate() -> None:
    def says(messages: Sequence[BaseMessage], number: int) -> AIMessage:
        return AIMessage("\n" if number % 2 else "4")

    agent = make(Scripted(says=says), middleware=[SpexMiddleware(policy=BestOfN(width=4))])
    chosen = (await agent.ainvoke(QUESTION))["messages"][-1]
    assert chosen.text == "4"
    assert chosen.response_metadata["spex"]["dropped"] == 2


async def test_a_candidate_that_fails_is_dropped_and_all_of_them_are_an_error() -> None:
    def says(messages: Sequence[BaseMessage], number: int) -> AIMessage:
        if number % 2:
            raise ConnectionError("gone")
        return AIMessage("4")

    agent = make(Scripted(says=says), middleware=[SpexMiddleware(policy=BestOfN(width=4))])
    assert (await agent.ainvoke(QUESTION))["messages"][-1].text == "4"
    alone = make(Scripted(says=says), middleware=[SpexMiddleware(policy=BestOfN(width=1))])
    with pytest.raises(EngineError, match=r"none of 1 candidates .* ConnectionError: gone"):
        await alone.ainvoke(QUESTION)


async def test_a_wrong_key_is_the_provider_s_to_say_and_told_with_what_to_do() -> None:
    def says(messages: Sequence[BaseMessage], number: int) -> AIMessage:
        error = RuntimeError("Error code: 401 - no such key.")
        error.status_code = 401  # type: ignore[attr-defined]
        raise error

    agent = make(Scripted(says=says), middleware=[SpexMiddleware(policy=BestOfN(width=2))])
    with pytest.raises(EngineUnavailable, match=r"401 - no such key; check the provider's key"):
        await agent.ainvoke(QUESTION)


@pytest.mark.parametrize(
    ("ignored", "chosen"), [((), "pear"), (["reason"], "apple"), ("all", "apple")]
)
async def test_votes_on_calls_can_leave_arguments_out(ignored: Any, chosen: str) -> None:
    """Two want the apple, each for a reason of its own; the pear comes first."""

    @tool
    def fetch(word: str, reason: str) -> str:
        """Fetch it."""
        return "done"

    wanted = [("pear", "a"), ("apple", "b"), ("apple", "c")]

    def says(messages: Sequence[BaseMessage], number: int) -> AIMessage:
        if calls_of(messages):
            return AIMessage("done")
        word, reason = wanted[(number - 1) % 3]
        if ignored == "all":
            word = "apple"
        asked = {"name": "fetch", "args": {"word": word, "reason": reason}, "id": f"c{number}"}
        return AIMessage("", tool_calls=[asked])

    spex = SpexMiddleware(policy=BestOfN(width=3), ignored_arguments=ignored)
    agent = make(Scripted(says=says), [fetch], middleware=[spex])
    result = await agent.ainvoke(QUESTION)
    assert result["messages"][1].tool_calls[0]["args"]["word"] == chosen


@tool
def remember(word: str, runtime: ToolRuntime) -> str:
    """Remember a word."""
    return word


@pytest.mark.parametrize(
    ("free", "tools", "fault"),
    [
        (["look_upp"], [look_up], "there is no tool 'look_upp' among look_up"),
        (["remember"], [look_up, remember], "'remember' takes runtime from its agent"),
    ],
)
async def test_tools_that_cannot_be_called_are_refused(
    free: list[str], tools: list[Any], fault: str
) -> None:
    model = Scripted(says=lambda messages, number: AIMessage("4"))
    spex = SpexMiddleware(free_of_side_effects=free, depth=2)
    with pytest.raises(SettingsError, match=fault):
        await make(model, tools, middleware=[spex]).ainvoke(QUESTION)
    assert model.calls == 0


async def test_two_tools_of_one_name_are_refused() -> None:
    """Of two functions the agent itself keeps one; a provider's own tool comes beside it."""
    model = Scripted(says=lambda messages, number: AIMessage("4"))
    tools: list[Any] = [look_up, {"type": "function", "name": "look_up"}]
    with pytest.raises(SettingsError, match="'look_up' names two of them"):
        await make(model, tools, middleware=[SpexMiddleware()]).ainvoke(QUESTION)


# Beside LangChain's own


class Sum(BaseModel):
    """The sum."""

    total: int


@pytest.mark.parametrize("strategy", [ToolStrategy, ProviderStrategy])
async def test_structured_output_is_that_of_the_chosen_candidate(strategy: Any) -> None:
    def says(messages: Sequence[BaseMessage], number: int) -> AIMessage:
        total = [5, 4, 4, 3][(number - 1) % 4]
        if strategy is ProviderStrategy:
            return AIMessage(f'{{"total": {total}}}')
        asked = {"name": "Sum", "args": {"total": total}, "id": f"c{number}", "type": "tool_call"}
        return AIMessage("", tool_calls=[asked])

    agent: Any = make(
        Scripted(says=says), middleware=[SpexMiddleware()], response_format=strategy(Sum)
    )
    result = await agent.ainvoke(QUESTION)
    assert result["structured_response"] == Sum(total=4)


async def test_a_human_may_decide_on_the_chosen_call() -> None:
    def says(messages: Sequence[BaseMessage], number: int) -> AIMessage:
        if calls_of(messages):
            return AIMessage("done")
        return AIMessage("", tool_calls=[call(f"c{number}", ["apple", "pear", "pear"][number % 3])])

    human = HumanInTheLoopMiddleware(interrupt_on={"look_up": True})
    agent: Any = make(
        Scripted(says=says),
        [look_up],
        middleware=[SpexMiddleware(policy=BestOfN(width=3)), human],
        checkpointer=InMemorySaver(),
    )
    asked = await agent.ainvoke(QUESTION, thread())
    request = asked["__interrupt__"][0].value["action_requests"][0]
    assert request["args"] == {"word": "pear"}
    resumed: Command[Any] = Command(resume={"decisions": [{"type": "approve"}]})
    result = await agent.ainvoke(resumed, thread())
    assert [message.text for message in result["messages"][2:]] == ["meaning of pear", "done"]


async def test_candidates_are_tried_again_and_fall_back() -> None:
    tries = 0

    def flaky(messages: Sequence[BaseMessage], number: int) -> AIMessage:
        nonlocal tries
        tries += 1
        raise ConnectionError("gone")

    rescue = Scripted(says=lambda messages, number: AIMessage("4"))
    agent = make(
        Scripted(says=flaky),
        middleware=[
            SpexMiddleware(policy=BestOfN(width=2)),
            ModelFallbackMiddleware(rescue),
            ModelRetryMiddleware(max_retries=1, initial_delay=0, on_failure="error", jitter=False),
        ],
    )
    assert (await agent.ainvoke(QUESTION))["messages"][-1].text == "4"
    assert (tries, rescue.calls) == (4, 2)


async def test_a_conversation_is_summed_up_before_the_search() -> None:
    seen: list[int] = []

    def says(messages: Sequence[BaseMessage], number: int) -> AIMessage:
        seen.append(len(messages))
        return AIMessage("4")

    summing = SummarizationMiddleware(
        Scripted(says=lambda messages, number: AIMessage("They talked.")),
        trigger=("messages", 6),
        keep=("messages", 2),
    )
    agent: Any = make(Scripted(says=says), middleware=[summing, SpexMiddleware()])
    talk = [("user" if turn % 2 == 0 else "ai", f"turn {turn}") for turn in range(7)]
    await agent.ainvoke({"messages": talk})
    assert set(seen) == {3}


async def test_deep_agents_take_it() -> None:
    deepagents = pytest.importorskip("deepagents")

    def says(messages: Sequence[BaseMessage], number: int) -> AIMessage:
        return AIMessage(["5", "4", "4"][number % 3])

    agent = deepagents.create_deep_agent(
        Scripted(says=says), [look_up], middleware=[SpexMiddleware(policy=BestOfN(width=3))]
    )
    assert (await agent.ainvoke(QUESTION))["messages"][-1].text == "4"


async def test_a_model_of_another_event_loop_is_told_with_a_remedy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Elsewhere(FakeListChatModel):
        def _call(self, *args: Any, **kwargs: Any) -> str:
            raise ConnectionError("Connection error.") from RuntimeError("Event loop is closed")

    agent: Any = create_agent(Elsewhere(responses=[""]), middleware=[SpexMiddleware()])
    with pytest.raises(EngineError, match="another event loop: keep to one, or make a model for"):
        await agent.ainvoke({"messages": [("user", "What is 2 + 2?")]})
    assert "a candidate is dropped: ConnectionError: Connection error; the model" in caplog.text
