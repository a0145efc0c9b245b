"""Agents whose model calls are searches, driven by a model that plays from a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import tool

from spex_agents.answers import ExactStop, MaxSeconds, MaxTokens
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.errors import EngineError, RewardError, SettingsError
from spex_agents.nodes.middleware import SpexMiddleware
from spex_agents.search import Beam, BestOfN, Policy, Rebase
from spex_agents.speculation.config import Speculation

Says = Callable[[Sequence[BaseMessage], int], AIMessage]
"""What the model says to these messages, for a seed."""


class Scripted(BaseChatModel):
    """A chat model that answers from a script, after a moment."""

    says: Any
    seconds: float = 0.0
    live: int = 0
    calls: int = 0

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, AIMessage]:
        return self.bind(**kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.calls += 1
        said = self.says(messages, kwargs.get("seed", self.calls))
        return ChatResult(generations=[ChatGeneration(message=said)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.live += 1
        try:
            await asyncio.sleep(self.seconds)
            return self._generate(messages, **kwargs)
        finally:
            self.live -= 1


def in_turn(*texts: str) -> Says:
    return lambda messages, number: AIMessage(texts[(number - 1) % len(texts)])


def agent_of(model: Scripted, tools: Sequence[Any] = (), **settings: Any) -> Any:
    return create_agent(model, list(tools), middleware=[SpexMiddleware(**settings)])


QUESTION = {"messages": [("user", "What is 2 + 2?")]}


def chosen_by(
    model: Scripted, tools: Sequence[Any] = (), **settings: Any
) -> tuple[Any, dict[str, Any]]:
    """What is said in the end, and the report of the first search, on a virtual clock."""
    run = run_virtual(agent_of(model, tools, **settings).ainvoke(QUESTION))
    reports = [message.response_metadata.get("spex") for message in run["messages"]]
    return run["messages"][-1].content, next(report for report in reports if report)


def test_a_rule_ends_the_search_for_a_message() -> None:
    async def right(messages: Sequence[BaseMessage]) -> float:
        return float(messages[-1].content == "4")

    policy = BestOfN(width=8, batch=2)
    every: dict[str, Any] = {"policy": policy, "speculation": None}
    for reward, calls in ((None, 6), (right, 4)):  # five of eight; the first that is right
        model = Scripted(says=in_turn("5", "5", "4", "4") if reward else in_turn("4"))
        said, report = chosen_by(model, termination=ExactStop(), reward=reward, **every)
        assert (said, model.calls, report["stopped"]) == ("4", calls, "ExactStop()")
        again = Scripted(says=model.says)
        said, report = chosen_by(again, reward=reward, **every)
        assert (said, again.calls, report["stopped"]) == ("4", 8, None)


def test_a_rule_on_cost_or_time_leaves_what_there_is_to_choose_from() -> None:
    policy = BestOfN(width=8, batch=2)
    for rule in (MaxTokens(1), MaxSeconds(1.5)):
        model = Scripted(says=in_turn("4", "4", "5"), seconds=1)
        said, report = chosen_by(model, policy=policy, termination=rule, speculation=None)
        assert (said, model.calls, report["stopped"]) == ("4", 2, str(rule))
        assert report["tree_sha256"].startswith("timed:")
    model = Scripted(says=in_turn("4"), seconds=1)
    _, report = chosen_by(model, policy=policy, termination=MaxTokens(5), speculation=Speculation())
    assert report["ledger"]["launched"] == 0  # nobody knows how long a guess may become


def test_a_search_that_its_rule_cuts_short_chooses_among_first_messages() -> None:
    @tool
    def look(at: str) -> str:
        """Look."""
        return "seen"

    def says(messages: Sequence[BaseMessage], number: int) -> AIMessage:
        if any(isinstance(message, ToolMessage) for message in messages):
            return AIMessage("4")
        return AIMessage("", tool_calls=[{"name": "look", "args": {"at": "it"}, "id": "1"}])

    model = Scripted(says=says)
    settings: dict[str, Any] = {"policy": Rebase(width=2), "depth": 3, "termination": MaxTokens(1)}
    said, report = chosen_by(model, [look], free_of_side_effects=["look"], **settings)
    assert said == "4"
    assert (report["candidates"], report["stopped"]) == (1, "MaxTokens(limit=1)")


async def test_a_rule_that_leaves_no_candidate_is_named() -> None:
    agent = agent_of(Scripted(says=in_turn("4"), seconds=5), termination=MaxSeconds(0.01))
    with pytest.raises(EngineError, match=r"MaxSeconds\(limit=0.01\) before any candidate"):
        await agent.ainvoke(QUESTION)


async def likes(word: str, messages: Sequence[BaseMessage]) -> float:
    return float(word in " ".join(str(message.text) for message in messages[1:]))


async def test_without_a_reward_the_most_frequent_candidate_is_taken() -> None:
    model = Scripted(says=in_turn("5", "4", "4", "3"))
    messages = (await agent_of(model).ainvoke(QUESTION))["messages"]
    assert [message.text for message in messages] == ["What is 2 + 2?", "4"]
    report = messages[-1].response_metadata["spex"]
    assert (report["candidates"], report["repeated"], model.calls) == (3, 1, 4)
    assert report["ledger"]["useful_tokens"] > 0


async def test_the_reward_chooses_and_sees_the_whole_conversation() -> None:
    seen: list[list[str]] = []

    async def reward(messages: Sequence[BaseMessage]) -> float:
        seen.append([str(message.text) for message in messages])
        return await likes("three", messages)

    model = Scripted(says=in_turn("one", "two", "three", "two"))
    messages = (await agent_of(model, reward=reward).ainvoke(QUESTION))["messages"]
    assert messages[-1].text == "three"
    assert sorted(seen) == [["What is 2 + 2?", word] for word in ("one", "three", "two")]


def test_a_synchronous_agent_searches_as_well() -> None:
    model = Scripted(says=in_turn("5", "4", "4", "3"))
    assert agent_of(model).invoke(QUESTION)["messages"][-1].text == "4"


async def test_its_events_tell_which_of_its_searches_they_are_of_and_where_it_runs() -> None:
    agent = agent_of(Scripted(says=in_turn("4", "5")), reward=partial(likes, "4"))
    origins = {}
    for _ in range(2):
        async for event in agent.astream(QUESTION, stream_mode="custom"):
            origins[event["search"]] = event["origin"].partition(":")[0]
    assert list(origins.values()) == ["model", "model"]


# Tools

ran: list[str] = []


@tool
def look_up(word: str) -> str:
    """Look a word up."""
    ran.append(f"look_up {word}")
    if word == "fault":
        raise ValueError("no such word")
    return f"meaning of {word}"


@tool
def send(text: str) -> str:
    """Send a letter."""
    ran.append(f"send {text}")
    return "sent"


def calls(name: str, number: int, **arguments: str) -> AIMessage:
    call = {"name": name, "args": arguments, "id": f"random-{number}", "type": "tool_call"}
    return AIMessage("", tool_calls=[call])


async def test_a_tool_with_side_effects_is_called_by_the_agent_alone() -> None:
    ran.clear()

    def says(messages: Sequence[BaseMessage], number: int) -> AIMessage:
        if isinstance(messages[-1], ToolMessage):
            return AIMessage("done")
        return calls("send", number, text="hello")

    settings: dict[str, Any] = {"free_of_side_effects": ["look_up"], "depth": 3}
    result = await agent_of(Scripted(says=says), [send, look_up], **settings).ainvoke(QUESTION)
    assert ran == ["send hello"]
    assert result["messages"][-1].text == "done"


def reads(messages: Sequence[BaseMessage], seed: int) -> AIMessage:
    """Looks up one of two words, and tells what it has found."""
    last = messages[-1]
    if isinstance(last, ToolMessage):
        return AIMessage(f"it is the {last.text}")
    return calls("look_up", seed, word=["apple", "pear"][seed % 2])


@pytest.mark.parametrize("policy", [Rebase(width=6), Beam(beams=6, width=2)], ids=repr)
async def test_free_tools_are_looked_ahead_of(policy: Policy) -> None:
    ran.clear()

    async def reward(messages: Sequence[BaseMessage]) -> float:
        return await likes("meaning of pear", messages)

    agent = agent_of(
        Scripted(says=reads),
        [look_up],
        policy=policy,
        reward=reward,
        free_of_side_effects=["look_up"],
        depth=2,
        seed_parameter="seed",
    )
    messages = (await agent.ainvoke(QUESTION))["messages"]
    assert messages[1].tool_calls[0]["args"] == {"word": "pear"}
    assert messages[-1].text == "it is the meaning of pear"
    assert {"look_up apple", "look_up pear"} <= set(ran)


async def test_the_fault_of_a_tool_is_told_to_the_model() -> None:
    told: list[str] = []

    def says(messages: Sequence[BaseMessage], number: int) -> AIMessage:
        if isinstance(messages[-1], ToolMessage):
            told.append(f"{messages[-1].status}: {messages[-1].text}")
            return AIMessage("sorry")
        return calls("look_up", number, word="fault") if number <= 2 else AIMessage("no idea")

    async def reward(messages: Sequence[BaseMessage]) -> float:
        return await likes("sorry", messages)

    agent = agent_of(
        Scripted(says=says),
        [look_up],
        policy=Rebase(width=2),
        reward=reward,
        free_of_side_effects=["look_up"],
        depth=2,
    )
    with pytest.raises(ValueError, match="no such word"):  # the agent itself goes on to call it
        await agent.ainvoke(QUESTION)
    assert set(told) == {"error: ValueError: no such word"}


def test_running_ahead_chooses_the_same_message_sooner() -> None:
    async def reward(messages: Sequence[BaseMessage]) -> float:
        await asyncio.sleep(0.05)
        return await likes("pear", messages)

    def agent(speculation: Speculation | None) -> Any:
        return agent_of(
            Scripted(says=reads, seconds=0.01),
            [look_up],
            policy=Rebase(width=4),
            reward=reward,
            pure=True,
            free_of_side_effects=["look_up"],
            depth=2,
            seed_parameter="seed",
            seed=3,
            speculation=speculation,
        )

    async def timed(agent: Any) -> tuple[list[Any], float]:
        messages: list[Any] = (await agent.ainvoke(QUESTION))["messages"]
        return messages, asyncio.get_running_loop().time()

    off, off_s = run_virtual(timed(agent(None)))
    on, on_s = run_virtual(timed(agent(Speculation())))
    assert on_s < off_s
    reports = [found[1].response_metadata["spex"] for found in (off, on)]
    assert [message.text for message in on] == [message.text for message in off]
    assert reports[0]["tree_sha256"] == reports[1]["tree_sha256"]
    assert reports[0]["ledger"]["hits"] == 0
    assert reports[1]["ledger"]["hits"] > 0


# What others see


async def test_only_the_chosen_message_is_streamed() -> None:
    agent = agent_of(Scripted(says=in_turn("5", "4", "4", "3")))
    parts = [part async for part in agent.astream(QUESTION, stream_mode=["messages", "custom"])]
    assert [part[0].text for mode, part in parts if mode == "messages"] == ["4"]
    thoughts = [part for mode, part in parts if mode == "custom"]
    assert {part.get("status") for part in thoughts} >= {"accepted", "scored"}


async def test_a_cancelled_agent_leaves_no_call_behind() -> None:
    model = Scripted(says=in_turn("4"), seconds=60)
    task = asyncio.create_task(agent_of(model).ainvoke(QUESTION))
    while model.live < 4:  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert model.live == 0


async def test_no_more_calls_run_at_once_than_allowed() -> None:
    most = 0

    def says(messages: Sequence[BaseMessage], number: int) -> AIMessage:
        nonlocal most
        most = max(most, model.live)
        return AIMessage("4")

    model = Scripted(says=says, seconds=0.01)
    await agent_of(model, policy=BestOfN(width=6), max_concurrency=2).ainvoke(QUESTION)
    assert (most, model.calls) == (2, 6)


# Faults


async def test_a_model_that_fails_is_an_error_of_the_engine() -> None:
    def fails(messages: Sequence[BaseMessage], number: int) -> AIMessage:
        raise ConnectionError("gone")

    with pytest.raises(EngineError, match="gone"):
        await agent_of(Scripted(says=fails)).ainvoke(QUESTION)


async def test_a_reward_out_of_range_is_refused() -> None:
    async def reward(messages: Sequence[BaseMessage]) -> float:
        return 2.0

    with pytest.raises(RewardError, match=r"'reward' returned 2\.0"):
        await agent_of(Scripted(says=in_turn("4")), reward=reward).ainvoke(QUESTION)


def _half() -> float:
    return 0.5


async def test_a_reward_that_is_not_async_is_told_what_to_be() -> None:
    agent = agent_of(Scripted(says=in_turn("4")), reward=lambda messages: _half())
    with pytest.raises(RewardError, match=r"returned 0\.5 without being awaited: write it as"):
        await agent.ainvoke(QUESTION)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"depth": 0}, "depth=0"),
        ({"max_concurrency": 0}, "max_concurrency=0"),
        ({"free_of_side_effects": "look_up"}, "must be a collection of names"),
        ({"ignored_arguments": "reason"}, "must be a collection of names, or 'all'"),
        ({"termination": lambda standing: True}, "must be an instance of TerminationRule, or None"),
        ({"speculation": True}, "speculation=True: must be an instance of Speculation, or None"),
        ({"policy": "best"}, "policy='best': must be one of"),
        ({"reward": lambda messages: 0.5}, "reward=<lambda>: .* is not async"),
        ({"reward": lambda: 0.5}, r"reward=<lambda>: .*\(messages\) -> float, but takes \(\)"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        SpexMiddleware(**settings)


async def test_a_question_without_text_is_searched_too() -> None:
    picture = HumanMessage([{"type": "image", "url": "https://example.org/a.png"}])
    agent = agent_of(Scripted(says=in_turn("a cat")))
    assert (await agent.ainvoke({"messages": [picture]}))["messages"][-1].text == "a cat"


async def test_an_agent_may_have_nothing_but_a_system_prompt() -> None:
    model = Scripted(says=in_turn("Hello!"))
    agent = create_agent(model, middleware=[SpexMiddleware()], system_prompt="Greet.")
    assert (await agent.ainvoke({"messages": []}))["messages"][-1].text == "Hello!"
