"""LATS in an agent: drafts of a message, tool calls included, that read the ones before them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from pydantic import Field

from spex_agents import SpexMiddleware
from spex_agents.search import Action, BestOfN, Critique, Lats, Path, Policy, Refine
from spex_agents.search.prompts import MESSAGE_AGAIN
from spex_agents.speculation import Speculation


class Drafting(BaseChatModel):
    """Calls the tool with one more for each draft that it is shown; answers with its result."""

    seen: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "drafting"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Drafting:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.seen.append(messages)
        last = messages[-1]
        if isinstance(last, ToolMessage):
            reply = AIMessage(f"It is {last.text}.")
        else:
            drafts = last.text.count("Answer ") if isinstance(last, HumanMessage) else 0
            call = {"name": "double", "args": {"number": drafts}, "id": f"call-{len(self.seen)}"}
            reply = AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=reply)])


def doubling(calls: list[int]) -> Any:
    @tool
    def double(number: int) -> int:
        """Twice a number."""
        calls.append(number)
        return 2 * number

    return double


async def near_four(messages: Sequence[BaseMessage]) -> float:
    said = messages[-1].text
    if not isinstance(messages[-1], ToolMessage):
        return 1.0
    return Critique(1.0 if said == "4" else int(said) / 8, f"{said} is not 4.")


@pytest.mark.parametrize("speculation", [None, Speculation()])
@pytest.mark.parametrize(
    "policy",
    [
        Lats(rollouts=4, width=2, depth=4, again=MESSAGE_AGAIN),
        Refine(rollouts=4, again=MESSAGE_AGAIN),
    ],
)
async def test_a_draft_is_told_what_the_tools_and_the_reward_said_of_those_before(
    policy: Policy, speculation: Speculation | None
) -> None:
    model, calls = Drafting(), list[int]()
    middleware = SpexMiddleware(
        policy=policy,
        reward=near_four,
        pure=True,
        speaks=True,
        free_of_side_effects=["double"],
        depth=4,
        speculation=speculation,
    )
    agent = create_agent(model, [doubling(calls)], middleware=[middleware])
    state = await agent.ainvoke({"messages": [HumanMessage("Which number?")]})
    chosen = next(each for each in state["messages"] if isinstance(each, AIMessage))
    assert chosen.tool_calls[0]["args"] == {"number": 2}
    assert state["messages"][-1].text == "It is 4."
    told = [each[-1].text for each in model.seen if "drafts" in each[-1].text]
    assert any("0 is not 4." in text and '"text": "2"' in text for text in told)
    assert all(json.dumps("double") in text for text in told)
    assert state["messages"][1].response_metadata["spex"]["candidates"] >= 3


async def test_other_prompts_of_a_policy_are_not_told_to_an_agent() -> None:
    class Brief(BestOfN):
        def action(self, path: Path) -> Action:
            return Action(user="{question}\n\nBe brief.", to_end=True)

    model = Drafting()
    middleware = SpexMiddleware(policy=Brief(width=2), reward=near_four, pure=True)
    agent = create_agent(model, [doubling([])], middleware=[middleware])
    await agent.ainvoke({"messages": [HumanMessage("Which number?")]})
    first = [each for each in model.seen if not isinstance(each[-1], ToolMessage)]
    assert {each[-1].text for each in first} == {"Which number?"}
