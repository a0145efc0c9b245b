"""What servers refuse, leave out and do in their own way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from scripted_server import Answer, ScriptedServer, as_text, scripted_server

from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.openai.dialects import ANY, DIALECTS, Dialect, dialect_of
from spex_agents.engines.openai.engine import OpenAIEngine
from spex_agents.engines.prompts import NEXT_STEP, Message, Prompt
from spex_agents.errors import EngineError, PromptTooLong, SettingsError
from spex_agents.search.tree import Thought

PROMPT = Prompt((Message("system", "Be brief."), Message("user", "2 + 2?")))
BEGUN = Prompt(PROMPT.messages, reply="Two and two.\n")


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with scripted_server() as server:
        yield server


async def write(engine: OpenAIEngine, prompt: Prompt = PROMPT, **how: Any) -> Thought:
    sampling = Sampling(**{"top_k": 0, **how})
    return await engine.generate(
        prompt, Request(id="run/0", seed=7), sampling=sampling, max_tokens=8
    )


def engine(server: ScriptedServer, dialect: Dialect | str = "vllm", **more: Any) -> OpenAIEngine:
    return OpenAIEngine(server.url, model="tiny", dialect=dialect, retries=0, **more)


def refused(said: str, param: str | None = None, status: int = 400) -> Answer:
    return Answer(status=status, said=said, error_fields={"param": param} if param else {})


@pytest.mark.parametrize(
    ("owner", "url", "name"),
    [
        ("vllm", "http://127.0.0.1:8000/v1", "vllm"),
        ("llamacpp", "http://127.0.0.1:8000/v1", "llamacpp"),
        ("library", "http://127.0.0.1:11434/v1", "ollama"),
        ("organization_owner", "http://127.0.0.1:1234/v1", "lmstudio"),
        ("system", "https://api.openai.com/v1", "openai"),
        (None, "https://api.together.xyz/v1", "together"),
        (None, "https://eu.api.mistral.ai/v1", "mistral"),
        ("tiny", "http://127.0.0.1:8080/v1", "tgi"),
        ("me", "http://notapi.openai.com.evil.org/v1", "any"),
    ],
)
def test_a_server_is_recognised_by_what_it_answers(owner: Any, url: str, name: str) -> None:
    assert dialect_of(owner, url, "tiny").name == name


def test_a_dialect_that_is_not_known_is_named_with_those_that_are() -> None:
    with pytest.raises(SettingsError, match=r"dialect='vlm': must be one of any, openai, sglang"):
        OpenAIEngine("http://127.0.0.1:1/v1", dialect="vlm")
    with pytest.raises(SettingsError, match=r"template='chat': must be one of chatml"):
        OpenAIEngine("http://127.0.0.1:1/v1", template="chat")


async def test_a_host_that_is_known_is_not_asked_what_it_is(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"vllm_env": {"VLLM_BATCH_INVARIANT": True}}
    server.app.get("/server_info")(lambda: told)
    async with OpenAIEngine(server.url, model="tiny", dialect="vllm") as opened:
        await write(opened)
        assert opened.features.exactness == "exact"  # a name tells what it is, and no more
    assert "/v1/models" not in server.paths
    at_home = replace(DIALECTS["mistral"], host="127.0.0.1")
    monkeypatch.setattr("spex_agents.engines.openai.dialects.DIALECTS", {"mistral": at_home})
    async with OpenAIEngine(server.url, model="tiny") as opened:
        await write(opened)
        assert (await opened.find_served()).dialect.name == "mistral"
    assert "/v1/models" not in server.paths


async def test_of_many_models_a_few_are_named(server: ScriptedServer) -> None:
    server.models = [(f"m{number}", "system") for number in range(300)]
    async with OpenAIEngine(server.url, retries=0) as opened:
        with pytest.raises(
            EngineError, match=r"serves 300 models \(m0, .*, m7, \.\.\.\): pass one"
        ):
            await write(opened)


async def test_a_nucleus_of_all_tokens_is_left_out_where_it_is_refused(
    server: ScriptedServer,
) -> None:
    async with engine(server, "tgi") as opened:
        await write(opened, top_p=1)
        await write(opened, top_p=0.9)
    assert [body.get("top_p") for body in server.bodies] == [None, 0.9]


async def test_a_list_of_models_may_be_bare(server: ScriptedServer) -> None:
    server.models_as_list = True
    async with OpenAIEngine(server.url) as opened:
        assert (await write(opened)).text == "It is 4."
    assert server.bodies[0]["model"] == "tiny"


@pytest.mark.parametrize(
    ("said", "param", "name"),
    [
        ("Unsupported value: 'temperature' does not support 0.8 with this model.", None, None),
        ("Only the default (1) value is supported.", "temperature", "temperature"),
        ("Unrecognized request argument supplied: seed", None, "seed"),
        ("body.stream_options: Extra inputs are not permitted", None, "stream_options"),
        ("min_p is not supported", None, "min_p"),
        ("stop: each stop sequence must contain non-whitespace", None, "stop"),
        ("Invalid 'stop': array too long. Expected at most 4 elements.", "stop", "stop"),
        ("chat_template is not supported for Mistral tokenizers.", None, "chat_template_kwargs"),
        ("logprobs are not supported with this model", None, "logprobs"),
        ("Unrecognized request arguments supplied: min_p, top_k", None, "top_k"),
        ('Invalid JSON payload received. Unknown name "seed": Cannot find field.', None, "seed"),
        ("`temperature` and `top_p` cannot both be specified. Please use only one.", None, "top_p"),
        ("Temperature must be 1 for this model", None, "temperature"),
        ("UnsupportedParamsError: openai does not support parameters: ['seed']", None, "seed"),
    ],
)
async def test_a_parameter_that_is_refused_is_left_out_from_then_on(
    server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
    said: str,
    param: str | None,
    name: str | None,
) -> None:
    name = name or "temperature"
    server.script.append(refused(said, param))
    server.default = Answer(tokens=("It", " is 4.", "\n", "So"))
    async with engine(server) as opened:
        thought = await write(opened, logprobs=name == "logprobs")
        assert (thought.text, thought.logprobs) == ("It is 4.", None)
        await write(opened)
        assert opened.features.exactness == ("unseeded" if name == "seed" else "seeded")
    first, *later = server.bodies
    assert name in first
    assert all(name not in body for body in later)
    assert len(later) == 2
    assert caplog.text.count(" refuses ") == 1


async def test_a_cap_by_another_name_is_used(server: ScriptedServer) -> None:
    said = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    server.script.append(refused(said, "max_tokens"))
    async with engine(server, ANY) as opened:
        await write(opened)
    assert [body.get("max_completion_tokens") for body in server.bodies] == [None, 8]
    assert "max_tokens" not in server.bodies[1]


async def test_a_cap_that_is_too_large_is_lowered(server: ScriptedServer) -> None:
    said = "max_tokens is too large: 8. This model supports at most 5 completion tokens."
    server.script.append(refused(said, "max_tokens"))
    async with engine(server, ANY) as opened:
        await write(opened)
        await write(opened)
    assert [body["max_tokens"] for body in server.bodies] == [8, 5, 5]


async def test_a_cap_beyond_the_context_is_no_refusal_of_the_parameter(
    server: ScriptedServer,
) -> None:
    said = (
        "'max_tokens' or 'max_completion_tokens' is too large: 8. This model's maximum context "
        "length is 6 tokens and your request has 3 input tokens (8 > 6 - 3)."
    )
    server.script.append(refused(said))
    async with engine(server) as opened:
        with pytest.raises(PromptTooLong, match="lower step_tokens= or thinking_tokens="):
            await write(opened)
        await write(opened)
    assert [body["max_tokens"] for body in server.bodies] == [8, 8]


async def test_as_many_alternatives_are_asked_for_as_the_server_allows(
    server: ScriptedServer,
) -> None:
    said = "Requested sample logprobs of 20, which is greater than max allowed: 5"
    server.script.append(refused(said))
    server.default = Answer(tokens=("+",), top={"+": -0.1})
    async with engine(server) as opened:
        scores = await opened.score(PROMPT, Request(id="run/0", seed=1), labels=("+",))
    assert scores["+"] > 0.9
    assert [body["top_logprobs"] for body in server.bodies] == [20, 5]


async def test_a_refusal_of_the_request_itself_ends_in_one_error(server: ScriptedServer) -> None:
    server.default = refused("the model is overdue")
    async with engine(server) as opened:
        with pytest.raises(EngineError, match="overdue"):
            await write(opened)
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "said",
    [
        "System role not supported",
        "Conversation roles must alternate user/assistant/user/assistant/...",
        "Only user, assistant and tool roles are supported, got system.",
        "Developer instruction is not enabled for models/gemma-3-27b-it",
        "Unexpected role 'system' after the beginning",
    ],
)
async def test_a_system_message_is_folded_in_where_templates_have_none(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, said: str
) -> None:
    server.script.append(refused(said))
    async with engine(server) as opened:
        await write(opened)
    assert server.bodies[1]["messages"] == [{"role": "user", "content": "Be brief.\n\n2 + 2?"}]
    assert "told within the user's turn" in caplog.text


@pytest.mark.parametrize(
    "said",
    [
        "This model does not support assistant message prefill.",
        "The conversation must end with a user message.",
        "Assistant response prefill is incompatible with enable_thinking.",
        "Expected last role User or Tool (or Assistant with prefix True) but got assistant",
    ],
)
async def test_where_a_partial_reply_is_refused_the_next_step_is_asked_for(
    server: ScriptedServer, said: str
) -> None:
    server.script.append(refused(said))
    server.default = Answer(tokens=("So 4.",))
    async with engine(server, "ollama") as opened:
        thought = await write(opened, BEGUN)
        assert (thought.text, thought.finish, thought.ends) == ("So 4.", "step", False)
    *_, reply, asked = server.bodies[1]["messages"]
    assert reply == {"role": "assistant", "content": "Two and two."}
    assert asked == {"role": "user", "content": NEXT_STEP}


async def test_a_reply_must_not_end_in_white_space_where_that_is_refused(
    server: ScriptedServer,
) -> None:
    server.script.append(refused("final assistant content cannot end with trailing whitespace"))
    server.default = Answer(tokens=("\n", "So 4.", "\n", "And"))
    async with engine(server, "ollama") as opened:
        assert (await write(opened, BEGUN)).text == "So 4."
    assert server.bodies[1]["messages"][-1]["content"] == "Two and two."


@pytest.mark.parametrize(
    ("dialect", "marks", "fields"),
    [
        ("ollama", {}, {}),
        ("tgi", {}, {"continue_final_message": True, "add_generation_prompt": False}),
        ("mistral", {"prefix": True}, {}),
    ],
)
async def test_a_partial_reply_is_sent_as_each_server_continues_it(
    server: ScriptedServer, dialect: str, marks: dict[str, Any], fields: dict[str, Any]
) -> None:
    server.default = Answer(tokens=("So 4.", "\n", "And"))
    async with engine(server, dialect) as opened:
        assert (await write(opened, BEGUN)).text == "So 4."
    (body,) = server.bodies
    assert body["messages"][-1] == {"role": "assistant", "content": BEGUN.reply, **marks}
    continuing = ("continue_final_message", "add_generation_prompt")
    assert {name: body[name] for name in continuing if name in body} == fields


async def test_a_hosted_model_is_asked_for_each_step(server: ScriptedServer) -> None:
    server.default = Answer(tokens=("So 4.", "\n", "And"))
    async with engine(server, "openai") as opened:
        assert (await write(opened, BEGUN)).text == "So 4."
        server.default = Answer(tokens=())
        assert (await write(opened, BEGUN)).ends
    assert server.bodies[0]["messages"][-1]["content"] == NEXT_STEP


@pytest.mark.parametrize(
    ("tokens", "continues"),
    [(("5", "\n", "6"), True), (("\n", "5"), True), (("Sure", "!"), False), (("1\n2",), False)],
)
async def test_an_unknown_server_is_asked_once_whether_it_continues(
    server: ScriptedServer, tokens: tuple[str, ...], continues: bool
) -> None:
    server.script.append(Answer(tokens=tokens))
    server.default = Answer(tokens=("So 4.",))
    async with engine(server, ANY) as opened:
        await write(opened, BEGUN)
        await write(opened, BEGUN)
    probe, first, second = server.bodies
    assert probe["messages"][-1]["content"].startswith("1\n2")
    for body in (first, second):
        assert (body["messages"][-1]["role"] == "assistant") is continues


async def test_a_line_end_that_a_server_trims_makes_no_empty_step(server: ScriptedServer) -> None:
    server.script.append(Answer(tokens=("\n",)))
    server.default = Answer(tokens=("\n", "So", " 4.", "\n", "And"))
    async with engine(server, "sglang") as opened:
        thought = await write(opened, BEGUN, logprobs=True)
    assert (thought.text, thought.finish) == ("So 4.", "step")
    assert thought.logprobs == (-0.5, -0.5, -0.5)
    first, second = server.bodies
    assert "stop" in first
    assert "stop" not in second


@pytest.mark.parametrize(
    ("info", "exactness"),
    [
        ({"vllm_env": {"VLLM_BATCH_INVARIANT": True}}, "exact"),
        ({"vllm_env": {"VLLM_BATCH_INVARIANT": False}}, "seeded"),
        ({"enable_deterministic_inference": True}, "exact"),
        ([], "seeded"),
    ],
)
async def test_a_server_whose_batches_change_nothing_is_exact(
    server: ScriptedServer, info: Any, exactness: str
) -> None:
    server.app.get("/server_info")(lambda: info)
    server.models = [("tiny", "vllm")]
    async with OpenAIEngine(server.url) as opened:
        await write(opened)
        assert opened.features.exactness == exactness


async def test_a_router_may_pass_json_on_as_text(server: ScriptedServer) -> None:
    asked: list[str] = []

    def tokenize(body: dict[str, Any]) -> Any:
        asked.append("messages" if "messages" in body else body["prompt"])
        return {"tokens": [1, 2], "token_strs": ["<|im_start|>", "assistant"]}

    server.app.get("/server_info")(lambda: {"vllm_env": {"VLLM_BATCH_INVARIANT": True}})
    server.app.post("/tokenize")(tokenize)
    server.models = [("tiny", "vllm")]
    as_text(server.app)
    async with OpenAIEngine(server.url) as opened:
        await write(opened, BEGUN)
        assert opened.features.exactness == "exact"
    assert asked == ["messages", BEGUN.reply]
    assert server.bodies[0]["prompt"] == [1, 2, 1, 2]


async def test_prompts_are_marked_where_a_host_remembers_them_up_to_marks(
    server: ScriptedServer,
) -> None:
    server.script.append(Answer(tokens=("5", "\n")))
    async with OpenAIEngine(
        server.url, model="anthropic/claude", dialect="openrouter", retries=0
    ) as opened:
        await write(opened, BEGUN)
    *_, user, reply = server.bodies[1]["messages"]
    for turn, text in ((user, "2 + 2?"), (reply, "Two and two.\n")):
        (part,) = turn["content"]
        assert part == {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}


@pytest.mark.parametrize(
    "told",
    [
        '"prompt_tokens_details": {"cached_tokens": 6}}',
        '"prompt_tokens_details": null, "prompt_cache_hit_tokens": 6}',
        '"cached_tokens": 6}',
        '"cache_read_input_tokens": 6, "cache_creation_input_tokens": 3}',
        '"prompt_tokens_details": null}, "timings": {"cache_n": 6, "prompt_n": 3}',
    ],
    ids=["openai", "deepseek", "moonshot", "anthropic", "llamacpp"],
)
async def test_prompt_tokens_that_were_cached_are_told(server: ScriptedServer, told: str) -> None:
    usage = f'{{"completion_tokens": 4, "prompt_tokens": 9, {told}'
    finish = '{"index": 0, "delta": {"content": "4"}, "finish_reason": "stop"}'
    server.default = Answer(raw=f'data: {{"choices": [{finish}], "usage": {usage}}}\n\n')
    asked = Request(id="run/0", seed=7)
    async with engine(server) as opened:
        sampling = Sampling(top_k=0)
        await opened.generate(PROMPT, asked, sampling=sampling, max_tokens=8)
    assert (asked.prompt_tokens, asked.cached_tokens) == (9, 6)


def test_every_dialect_has_a_name_of_its_own() -> None:
    assert all(name == dialect.name for name, dialect in DIALECTS.items())
    owners = [owner for dialect in DIALECTS.values() for owner in dialect.owners]
    assert len(owners) == len(set(owners))
