"""Tools of clients, offered to a chat model as tools: what it calls comes back as calls.

The model is LangChain's own client of OpenAI's protocol, against a server that is a script.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from gateways import ADD, QUESTION, SUM, Running, gateway
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from provider import openai_at, provider

from spex_agents.engines.chat_model import ChatModelEngine

PATH = "/v1/chat/completions"
LOOK: Any = {"type": "function", "function": {"name": "look", "description": "Look."}}
MODEL = "chat/best-of-n-2"
SEARCH = {"depth": 3, "reward": "calculator", "seed": 1}


def add(one: Any = 5, other: Any = 7) -> AIMessage:
    return AIMessage(
        "", tool_calls=[tool_call(name="add", args={"one": one, "other": other}, id="p1")]
    )


TWO = AIMessage(
    "Both at once.",
    tool_calls=[
        tool_call(name="add", args={"one": 1, "other": 2}, id="p1"),
        tool_call(name="look", args={}, id="p2"),
    ],
)
TWELVE = AIMessage("Answer: 12")

Heard = list[Mapping[str, Any]]


@asynccontextmanager
async def chat(
    *said: AIMessage, done: AIMessage = TWELVE, reason: str | None = None, **hosting: Any
) -> AsyncIterator[tuple[Running, Heard]]:
    """A gateway with a chat model that says `said`, and `done` once a tool has answered it."""
    heard: Heard = []

    def says(messages: Sequence[BaseMessage]) -> Sequence[AIMessage]:
        return [done] if isinstance(messages[-1], ToolMessage) else said

    async with provider(says, heard=heard, reason=reason) as address:
        model = openai_at(address)
        more = {"chat": ChatModelEngine(model)}
        async with gateway(more=more, **hosting) as running:
            yield running, heard
        await model.root_async_client.close()


def asked(**more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": QUESTION, "spex": SEARCH, **more}


def called(message: Any) -> list[tuple[str, Any]]:
    calls = message.get("tool_calls") or ()
    return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]


async def test_tools_reach_the_model_as_tools_and_its_call_comes_back() -> None:
    async with chat(add()) as (running, heard), running.http() as http:
        answer = (await http.post(PATH, json=asked(tools=[ADD, LOOK]))).json()
    (choice,) = answer["choices"]
    assert called(choice["message"]) == [("add", {"one": 5, "other": 7})]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    for body in heard:
        assert [tool["function"]["name"] for tool in body["tools"]] == ["add", "look"]
        assert body["tools"][0]["function"]["parameters"] == SUM
        assert "tool_choice" not in body
        assert "End with a call" not in json.dumps(body["messages"])  # the form of text engines


async def test_several_calls_at_once_come_back_whole_and_in_pieces_and_as_a_response() -> None:
    expected = [("add", {"one": 1, "other": 2}), ("look", {})]
    async with chat(TWO) as (running, _), running.client() as client:
        same: Any = {
            "model": MODEL,
            "tools": [ADD, LOOK],
            "extra_body": {"spex": SEARCH},
        }
        whole = await client.chat.completions.create(messages=QUESTION, **same)
        async with client.chat.completions.stream(messages=QUESTION, **same) as stream:
            streamed = await stream.get_final_completion()
        for done in (whole, streamed):
            message = done.choices[0].message.model_dump()
            assert called(message) == expected
            assert len({call["id"] for call in message["tool_calls"]}) == 2
            assert done.choices[0].finish_reason == "tool_calls"
        flat: Any = [{"type": "function", **tool["function"]} for tool in (ADD, LOOK)]
        async with client.responses.stream(
            input="What is 5 + 7?", **{**same, "tools": flat}
        ) as stream:
            response: Any = await stream.get_final_response()
        items = [item for item in response.output if item.type == "function_call"]
        assert [(item.name, json.loads(item.arguments)) for item in items] == expected
        assert len({item.call_id for item in items}) == 2


@pytest.mark.parametrize(
    ("given", "sent", "calls"),
    [
        ({}, None, 2),
        ({"tool_choice": "auto"}, None, 2),
        ({"parallel_tool_calls": False}, None, 1),
        ({"tool_choice": "required"}, "required", 2),
        (
            {"tool_choice": {"type": "function", "function": {"name": "add"}}},
            {"type": "function", "function": {"name": "add"}},
            1,
        ),
        ({"tool_choice": {"type": "function", "name": "add"}}, ..., 1),
    ],
    ids=str,
)
async def test_what_may_be_called_is_the_clients_choice(
    given: dict[str, Any], sent: Any, calls: int
) -> None:
    async with chat(TWO) as (running, heard), running.http() as http:
        answer = (await http.post(PATH, json=asked(tools=[ADD, LOOK], **given))).json()
    message = answer["choices"][0]["message"]
    assert called(message)[0] == ("add", {"one": 1, "other": 2})
    assert len(called(message)) == calls
    for body in heard:
        assert body.get("tool_choice") == sent or sent is ...
        assert body.get("parallel_tool_calls") == (False if calls == 1 else None)


async def test_none_offers_the_model_nothing_and_an_answer_is_an_answer() -> None:
    async with chat(TWELVE) as (running, heard), running.http() as http:
        for more in ({"tool_choice": "none"}, {}):
            answer = (await http.post(PATH, json=asked(tools=[ADD], **more))).json()
            (choice,) = answer["choices"]
            assert (choice["message"]["content"], choice["finish_reason"]) == ("12", "stop")
            assert not choice["message"]["tool_calls"]
            assert any("tools" in body for body in heard) is (not more)


async def test_what_does_not_fit_a_tool_is_no_call_of_it() -> None:
    odd = AIMessage("", tool_calls=[tool_call(name="subtract", args={}, id="p1")])
    said = (add(one="five"), odd)
    async with chat(*said) as (running, _), running.http() as http:
        body = asked(tools=[ADD, LOOK], tool_choice="required")
        message = (await http.post(PATH, json=body)).json()["choices"][0]["message"]
    assert not message["tool_calls"]
    assert message["refusal"]


async def test_the_paths_vote_on_calls() -> None:
    async with chat(add(), add(1, 1), add()) as (running, _), running.http() as http:
        body = asked(tools=[ADD], spex={**SEARCH, "vote": "majority"})
        message = (await http.post(PATH, json={**body, "model": "chat/best-of-n-3"})).json()
    assert called(message["choices"][0]["message"]) == [("add", {"one": 5, "other": 7})]


async def test_what_was_called_before_is_shown_as_such() -> None:
    async with chat(add()) as (running, heard), running.http() as http:
        first = (await http.post(PATH, json=asked(tools=[ADD]))).json()
        (made,) = first["choices"][0]["message"]["tool_calls"]
        turn = {"role": "assistant", "content": None, "tool_calls": [made]}
        result = {"role": "tool", "tool_call_id": made["id"], "content": "12"}
        del heard[:]
        body = asked(tools=[ADD], messages=[*QUESTION, turn, result])
        second = (await http.post(PATH, json=body)).json()
    assert second["choices"][0]["message"]["content"] == "12"
    _, user, assistant, tool = heard[0]["messages"]
    assert user["content"] == "What is 5 + 7?"
    assert assistant["tool_calls"][0]["function"]["name"] == "add"
    assert (tool["tool_call_id"], tool["content"]) == (made["id"], "12")


@pytest.mark.parametrize("identity", ["another", ""])
async def test_a_result_of_no_call_is_told_in_words(identity: str) -> None:
    result = {"role": "tool", "tool_call_id": identity, "content": "12"}
    async with chat(TWELVE) as (running, heard), running.http() as http:
        body = asked(tools=[ADD], messages=[*QUESTION, result])
        answer = await http.post(PATH, json=body)
        assert answer.status_code == 200, answer.text
    assert {message["role"] for message in heard[0]["messages"]} == {"system", "user"}
    assert "12" in heard[0]["messages"][-1]["content"]


async def test_a_call_that_is_cut_off_is_said_and_not_made() -> None:
    async with chat(add(), reason="length") as (running, _), running.http() as http:
        answer = await http.post(PATH, json=asked(tools=[ADD]))
        assert answer.status_code == 502
        assert "in a call of a tool" in answer.json()["error"]["message"]


async def test_a_call_outlives_the_gateway(tmp_path: Any) -> None:
    file = str(tmp_path / "gateway.sqlite")
    headers = {"Idempotency-Key": "again"}
    answers = []
    for _ in range(2):
        async with chat(TWO, database=file) as (running, heard), running.http() as http:
            body = asked(tools=[ADD, LOOK])
            answers.append((await http.post(PATH, json=body, headers=headers)).json())
    assert not heard
    assert answers[0]["choices"] == answers[1]["choices"]
