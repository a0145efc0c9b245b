"""Models that reason before they reply, at servers that tell so in each of their ways."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi.responses import JSONResponse
from scripted_server import Answer, ScriptedServer, scripted_server

from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.openai.dialects import ANY, DIALECTS, VLLM
from spex_agents.engines.openai.engine import OpenAIEngine
from spex_agents.engines.prompts import Message, Prompt, PromptTemplate
from spex_agents.engines.sglang.engine import SGLangEngine
from spex_agents.errors import EngineError, SettingsError
from spex_agents.nodes.state import thought_rows, tree_of
from spex_agents.search import Limits
from spex_agents.search.tree import Thought, Tree

PROMPT = Prompt((Message("user", "2 + 2?"),))
PARAGRAPHED = PromptTemplate(system="", delimiter="\n\n")
FIELDS = ("reasoning_content", "reasoning", "thinking")


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with scripted_server() as server:
        yield server


def stream(*deltas: dict[str, Any], usage: object = None, finish: str = "stop") -> Answer:
    chunks: list[object] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}], "usage": usage})
    raw = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    return Answer(raw=raw + "data: [DONE]\n\n")


def inline(*texts: str, finish: str = "stop") -> Answer:
    return stream(*({"content": text} for text in texts), finish=finish)


async def write(
    server: ScriptedServer, *answers: Answer, prompt: Prompt = PROMPT, **settings: Any
) -> Thought:
    server.script.extend(answers)
    sampling = Sampling(top_k=0, stop=settings.pop("stop", ("\n",)))
    async with OpenAIEngine(
        server.url, model="tiny", retries=0, **{"dialect": ANY, **settings}
    ) as engine:
        return await engine.generate(
            prompt, Request(id="run/0", seed=7), sampling=sampling, max_tokens=8
        )


@pytest.mark.parametrize("field", FIELDS)
async def test_reasoning_is_kept_apart_from_what_is_said(
    server: ScriptedServer, field: str
) -> None:
    reasoned = stream(
        {field: "First\nthis."}, {field: "\nThen."}, {"content": "\n\n4"}, {"content": "\nSo"}
    )
    thought = await write(server, reasoned, thinking="keep")
    assert (thought.text, thought.finish, thought.ends) == ("4", "step", False)
    assert thought.reasoning == "First\nthis.\nThen."
    assert thought.tokens == 4
    assert 0 < thought.reasoning_tokens < 4


async def test_reasoning_within_the_text_is_told_apart(server: ScriptedServer) -> None:
    reasoned = inline("<think>", "\nFirst.\n", "Then.\n", "</think>", "\n\n", "4", "\n", "So")
    thought = await write(server, reasoned, thinking="keep")
    assert (thought.text, thought.reasoning) == ("4", "First.\nThen.")


async def test_reasoning_that_the_prompt_has_opened_is_told_apart(server: ScriptedServer) -> None:
    thought = await write(
        server,
        Answer(tokens=("First.\n", "Then.", "\n</think>", "\n\n4", "\nSo")),
        thinking="keep",
        template=lambda prompt: "2 + 2?<think>\n",
    )
    assert (thought.text, thought.reasoning) == ("4", "First.\nThen.")


@pytest.mark.parametrize(
    "tokens",
    [["<think>", "\n"], ["<", "think", ">", "\u010a"], ["<think>", "<0x0A>"], ["\u2581<think>"]],
    ids=["special", "pieces", "bytes", "marked"],
)
async def test_a_block_that_the_server_s_template_opens_is_known_to_be_open(
    server: ScriptedServer, tokens: list[str]
) -> None:
    def tokenize(body: dict[str, Any]) -> Any:
        return {"tokens": [1, 2], "token_strs": ["assistant", *tokens]}

    server.app.post("/tokenize")(tokenize)
    lines = Answer(tokens=("First.\n", "Then.", "\n</think>", "\n\n4", "\nSo"))
    thought = await write(server, lines, thinking="keep", dialect="vllm")
    assert (thought.text, thought.reasoning) == ("4", "First.\nThen.")
    assert server.bodies[0]["prompt"] == [1, 2]


async def test_a_question_about_a_block_opens_none(server: ScriptedServer) -> None:
    def tokenize(body: dict[str, Any]) -> Any:
        return {"tokens": [1, 2], "token_strs": ["<think>", "<|im_end|>", "\n", "assistant", "\n"]}

    server.app.post("/tokenize")(tokenize)
    thought = await write(server, thinking="keep", dialect="vllm")
    assert (thought.text, thought.reasoning) == ("It is 4.", "")


async def test_stop_strings_are_not_sent_where_reasoning_is_kept(server: ScriptedServer) -> None:
    reasoned = stream({"reasoning": "Two\nand two."}, {"content": "4\n"})
    thought = await write(server, reasoned, thinking="keep", dialect="vllm", thinking_tokens=100)
    assert thought.text == "4"
    (body,) = server.bodies
    assert "stop" not in body
    assert body["max_tokens"] == 108


async def test_a_model_that_reasons_unexpectedly_is_asked_again_without_stops(
    server: ScriptedServer,
) -> None:
    stopped = stream({"reasoning_content": "First\n"})
    whole = stream({"reasoning_content": "First\nThen"}, {"content": "4\n"})
    thought = await write(server, stopped, whole, dialect="vllm")
    assert (thought.text, thought.reasoning) == ("4", "First\nThen")
    first, second = server.bodies
    assert first["stop"] == ["\n"]
    assert "stop" not in second
    assert second["max_tokens"] == 8 + 4096
    assert server.ids == ["run/0", "run/0~1"]


async def test_reasoning_that_is_hidden_gets_room_as_well(server: ScriptedServer) -> None:
    details = {"completion_tokens_details": {"reasoning_tokens": 8}, "completion_tokens": 8}
    nothing = stream(usage=details, finish="length")
    usage = {"completion_tokens_details": {"reasoning_tokens": 30}, "completion_tokens": 33}
    whole = stream({"content": "It is 4."}, usage=usage)
    thought = await write(server, nothing, whole, dialect="openai")
    assert (thought.text, thought.tokens, thought.reasoning_tokens) == ("It is 4.", 33, 30)
    assert [body["max_completion_tokens"] for body in server.bodies] == [8, 8 + 4096]


async def test_the_cap_of_a_step_holds_for_what_is_said(server: ScriptedServer) -> None:
    endless = stream({"reasoning": "Well."}, *({"content": "go"} for _ in range(60)))
    thought = await write(server, endless, thinking="keep")
    assert thought.finish == "length"
    assert thought.text == "go" * (len(thought.text) // 2)
    assert thought.tokens - thought.reasoning_tokens <= 9


async def test_reasoning_alone_is_said_to_be_that(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    alone = stream({"reasoning": "Hm."}, {"reasoning": " Well."}, finish="length")
    thought = await write(server, alone, thinking="keep")
    assert (thought.text, thought.finish, thought.ends) == ("", "reasoning", True)
    assert thought.reasoning == "Hm. Well."
    assert "raise thinking_tokens=, or set thinking='off'" in caplog.text


@pytest.mark.parametrize("dialect", [it for it in DIALECTS.values() if it.thinking_off])
async def test_reasoning_is_switched_off_by_the_servers_own_means(
    server: ScriptedServer, dialect: Any
) -> None:
    await write(server, dialect=dialect, thinking="off")
    (body,) = server.bodies
    assert dialect.thinking_off.items() <= body.items()


@pytest.mark.parametrize("dialect", ["sglang", "vllm", "llamacpp", "deepseek", "openrouter"])
@pytest.mark.parametrize("thinking", ["auto", "keep"])
async def test_models_that_reason_only_if_told_to_are_told(
    server: ScriptedServer, dialect: str, thinking: Any
) -> None:
    await write(server, dialect=dialect, thinking=thinking)
    told = DIALECTS[dialect].thinking_on
    assert all((server.bodies[0].get(key) == told[key]) == (thinking == "keep") for key in told)


async def test_where_no_means_is_known_that_is_said(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    await write(server, thinking="off")
    assert "no means is known to switch reasoning off" in caplog.text


def test_thinking_has_three_values() -> None:
    with pytest.raises(SettingsError, match=r"thinking='no': must be one of auto, off, keep"):
        OpenAIEngine("http://127.0.0.1:1/v1", thinking="no")  # type: ignore[arg-type]


BEGUN = PromptTemplate(system="").prompt(
    "2 + 2?", [Thought(text="Two and two.", tokens=9, reasoning="Easy.", reasoning_tokens=3)]
)


async def test_a_partial_reply_is_written_as_the_model_writes_it(server: ScriptedServer) -> None:
    asked: list[dict[str, Any]] = []

    async def tokenize(body: dict[str, Any]) -> Any:
        asked.append(body)
        if "messages" in body:
            return JSONResponse({"tokens": [1, 2], "token_strs": ["<|im_start|>", "assistant"]})
        return JSONResponse({"tokens": [3, 4, 5]})

    server.app.post("/tokenize")(tokenize)
    await write(server, prompt=BEGUN, dialect=VLLM, thinking="keep")
    assert server.bodies[0]["prompt"] == [1, 2, 3, 4, 5]
    assert "messages" not in server.bodies[0]
    head, rest = asked
    assert head["messages"] == [{"role": "user", "content": "2 + 2?"}]
    assert rest["prompt"] == "<think>\nEasy.\n</think>\n\nTwo and two.\n"
    assert rest["add_special_tokens"] is False


async def test_a_template_that_opens_the_reasoning_is_gone_on_with(server: ScriptedServer) -> None:
    async def apply(body: dict[str, Any]) -> Any:
        return {"prompt": "<|user|>2 + 2?<|assistant|><think>\n"}

    server.app.post("/apply-template")(apply)
    await write(server, prompt=BEGUN, dialect="llamacpp", thinking="keep")
    assert server.bodies[0]["prompt"].endswith("<think>\nEasy.\n</think>\n\nTwo and two.\n")
    await write(server, prompt=Prompt(PROMPT.messages, "Two.\n"), dialect="llamacpp")
    assert server.bodies[1]["prompt"].endswith("<think>\n\n</think>\n\nTwo.\n")


async def test_a_server_that_writes_no_prompts_continues_messages(server: ScriptedServer) -> None:
    await write(server, prompt=BEGUN, dialect=VLLM, thinking="keep")
    (body,) = server.bodies
    assert body["messages"][-1] == {
        "role": "assistant",
        "content": "Two and two.\n",
        "reasoning_content": "Easy.",
        "reasoning": "Easy.",
    }
    assert body["continue_final_message"] is True


def test_reasoning_survives_a_checkpoint_and_counts_in_the_hash() -> None:
    plain = Thought(text="4", tokens=3)
    reasoned = Thought(text="4", tokens=9, reasoning="Easy.", reasoning_tokens=6)
    subject = {"question": "2 + 2?", "seed": 0}
    rows = thought_rows({(0,): reasoned})
    assert tree_of({"subject": subject, "thoughts": rows}).thought((0,)) == reasoned
    assert "reasoning" not in thought_rows({(0,): plain})[0]
    hashes = {Tree("2 + 2?", 0, {(0,): it}).sha256() for it in (plain, reasoned)}
    assert len(hashes) == 2


def test_reasoning_does_not_use_up_a_paths_tokens() -> None:
    reasoned = Thought(text="4", tokens=900, reasoning="...", reasoning_tokens=890)
    limits = Limits(path_tokens=100, step_tokens=50)
    assert limits.room([reasoned]) == 50
    assert not limits.close(reasoned, []).ends


async def test_pieces_of_the_reasoning_are_thoughts_where_prompts_are_written_out(
    server: ScriptedServer,
) -> None:
    async def apply(body: dict[str, Any]) -> Any:
        return {"prompt": "<|user|>2 + 2?<|assistant|><think>\n"}

    server.app.post("/apply-template")(apply)
    settings: dict[str, Any] = {"dialect": "llamacpp", "thinking": "steps"}
    first = await write(server, **settings)
    assert server.bodies[0]["prompt"].endswith("<|assistant|><think>\n")
    assert (first.text, first.reasoning) == ("<think>\nIt is 4.", "")
    begun = PromptTemplate(system="").prompt("2 + 2?", [replace(first, finish="step")])
    assert (await write(server, prompt=begun, **settings)).text == "It is 4."
    assert server.bodies[1]["prompt"].endswith("<|assistant|><think>\nIt is 4.\n")


async def test_pieces_of_the_reasoning_are_written_by_token_ids_at_vllm(
    server: ScriptedServer,
) -> None:
    asked: list[dict[str, Any]] = []

    def tokenize(body: dict[str, Any]) -> Any:
        asked.append(body)
        if "messages" in body:
            return {"tokens": [1, 2, 3], "token_strs": ["assistant", "<think>", "\n"]}
        return {"tokens": [7, 8]}

    server.app.post("/tokenize")(tokenize)
    settings: dict[str, Any] = {"dialect": "vllm", "thinking": "steps", "stop": ("\n\n",)}
    piece = Answer(tokens=("Two", " and two.", "\n\n"))
    first = await write(server, piece, **settings)
    assert (first.text, first.finish, first.reasoning) == ("<think>\nTwo and two.", "step", "")
    begun = PARAGRAPHED.prompt("2 + 2?", [first])
    last = await write(server, Answer(tokens=("</think>", "\n\n")), prompt=begun, **settings)
    assert (last.text, last.finish) == ("</think>", "step")
    assert [body["prompt"] for body in server.bodies] == [[1, 2, 3], [1, 2, 3, 7, 8]]
    assert server.bodies[0]["stop"] == ["\n\n"]
    assert server.bodies[0]["max_tokens"] == 8
    assert asked[0]["chat_template_kwargs"] == {"enable_thinking": True, "thinking": True}
    assert asked[-1]["prompt"] == "Two and two.\n\n"  # what opens it is in the head


async def test_pieces_of_the_reasoning_are_written_by_token_ids_at_sglang(
    server: ScriptedServer,
) -> None:
    heads: list[dict[str, Any]] = []

    def tokenize(body: dict[str, Any]) -> Any:
        if "messages" in body:
            heads.append(body)
            return {"tokens": [1, 2, 3]}
        return {"tokens": [len(body["prompt"])]}

    def detokenize(body: dict[str, Any]) -> Any:
        return {"text": "assistant\n<think>\n"}

    server.app.get("/server_info")(lambda: {"version": "0.5.23", "internal_states": [{}]})
    server.app.post("/tokenize")(tokenize)
    server.app.post("/detokenize")(detokenize)
    server.script.extend(
        [Answer(tokens=("Two", " and two.", "\n\n")), Answer(tokens=("</think>", "\n\n"))]
    )
    sampling = Sampling(stop=("\n\n",))
    async with SGLangEngine(server.url, thinking="steps", retries=0) as engine:
        asked = Request(id="run/0", seed=7)
        first = await engine.generate(PROMPT, asked, sampling=sampling, max_tokens=8)
        assert (first.text, first.reasoning) == ("<think>\nTwo and two.", "")
        begun = PARAGRAPHED.prompt("2 + 2?", [replace(first, finish="step")])
        asked = Request(id="run/0.0", seed=7)
        last = await engine.generate(begun, asked, sampling=sampling, max_tokens=8)
    assert last.text == "</think>"
    first_body, second_body = server.bodies
    assert first_body["input_ids"] == [1, 2, 3]
    assert second_body["input_ids"] == [1, 2, 3, len("Two and two.\n\n")]
    assert first_body["sampling_params"]["stop"] == ["\n\n"]
    assert heads[0]["chat_template_kwargs"] == {"enable_thinking": True, "thinking": True}


async def test_reasoning_that_comes_apart_is_in_no_pieces(server: ScriptedServer) -> None:
    answer = stream({"reasoning_content": "Easy."}, {"content": "4"})
    with pytest.raises(EngineError, match="thinking='steps' needs template="):
        await write(server, answer, thinking="steps")
