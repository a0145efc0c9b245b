"""Requests in the shapes of Open WebUI, LibreChat, Continue and Cursor, and what these read.

The files in `data/gateway_clients` were written by hand after the sources that each of them names:
which fields are sent with which values, in which headers, and what is read of the answer. No code
of theirs is in them, and they are no recordings: none of the four runs here.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from gateways import gateway

from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.search import Thought
from spex_agents.server.gateway.requests import ChatRequest

DATA = Path(__file__).parent / "data" / "gateway_clients"
SENT: dict[str, Any] = {
    file.stem: json.loads(file.read_text()) for file in sorted(DATA.glob("*.json"))
}


class Saying(SimulatedEngine):
    """Ends every thought with an object, and remembers what it was asked."""

    def __init__(self, said: object = None) -> None:
        super().__init__(speed=1000)
        self.said = "" if said is None else json.dumps(said)
        self.prompts: list[Prompt] = []

    async def generate(self, prompt: Prompt, *args: Any, **more: Any) -> Thought:
        self.prompts.append(prompt)
        made = await super().generate(prompt, *args, **more)
        return replace(made, text=f"{made.text} {self.said}".strip())


async def ask(engine: Saying, sent: dict[str, Any]) -> httpx.Response:
    async with gateway(served=False, engine=engine) as running, running.http("none") as http:
        answer = await http.post(sent["path"], json=sent["body"], headers=sent["headers"])
    assert answer.status_code == 200, answer.text
    return answer


def chunks_of(answer: httpx.Response) -> list[dict[str, Any]]:
    """The chunks of a stream as all four read it: line by line, until it says that it is done."""
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    lines = [line for line in answer.text.splitlines() if line]
    assert all(line.startswith(("data: ", ": ", "event: ")) for line in lines)
    told = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert told[-1] == "[DONE]"
    return [json.loads(line) for line in told[:-1]]


def put_together(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """The message of a stream, by what the clients look at: calls are told apart by `index`."""
    message: dict[str, Any] = {"content": "", "tool_calls": []}
    for chunk in chunks:
        assert {"id", "object", "created", "model", "choices"} <= chunk.keys()
        for choice in chunk["choices"]:
            delta = choice["delta"]
            message["role"] = delta.get("role") or message["role"]
            message["content"] += delta.get("content") or ""
            message["finish_reason"] = choice["finish_reason"]
            for call in delta.get("tool_calls") or ():
                assert call["index"] == len(message["tool_calls"])
                assert call["id"]
                assert call["type"] == "function"
                message["tool_calls"].append(call["function"])
    return message


@pytest.mark.parametrize("name", [name for name in SENT if SENT[name]["body"].get("stream")])
async def test_a_stream_has_what_the_client_reads(name: str) -> None:
    sent = SENT[name]
    says = sent.get("says")
    chunks = chunks_of(await ask(Saying(says), sent))
    if sent["path"] == "/v1/completions":
        assert "".join(choice["text"] for chunk in chunks for choice in chunk["choices"])
        return
    message = put_together(chunks)
    assert message["role"] == "assistant"
    limited = "max_tokens" in sent["body"]
    ends = {"stop", "length"} if limited else {"stop"}
    assert message["finish_reason"] in (ends if says is None else {"tool_calls"})
    assert bool(message["content"]) is (says is None)
    called = [
        {"name": call["name"], "arguments": json.loads(call["arguments"])}
        for call in message["tool_calls"]
    ]
    assert called == ([] if says is None else [says])
    assert sent["body"]["stream_options"]["include_usage"]
    *rest, last = chunks
    assert last["choices"] == []
    usage = last["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    assert usage["completion_tokens_details"]["reasoning_tokens"] >= 0
    assert all(chunk["usage"] is None for chunk in rest)


@pytest.mark.parametrize("name", [name for name in SENT if not SENT[name]["body"].get("stream")])
async def test_an_answer_has_what_the_client_reads(name: str) -> None:
    sent = SENT[name]
    says = sent.get("says")
    done = (await ask(Saying(says), sent)).json()
    (choice,) = done["choices"]
    if says is None:
        assert choice["message"]["content"]
        assert not choice["message"]["tool_calls"]
    else:
        (call,) = choice["message"]["tool_calls"]
        assert json.loads(call["function"]["arguments"]) == says
    assert choice["message"]["role"] == "assistant"
    assert done["usage"]["prompt_tokens_details"]["cached_tokens"] >= 0


@pytest.mark.parametrize("name", ["continue_agent", "cursor_agent"])
async def test_what_was_called_and_returned_reaches_the_prompt(name: str) -> None:
    engine = Saying()
    await ask(engine, SENT[name])
    system, user = engine.prompts[0].messages
    assert "You are" in system.content
    assert "create_new_file" in system.content
    assert "ApplyPatch" not in system.content  # whose text no JSON schema describes
    assert "Add the numbers in sum.txt" in user.content
    assert '[calls read_file with {"filepath": "sum.txt"}]' in user.content
    assert user.content.endswith("read_file: 5 + 7")


async def test_a_text_that_a_tool_was_called_with_reaches_the_prompt_and_chat_models() -> None:
    """As items of a response, as a chat's tool call, and in the function that Cursor knows."""
    items = SENT["cursor_patched"]["body"]["input"]
    patch = items[-2]["input"]
    engine = Saying()
    await ask(engine, SENT["cursor_patched"])
    (_, user) = engine.prompts[0].messages
    assert f"[calls ApplyPatch with {patch}]" in user.content
    assert user.content.endswith("ApplyPatch: Success. Updated sum.txt")
    for called in (
        {"type": "custom", "custom": {"name": "ApplyPatch", "input": patch}},
        {"type": "function", "function": {"name": "ApplyPatch", "arguments": patch}},
    ):
        turns: Any = [
            {"role": "user", "content": "Add the numbers in sum.txt"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "call_2", **called}]},
            {"role": "tool", "tool_call_id": "call_2", "content": "Success. Updated sum.txt"},
        ]
        request = ChatRequest.model_validate({"model": "spex/rebase-4", "messages": turns})
        again = ChatRequest.model_validate(request.saved)
        assert again.fingerprint == request.fingerprint
        for one in (request, again):
            assert f"[calls ApplyPatch with {patch}]" in one.asked.question
            (call,) = cast(Any, one.asked_with_tools.conversation).turns[1].source.tool_calls
            assert call["args"] == {"input": patch}


@pytest.mark.parametrize("name", ["cursor_agent", "cursor_patched"])
async def test_a_tool_whose_text_has_a_grammar_is_strictly_refused(name: str) -> None:
    sent = SENT[name]
    async with gateway(served=False, strict=True) as running, running.http("none") as http:
        refused = await http.post(sent["path"], json=sent["body"], headers=sent["headers"])
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "tools")
        tools = [tool for tool in sent["body"]["tools"] if tool["type"] == "function"]
        answer = await http.post(sent["path"], json={**sent["body"], "tools": tools})
        assert answer.status_code == 200


async def test_the_list_of_models_has_what_clients_read() -> None:
    """Open WebUI, LibreChat and Continue: the `id` of each in `data`; from a browser, too."""
    preflight = {
        "Origin": "https://chat.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang",
    }
    origins = ("https://chat.example",)
    async with (
        gateway(served=False, origins=origins) as running,
        running.http("none") as http,
    ):
        allowed = await http.options("/v1/models", headers=preflight)
        assert allowed.status_code == 200
        for name in ("authorization", "content-type", "x-stainless-lang"):
            assert name in allowed.headers["Access-Control-Allow-Headers"].lower()
        answer = await http.get("/v1/models", headers={"Origin": "https://chat.example"})
        assert answer.headers["Access-Control-Allow-Origin"] == "https://chat.example"
        listed = answer.json()
        assert listed["object"] == "list"
        assert any(model["id"].startswith("spex/rebase") for model in listed["data"])
        for model in listed["data"]:
            assert (model["object"], type(model["created"])) == ("model", int)
            assert model["owned_by"]


async def test_an_error_has_what_clients_read() -> None:
    """`error.message` as text, and in a stream that has begun as an event of its own."""
    body = {**SENT["continue_chat"]["body"], "model": "spex/none"}
    async with gateway(served=False) as running, running.http("none") as http:
        refused = await http.post("/v1/chat/completions", json=body)
        assert refused.status_code == 404
        assert isinstance(refused.json()["error"]["message"], str)
    async with gateway(speed=1, search_seconds=0.2) as running, running.http("none") as http:
        answer = await http.post("/v1/chat/completions", json=SENT["continue_chat"]["body"])
        last = answer.text.strip().splitlines()[-1]
        assert json.loads(last.removeprefix("data: "))["error"]["message"]
