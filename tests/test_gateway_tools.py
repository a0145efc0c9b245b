"""Tools and images over the wire: searches that end with a call, and models that see."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import openai
import pytest
from gateways import ADD, ASKED, FANNED_OUT, QUESTION, SUM, gateway
from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult
from langchain_core.tools import tool
from provider import openai_at

from spex_agents.engines.chat_model import ChatModelEngine
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.search import Thought

PATH = "/v1/chat/completions"
LOOK: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
CALL = '{"name": "add", "arguments": {"one": 5, "other": 7}}'
SAME: Any = {"model": "spex/rebase-4", "messages": QUESTION}
PIXEL = "data:image/png;base64,iVBORw0KGgo="


class Caller(SimulatedEngine):
    """Ends every thought with a call, until it is told what that came to."""

    def __init__(self, said: str = CALL) -> None:
        super().__init__(speed=1000)
        self.said = said
        self.prompts: list[Prompt] = []

    async def generate(self, prompt: Prompt, *args: Any, **more: Any) -> Thought:
        self.prompts.append(prompt)
        made = await super().generate(prompt, *args, **more)
        if "add: 12" in prompt.messages[-1].content:
            return made
        return replace(made, text=f"{made.text} {self.said}")


def of(message: Any) -> list[tuple[str, Any]]:
    calls = message.tool_calls or ()
    return [(call.function.name, json.loads(call.function.arguments)) for call in calls]


async def test_a_search_may_end_with_a_call_of_a_tool() -> None:
    async with gateway(engine=Caller(), strict=True) as running, running.client() as client:
        ids = set()
        for tools in ([ADD], [LOOK, ADD]):
            done = await client.chat.completions.create(tools=tools, **SAME)
            (choice,) = done.choices
            assert of(choice.message) == [("add", {"one": 5, "other": 7})]
            assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
            assert choice.message.tool_calls is not None
            ids.add(choice.message.tool_calls[0].id)
        several = await client.chat.completions.create(tools=[ADD], n=2, **SAME)
        for choice in several.choices:
            assert choice.message.tool_calls is not None
            ids.add(choice.message.tool_calls[0].id)
        assert len(ids) == 4


async def test_a_stream_has_the_call_too() -> None:
    async with (
        gateway(engine=Caller()) as running,
        running.client() as client,
        client.chat.completions.stream(tools=[ADD], **SAME) as stream,
    ):
        done = await stream.get_final_completion()
    (choice,) = done.choices
    assert of(choice.message) == [("add", {"one": 5, "other": 7})]
    assert choice.finish_reason == "tool_calls"


async def test_what_a_tool_has_said_leads_to_an_answer() -> None:
    called = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    history: Any = [
        *QUESTION,
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "c1", "content": "12"},
    ]
    async with gateway(engine=Caller()) as running, running.client() as client:
        done = await client.chat.completions.create(
            model="spex/rebase-4", messages=history, tools=[ADD]
        )
    assert done.choices[0].message.tool_calls is None
    assert done.choices[0].message.content
    assert done.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("said", "choice", "called"),
    [
        (CALL, "auto", True),
        (CALL, "none", False),
        ('{"name": "add", "arguments": {"one": "five", "other": 7}}', "auto", False),
        ('{"name": "subtract", "arguments": {}}', "auto", False),
        ("", "auto", False),
    ],
)
async def test_a_call_is_one_of_an_offered_tool_with_fitting_arguments(
    said: str, choice: Any, called: bool
) -> None:
    engine = Caller(said)
    async with gateway(engine=engine) as running, running.client() as client:
        done = await client.chat.completions.create(tools=[ADD, LOOK], tool_choice=choice, **SAME)
    assert (done.choices[0].message.tool_calls is not None) is called
    assert (done.choices[0].message.content is None) is called
    assert ('"look"' in engine.prompts[0].messages[0].content) is (choice != "none")


async def test_where_a_call_is_required_and_none_comes_it_is_a_refusal() -> None:
    async with gateway(engine=Caller("")) as running, running.client() as client:
        done = await client.chat.completions.create(
            tools=[ADD, LOOK], tool_choice="required", **SAME
        )
        assert done.choices[0].message.refusal
        assert done.choices[0].message.content is None


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"$ref": "http://169.254.169.254/x"},
        {"properties": {"a": {"pattern": "(a+)+$"}}},
        {"properties": 7},
        FANNED_OUT,
        {"anyOf": [{}] * 2000},
        None,
    ],
    ids=lambda schema: str(schema)[:40],
)
async def test_a_tool_whose_schema_cannot_be_checked_breaks_no_request(schema: Any) -> None:
    odd = {"type": "function", "function": {"name": "odd", "parameters": schema}}
    said = '{"name": "odd", "arguments": {"a": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"}}'
    async with gateway(served=False, engine=Caller(said)) as running, running.http() as http:
        answer = await http.post(PATH, json={**ASKED, "tools": [odd]})
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("wrong", "parameter"),
    [
        ({"tools": [ADD, ADD]}, "tools"),
        (
            {"tools": [ADD], "tool_choice": {"type": "function", "function": {"name": "no"}}},
            "tool_choice",
        ),
        ({"tools": [ADD], "tool_choice": {"type": "function", "name": "no"}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
    ],
)
async def test_tools_that_cannot_be_called_are_refused(wrong: Any, parameter: str) -> None:
    async with gateway(served=False, engine=Caller()) as running, running.http() as http:
        answer = await http.post(PATH, json={**ASKED, **wrong})
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["param"] == parameter


@pytest.mark.parametrize("path", [PATH, "/v1/responses"])
async def test_half_a_character_in_a_tool_or_a_schema_is_refused(path: str) -> None:
    half = "\ud800"
    named = {"name": half, "parameters": {}}
    schema: Any = {"properties": {half: {}}}
    form = {"type": "json_schema", "name": "x", "schema": schema}
    if path == PATH:
        tool = {"type": "function", "function": named}
        bodies: list[Any] = [
            {**SAME, "tools": [tool]},
            {**SAME, "tool_choice": half},
            {**SAME, "response_format": {"type": "json_schema", "json_schema": form}},
        ]
    else:
        asked = {"model": "spex/rebase-4", "input": "What is 5 + 7?"}
        bodies = [
            {**asked, "tools": [{"type": "function", **named}]},
            {**asked, "text": {"format": form}},
        ]
    async with gateway(served=False) as running, running.http() as http:
        for body in bodies:
            answer = await http.post(
                path, content=json.dumps(body), headers={"Content-Type": "application/json"}
            )
            assert answer.status_code == 400, answer.text
            assert "half of a character" in answer.json()["error"]["message"]


async def test_langchains_agent_calls_its_tool_and_answers() -> None:
    asked: list[tuple[int, int]] = []

    @tool
    def add(one: int, other: int) -> int:
        """Add two numbers."""
        asked.append((one, other))
        return one + other

    async with gateway(engine=Caller()) as running:
        model = openai_at(f"{running.url}/v1", "spex/rebase-4")
        agent: Any = create_agent(model, [add])
        done = await agent.ainvoke({"messages": QUESTION})
        await model.root_async_client.close()
    assert asked == [(5, 7)]
    assert [message.type for message in done["messages"]] == ["human", "ai", "tool", "ai"]
    assert done["messages"][-1].content


async def test_a_response_calls_a_tool_whole_and_in_pieces() -> None:
    flat: Any = {"type": "function", "strict": False, **ADD["function"]}
    same: Any = {"model": "spex/rebase-4", "input": "What is 5 + 7?", "tools": [flat]}
    async with gateway(engine=Caller()) as running, running.client() as client:
        whole = await client.responses.create(**same)
        async with client.responses.stream(**same) as stream:
            kinds = [event.type async for event in stream]
            pieces: Any = await stream.get_final_response()
    assert "response.function_call_arguments.done" in kinds
    for response in (whole, pieces):
        item: Any = response.output[-1]
        assert (item.type, item.name) == ("function_call", "add")
        assert json.loads(item.arguments) == {"one": 5, "other": 7}
        assert item.call_id


async def test_a_response_without_the_form_is_a_refusal_whole_and_in_pieces() -> None:
    form: Any = {"format": {"type": "json_schema", "name": "sum", "schema": SUM, "strict": False}}
    same: Any = {"model": "spex/rebase-4", "input": "What is 5 + 7?", "text": form}
    async with gateway(engine=Caller("")) as running, running.client() as client:
        whole = await client.responses.create(**same)
        async with client.responses.stream(**same) as stream:
            kinds = [event.type async for event in stream]
            pieces: Any = await stream.get_final_response()
    assert "response.refusal.done" in kinds
    for response in (whole, pieces):
        assert response.output[-1].content[0].type == "refusal"


# Images


class Seeing(GenericFakeChatModel):
    """Remembers what it was shown."""

    shown: list[list[BaseMessage]]
    messages: Any = iter(())

    def _generate(self, messages: list[BaseMessage], *args: Any, **more: Any) -> ChatResult:
        self.shown.append(messages)
        self.messages = iter([AIMessage("Answer: a pixel")])
        return super()._generate(messages, *args, **more)


def showing(address: str) -> list[dict[str, Any]]:
    image = {"type": "image_url", "image_url": {"url": address, "detail": "low"}}
    return [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]},
    ]


async def test_a_chat_model_is_shown_the_images() -> None:
    model = Seeing(shown=[])
    engines = {"eyes": ChatModelEngine(model)}
    async with gateway(more=engines) as running, running.client() as client:
        done = await client.chat.completions.create(
            model="eyes/rebase-2",
            messages=showing(PIXEL),  # type: ignore[arg-type]
            extra_body={"spex": {"reward": "calculator", "depth": 1}},
        )
        assert done.choices[0].message.content == "a pixel"
        response = await client.responses.create(
            model="eyes/rebase-2",
            input=[
                {
                    "role": "user",
                    "content": [{"type": "input_image", "detail": "low", "image_url": PIXEL}],
                }
            ],
            extra_body={"spex": {"reward": "calculator", "depth": 1}},
        )
        assert response.output_text == "a pixel"
    for messages in model.shown:
        content: Any = messages[-1].content
        assert content[-1] == {"type": "image_url", "image_url": {"url": PIXEL}}
    assert "Be brief." in str(model.shown[0][0].content)


async def test_an_engine_of_text_says_that_it_takes_no_images() -> None:
    async with gateway(speed=1000) as running, running.client() as client:
        with pytest.raises(openai.BadRequestError, match="takes text alone") as refused:
            await client.chat.completions.create(
                model="spex/rebase-4",
                messages=showing(PIXEL),  # type: ignore[arg-type]
            )
        assert refused.value.param == "messages"
        assert running.engine.decoded_tokens == 0


async def test_images_are_sent_and_not_fetched() -> None:
    model = Seeing(shown=[])
    async with (
        gateway(more={"eyes": ChatModelEngine(model)}) as running,
        running.client() as client,
    ):
        for address in ("http://169.254.169.254/x.png", "file:///etc/passwd", "data:text/html,x"):
            with pytest.raises(openai.BadRequestError, match="nothing is fetched"):
                await client.chat.completions.create(
                    model="eyes/rebase-2",
                    messages=showing(address),  # type: ignore[arg-type]
                )
    assert not model.shown
