"""What clients send and expect: none of them knows that a search answers.

The clients that run here are openai's and LangChain's; `test_gateway_shapes` has the requests of
others.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest
from gateways import ASKED, FANNED_OUT, QUESTION, SMALL, gateway
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from provider import openai_at
from pydantic import BaseModel

from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.search import Thought

PATH = "/v1/chat/completions"
TOOL: Any = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {}}},
}


class Listening(SimulatedEngine):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(speed=1000)
        self.prompts: list[Prompt] = []
        self.most_tokens: list[int] = []

    async def generate(self, prompt: Prompt, *args: Any, **more: Any) -> Thought:
        self.prompts.append(prompt)
        self.most_tokens.append(more["max_tokens"])
        return await super().generate(prompt, *args, **more)


def parse(text: str) -> list[dict[str, Any]]:
    """The data of server-sent events but the last, which is [DONE]."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line[:6] == "data: "]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


# The fields


async def test_without_a_seed_or_with_a_negative_one_each_answer_is_a_new_one() -> None:
    async with gateway(served=False, speed=1000) as running, running.http() as http:

        async def tree(**seed: Any) -> str:
            body = {"model": "spex/rebase-4", "messages": QUESTION, **seed}
            done = (await http.post(PATH, json=body)).json()
            return str(done["spex"]["tree_sha256"])

        assert await tree(seed=5) == await tree(seed=5) == await tree(spex={"seed": 5})
        fresh = [await tree(), await tree(), await tree(seed=-1), await tree(spex={"seed": -1})]
        assert len({*fresh, await tree(seed=5)}) == 5


async def test_a_drawn_seed_is_the_searchs_own_when_it_goes_on() -> None:
    async with gateway(served=False, speed=1000) as running, running.http() as http:
        body = {"model": "spex/rebase-4", "messages": QUESTION}
        http.headers["Idempotency-Key"] = "again"
        first, second = [(await http.post(PATH, json=body)).json() for _ in range(2)]
        assert first["choices"] == second["choices"]


async def test_n_answers_are_n_searches_of_seeds_that_follow_each_other() -> None:
    async with gateway(speed=1000) as running, running.client() as client:
        ask = client.chat.completions.create
        same: Any = {"model": "spex/rebase-4", "messages": QUESTION, "seed": 3}
        both = await ask(n=2, **same)
        single = [await ask(**{**same, "seed": seed}) for seed in (3, 4)]
        assert [choice.index for choice in both.choices] == [0, 1]
        assert [choice.message.content for choice in both.choices] == [
            one.choices[0].message.content for one in single
        ]
        assert both.usage is not None
        used = [one.usage.completion_tokens for one in single if one.usage is not None]
        assert both.usage.completion_tokens == sum(used)
        texts = ["", ""]
        async for chunk in await ask(n=2, stream=True, **same):
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
        assert texts == [choice.message.content for choice in both.choices]


async def test_a_refused_second_search_leaves_no_first_one_running() -> None:
    async with gateway(speed=1, searches=2) as running, running.http() as http:
        other = (await http.post("/v1/searches", json=ASKED)).json()["id"]
        answer = await http.post(PATH, json={**ASKED, "n": 2})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
        await http.delete(f"/v1/searches/{other}")
        await running.idle()


async def test_a_limit_of_tokens_holds_for_thoughts_too() -> None:
    engine = Listening()
    async with gateway(served=False, engine=engine) as running, running.http() as http:
        for name in ("max_tokens", "max_completion_tokens"):
            done = (await http.post(PATH, json={**ASKED, name: 5})).json()
            assert done["choices"][0]["finish_reason"] == "length"
            assert max(engine.most_tokens) <= 5


@pytest.mark.parametrize(
    ("stop", "content"),
    [("2", "1"), (["never", "2"], "1"), ([], "12"), (None, "12"), ([""], "12")],
    ids=str,
)
async def test_the_answer_ends_before_a_stop(stop: Any, content: str) -> None:
    async with gateway(served=False, speed=1000) as running, running.http() as http:
        done = (await http.post(PATH, json={**ASKED, "stop": stop})).json()
        assert done["choices"][0]["message"]["content"] == content


PASSED_OVER: list[dict[str, Any]] = [
    {"tools": [{"type": "web_search"}]},
    {"logprobs": True, "top_logprobs": 2},
    {"logit_bias": {"50256": -100}},
    {"frequency_penalty": 0.5},
    {"presence_penalty": -0.5},
    {"functions": [TOOL["function"]]},
    {"modalities": ["text", "audio"]},
]


@pytest.mark.parametrize("field", PASSED_OVER, ids=lambda field: next(iter(field)))
async def test_what_cannot_be_honoured_is_passed_over_or_strictly_refused(
    field: dict[str, Any],
) -> None:
    async with gateway(served=False, speed=1000) as running, running.http() as http:
        plain = (await http.post(PATH, json=ASKED)).json()
        given = await http.post(PATH, json={**ASKED, **field})
        assert given.json()["choices"] == plain["choices"]
    async with gateway(served=False, strict=True) as running, running.http() as http:
        refused = await http.post(PATH, json={**ASKED, **field})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, next(iter(field)))
        harmless = {"tools": [], "tool_choice": "none", "stop": [], "frequency_penalty": 0}
        assert (await http.post(PATH, json={**ASKED, **harmless})).status_code == 200


async def test_reasoning_has_both_names_and_progress_shows_it_as_content() -> None:
    async with gateway(served=False, speed=1000) as running, running.http() as http:
        message = (await http.post(PATH, json=ASKED)).json()["choices"][0]["message"]
        assert message["reasoning"] == message["reasoning_content"] != ""
        progress = {**ASKED["spex"], "progress": True}
        streamed = await http.post(PATH, json={**ASKED, "stream": True, "spex": progress})
    deltas = [chunk["choices"][0]["delta"] for chunk in parse(streamed.text)]
    content = "".join(delta.get("content") or "" for delta in deltas)
    assert content == f"<think>\n{message['reasoning']}</think>\n\n{message['content']}"
    for delta in deltas:
        assert delta.get("reasoning") == delta.get("reasoning_content")


async def test_a_client_that_waits_is_told_that_its_search_was_deleted() -> None:
    async with gateway(speed=1) as running, running.http() as http:
        asking = asyncio.create_task(http.post(PATH, json=ASKED))
        await running.decoded(20)
        (search,) = (await http.get("/v1/searches")).json()["data"]
        assert (await http.delete(f"/v1/searches/{search['id']}")).status_code == 204
        answer = await asking
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "search_deleted")


# The other routes


async def test_older_completions_answer_a_prompt() -> None:
    async with gateway(speed=1000) as running, running.client() as client:
        chat = await client.chat.completions.create(
            model="spex/rebase-4", messages=QUESTION, seed=1
        )
        same: Any = {"model": "spex/rebase-4", "prompt": "What is 5 + 7?", "seed": 1}
        done = await client.completions.create(**same)
        assert done.choices[0].text == chat.choices[0].message.content
        assert done.usage is not None
        pieces = [
            chunk
            async for chunk in await client.completions.create(
                stream=True, stream_options={"include_usage": True}, **same
            )
        ]
        assert "".join(c.text for chunk in pieces for c in chunk.choices) == done.choices[0].text
        assert pieces[-1].usage is not None
        with pytest.raises(openai.BadRequestError):
            await client.completions.create(model="spex/rebase-4", prompt=["one", "two"])


async def test_responses_answer_whole_and_in_pieces() -> None:
    async with gateway(speed=1000) as running, running.client() as client:
        chat = await client.chat.completions.create(
            model="spex/rebase-4", messages=QUESTION, extra_body={"spex": SMALL}
        )
        same: Any = {
            "model": "spex/rebase-4",
            "input": "What is 5 + 7?",
            "extra_body": {"spex": SMALL},
        }
        done = await client.responses.create(**same)
        assert done.output_text == chat.choices[0].message.content
        assert [item.type for item in done.output] == ["reasoning", "message"]
        assert done.status == "completed"
        assert done.usage is not None
        assert done.usage.output_tokens > 0
        async with client.responses.stream(**same) as stream:
            kinds = [event.type async for event in stream]
            final = await stream.get_final_response()
        assert final.output_text == done.output_text
        assert kinds[0] == "response.created"
        assert kinds[-1] == "response.completed"
        assert "response.reasoning_summary_text.delta" in kinds


async def test_responses_take_conversations_instructions_and_tool_results() -> None:
    engine = Listening()
    async with gateway(engine=engine) as running, running.client() as client:
        await client.responses.create(
            model="spex/rebase-4",
            instructions="Speak like a tutor.",
            max_output_tokens=500,
            tools=[{"type": "function", "name": "add", "parameters": {}, "strict": False}],
            input=[
                {"role": "user", "content": [{"type": "input_text", "text": "Add 5 and 7."}]},
                {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "12"},
            ],
        )
        with pytest.raises(openai.BadRequestError):
            await client.responses.create(
                model="spex/rebase-4", input="And?", previous_response_id="resp_1"
            )
    system, user = engine.prompts[0].messages
    assert "Speak like a tutor." in system.content
    assert user.content.endswith("add: 12")


async def test_a_response_that_fails_says_so_in_its_stream() -> None:
    async with (
        gateway(speed=1, search_seconds=0.2) as running,
        running.client() as client,
    ):
        stream = await client.responses.create(
            model="spex/rebase-4", input="What is 5 + 7?", stream=True
        )
        last: Any = [event async for event in stream][-1]
        assert last.type == "response.failed"
        assert last.response.error.message.startswith("the search took longer")


async def test_langchains_tools_history_and_stream_do_not_break() -> None:
    @tool
    def add(one: int, other: int) -> int:
        """Add two numbers."""
        return one + other

    async with gateway(speed=1000) as running:
        model = openai_at(f"{running.url}/v1", "spex/rebase-4")
        bound = model.bind_tools([add])
        call = {"name": "add", "args": {"one": 5, "other": 7}, "id": "c1"}
        history = [
            HumanMessage("What is 5 + 7?"),
            AIMessage("", tool_calls=[call]),
            ToolMessage("12", tool_call_id="c1"),
        ]
        assert (await bound.ainvoke("What is 5 + 7?")).content
        assert (await bound.ainvoke(history)).content
        assert [part async for part in bound.astream(history)]
        await model.root_async_client.close()


# Answers of a form


class Sum(BaseModel):
    """A sum."""

    total: int
    unit: str


class Forms(SimulatedEngine):
    """Ends every thought with an object."""

    def __init__(self, said: str = '{"total": 12, "unit": "apples"}') -> None:
        super().__init__(speed=1000)
        self.said = said

    async def generate(self, *args: Any, **more: Any) -> Thought:
        made = await super().generate(*args, **more)
        return replace(made, text=f"{made.text} {self.said}")


async def test_openais_client_parses_answers_of_a_form() -> None:
    async with gateway(engine=Forms()) as running, running.client() as client:
        same: Any = {"model": "spex/rebase-4", "messages": QUESTION}
        parsed = await client.chat.completions.parse(response_format=Sum, **same)
        assert parsed.choices[0].message.parsed == Sum(total=12, unit="apples")
        response = await client.responses.parse(
            model="spex/rebase-4", input="What is 5 + 7?", text_format=Sum
        )
        assert response.output_parsed == Sum(total=12, unit="apples")
        loose = await client.chat.completions.create(
            response_format={"type": "json_object"}, **same
        )
        assert json.loads(loose.choices[0].message.content or "")["total"] == 12


async def test_where_no_thought_has_the_form_the_answer_is_a_refusal() -> None:
    async with gateway(engine=Forms("{}")) as running, running.client() as client:
        parsed = await client.chat.completions.parse(
            model="spex/rebase-4", messages=QUESTION, response_format=Sum
        )
        message = parsed.choices[0].message
        assert message.parsed is None
        assert message.content is None
        assert message.refusal


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
async def test_langchains_structured_output_is_what_it_says(method: Any) -> None:
    async with gateway(engine=Forms()) as running:
        model = openai_at(f"{running.url}/v1", "spex/rebase-4")
        structured = model.with_structured_output(Sum, method=method)
        assert await structured.ainvoke("What is 5 + 7?") == Sum(total=12, unit="apples")
        await model.root_async_client.close()


async def test_a_tool_that_must_be_called_is_called_in_streams_too() -> None:
    async with gateway(engine=Forms(), strict=True) as running, running.client() as client:
        arguments, finish = "", None
        async for chunk in await client.chat.completions.create(
            model="spex/rebase-4",
            messages=QUESTION,
            tools=[TOOL],
            tool_choice="required",
            stream=True,
        ):
            for choice in chunk.choices:
                for call in choice.delta.tool_calls or ():
                    assert call.function is not None
                    assert call.function.name == "add"
                    arguments += call.function.arguments or ""
                finish = choice.finish_reason or finish
        assert json.loads(arguments) == {"total": 12, "unit": "apples"}
        assert finish == "tool_calls"


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$ref": "http://169.254.169.254/latest"}, "within the schema"),
        ({"properties": {"a": {"allOf": [{"$ref": "file:///etc/passwd"}]}}}, "within the schema"),
        ({"properties": {"a": {"type": "string", "pattern": "(a+)+$"}}}, "patterns"),
        ({"type": "array"}, "object"),
        ({"properties": 7}, "7"),
        ({"$ref": "#"}, "to themselves"),
        ({"$ref": "#/nowhere"}, "to nothing"),
        (FANNED_OUT, "too many others"),
        ({"anyOf": [{}] * 2000}, "over 1000 parts"),
        ({"unevaluatedProperties": False}, "unevaluated"),
    ],
    ids=str,
)
async def test_schemas_that_fetch_or_never_end_are_refused(
    schema: dict[str, Any], words: str
) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    async with gateway(served=False) as running, running.http() as http:
        answer = await http.post(PATH, json={**ASKED, "response_format": wanted})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "response_format")
        assert words in answer.json()["error"]["message"]
        assert running.engine.decoded_tokens == 0


async def test_pages_of_other_sites_are_let_in_by_setting_alone() -> None:
    asked = {
        "Origin": "https://chat.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    async with gateway(served=False) as running, running.http() as http:
        answer = await http.options(PATH, headers=asked)
        assert answer.status_code == 204
        assert "POST" in answer.headers["Allow"]
        assert "Access-Control-Allow-Origin" not in answer.headers
    origins = ("https://chat.example",)
    async with (
        gateway(served=False, origins=origins, speed=1000) as running,
        running.http() as http,
    ):
        answer = await http.options(PATH, headers=asked)
        assert answer.headers["Access-Control-Allow-Origin"] == "https://chat.example"
        done = await http.post(PATH, json=ASKED, headers={"Origin": "https://chat.example"})
        assert done.headers["Access-Control-Allow-Origin"] == "https://chat.example"
        assert "X-Spex-Search-Id" in done.headers["Access-Control-Expose-Headers"]
        other = await http.options(PATH, headers={**asked, "Origin": "https://other.example"})
        assert other.headers.get("Access-Control-Allow-Origin") != "https://other.example"


async def test_head_is_answered_as_get_without_a_body() -> None:
    async with gateway(speed=1) as running, running.http() as http:
        begun = (await http.post("/v1/searches", json=ASKED)).headers["Location"]
        for path in ("/healthz", "/v1/models", begun, f"{begun}/events"):
            answer: httpx.Response = await http.head(path)
            assert answer.status_code == 200, path
            assert answer.content == b""
            assert answer.headers["X-Request-Id"]
        assert (await http.head("/v1/searches/none")).status_code == 404
        assert (await http.delete(begun)).status_code == 204


async def test_the_clients_can_tell_a_request_by_its_id() -> None:
    async with gateway(speed=1000) as running, running.client() as client:
        done = await client.chat.completions.create(
            model="spex/rebase-4", messages=QUESTION, extra_headers={"X-Request-Id": "mine"}
        )
        assert done._request_id == "mine"
        with pytest.raises(openai.NotFoundError) as refused:
            await client.embeddings.create(model="spex/rebase-4", input="x")
        assert refused.value.request_id
