"""What a prompt takes, where its provider does not tell: no less than is sent to the provider."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from provider import openai_at, provider
from pydantic import BaseModel, SecretStr

from spex_agents import BestOfN, SpexMiddleware, create_tot_node
from spex_agents.engines.chat_requests import prompt_estimate, tools_in

QUESTION = HumanMessage("What does a lamp cost?")
TEXT = "The lamp costs 12 euros.\n\nAnswer: 12\n\nThat is all."
LONG = "warm white, to be hung from a beam, " * 60


class Price(BaseModel):
    """A price, with the name of what is sold and the currency that it is told in."""

    product: str
    euros: float


@tool
def price(product: str, place: str) -> str:
    """Look up what a product costs today, in the shop of a place, taxes and discounts included."""
    return "12 euros"


@asynccontextmanager
async def chat(said: AIMessage, heard: list[Any]) -> AsyncIterator[ChatOpenAI]:
    """A provider's model at an address of one's own, whose streams tell no usage."""

    def says(messages: Sequence[BaseMessage]) -> Sequence[AIMessage]:
        return [said]

    async with provider(says, heard=heard) as address:
        model = openai_at(address)
        yield model
        await model.root_async_client.close()


def read(heard: Sequence[Any]) -> float:
    """About how many tokens a provider has read: of words, names, arguments and definitions."""
    parts = ("messages", "tools", "response_format")
    sent = [{part: body[part] for part in parts if part in body} for body in heard]
    return sum(len(json.dumps(one)) for one in sent) / 4


def totals(counts: UsageMetadataCallbackHandler) -> int:
    return sum(used["input_tokens"] for used in counts.usage_metadata.values())


async def think(model: Any, *history: BaseMessage) -> Any:
    """What a node on this conversation has spent, and a counter of LangChain's."""

    async def right(question: str, steps: Sequence[str]) -> float:
        return 0.5

    node = create_tot_node(model, policy=BestOfN(width=2), reward=right)
    builder = StateGraph(MessagesState).add_node("think", node).add_edge(START, "think")
    graph: Any = builder.compile()
    counts = UsageMetadataCallbackHandler()
    reply = (await graph.ainvoke({"messages": list(history)}, {"callbacks": [counts]}))["messages"]
    return reply[-1].response_metadata["spex"]["ledger"], totals(counts)


async def test_calls_in_the_history_and_their_results_are_counted() -> None:
    call = tool_call(name="price", args={"product": LONG, "place": "Bern"}, id="p1")
    history = [QUESTION, AIMessage("", tool_calls=[call]), ToolMessage(LONG, tool_call_id="p1")]
    heard: list[Any] = []
    async with chat(AIMessage(TEXT), heard) as model:
        ledger, counted = await think(model, *history)
    assert read(heard) / 2 > 1000
    assert ledger["sent_tokens"] == pytest.approx(read(heard), rel=0.1)
    assert counted == ledger["sent_tokens"]


async def test_tools_that_are_bound_to_a_model_are_counted() -> None:
    heard: list[Any] = []
    async with chat(AIMessage(TEXT), heard) as model:
        ledger, counted = await think(model.bind_tools([price, Price]), QUESTION)
    assert all(body["tools"] for body in heard)
    assert ledger["sent_tokens"] == pytest.approx(read(heard), rel=0.1)
    assert counted == ledger["sent_tokens"]


@pytest.mark.parametrize(
    ("form", "apart"),
    [(None, 0.0), (ToolStrategy(Price), 0.0), (ProviderStrategy(Price), 0.1)],  # made strict
    ids=["free", "tool", "provider"],
)
async def test_an_agents_tools_are_counted_where_its_replies_are_streamed(
    form: Any, apart: float
) -> None:
    heard: list[Any] = []
    counts = UsageMetadataCallbackHandler()
    said = AIMessage('{"product": "lamp", "euros": 12}')
    looks = SpexMiddleware(policy=BestOfN(width=3))
    async with chat(said, heard) as model:
        agent: Any = create_agent(model, [price], middleware=[looks], response_format=form)
        asked = {"messages": [QUESTION]}
        told = [
            message
            async for message, _ in agent.astream(
                asked, {"callbacks": [counts]}, stream_mode="messages"
            )
        ]
    (ledger,) = [
        m.response_metadata["spex"]["ledger"] for m in told if "spex" in m.response_metadata
    ]
    assert all(body["stream"] and body["tools"] for body in heard)
    assert ledger["sent_tokens"] == pytest.approx(read(heard), rel=0.25)
    assert totals(counts) == pytest.approx(ledger["sent_tokens"], rel=apart)


def test_a_call_beside_blocks_of_text_counts_as_one_beside_text() -> None:
    call = tool_call(name="price", args={"product": LONG, "place": "Bern"}, id="p1")
    beside = AIMessage([{"type": "text", "text": "So."}], tool_calls=[call])
    within = AIMessage([{"type": "tool_use", "id": "p1", "name": "price", "input": call["args"]}])
    within.tool_calls = [call]
    plain = prompt_estimate([AIMessage("So.", tool_calls=[call])])
    assert prompt_estimate([beside]) == plain > len(LONG) / 4
    assert prompt_estimate([within]) == pytest.approx(plain, rel=0.1)


def test_an_image_counts_as_one_however_large_its_file_is() -> None:
    image = base64.b64encode(bytes(300_000)).decode()
    shown: Any = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}},
    ]
    assert 85 < prompt_estimate([HumanMessage(shown)]) < 100


def test_tools_are_found_below_whatever_is_bound_around_them() -> None:
    model = ChatOpenAI(model="gpt-5-mini", api_key=SecretStr("none"))
    bound = model.bind_tools([price])
    (definition,) = tools_in(bound)
    assert definition["function"]["name"] == "price"
    for around in (bound.with_retry(), bound.with_fallbacks([model]), bound | str):
        assert tools_in(around) == [definition]
    structured = model.with_structured_output(Price, method="function_calling")
    assert [one["function"]["name"] for one in tools_in(structured)] == ["Price"]
    assert tools_in(model) == tools_in(FakeListChatModel(responses=["So."])) == []
