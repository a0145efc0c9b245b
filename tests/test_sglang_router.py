"""The SGLang engine at a router that answers by script: what goes where, and what may be down."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from scripted_server import as_text, serve

from spex_agents.engines import base
from spex_agents.engines.base import Load, Sampling
from spex_agents.engines.openai.failures import BrokenReply
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.engines.sglang.engine import SGLangEngine, engine_at
from spex_agents.engines.sglang.prompts import PromptReader
from spex_agents.engines.sglang.workers import GenerateReply, Worker, read_workers
from spex_agents.errors import EngineError
from spex_agents.search import Thought

PROMPT = Prompt((Message("user", "2 + 2?"),))
ALL = ("admission", "abort", "promotion", "seeds", "counters")
TOKENS = ("It", " is", " 4", ".")
NOWHERE = "http://127.0.0.1:9"


class Native:
    """A worker's endpoints, without those that the router has."""

    def __init__(self, features: tuple[str, ...] = ALL) -> None:
        self.features = features
        self.url = ""
        self.aborted: list[str] = []
        self.asked: list[str] = []
        self.answers = anyio.Event()
        self.answers.set()
        self.told_to_end = anyio.Event()
        self.app = FastAPI()
        self.app.get("/server_info")(self._info)
        self.app.post("/abort_request")(self._abort)
        self.app.post("/tokenize")(self._tokenize)
        self.app.post("/classify")(self._classify)

    async def _info(self) -> Any:
        await self._answering("/server_info")
        plugin = {"features": self.features, "running": 3, "waiting": 2}
        state = {"spex": plugin} if self.features else {}
        return {
            "version": "0.5.23",
            "enable_priority_scheduling": True,
            "internal_states": [state],
        }

    async def _abort(self, body: dict[str, str]) -> Any:
        await self._answering("/abort_request")
        self.aborted.append(body["rid"])
        if body["rid"].endswith("abort:run/0.1/thought-1;"):
            self.told_to_end.set()
        return JSONResponse(None)

    async def _tokenize(self, body: dict[str, Any]) -> Any:
        await self._answering("/tokenize")
        return {"tokens": [11, 12, len(body["messages"])] if "messages" in body else [7]}

    async def _classify(self, body: dict[str, Any]) -> Any:
        await self._answering("/classify")
        return {"embedding": [0.5], "meta_info": {"id": body["rid"]}}

    async def _answering(self, path: str) -> None:
        self.asked.append(path)
        await self.answers.wait()


class Router:
    """Passes on what sglang-router 0.3.2 passes on; writes by itself."""

    def __init__(self, *workers: str) -> None:
        self.workers = [{"url": url, "is_healthy": True} for url in workers]
        self.url = ""
        self.bodies: list[dict[str, Any]] = []
        self.hang: anyio.Event | None = None
        self.in_pieces = False
        self.app = FastAPI()
        self.app.get("/workers")(self._list)
        self.app.get("/v1/models")(self._models)
        self.app.post("/generate")(self._generate)

    async def _list(self) -> Any:
        return {"workers": self.workers, "total": len(self.workers)}

    async def _models(self) -> Any:
        return {"object": "list", "data": [{"id": "tiny", "object": "model", "owned_by": "local"}]}

    async def _generate(self, request: Request) -> Any:
        body = await request.json()
        self.bodies.append(body)
        if body.get("stream"):
            return StreamingResponse(self._stream(), media_type="text/event-stream")
        found = [[-0.25, token, None] for token in body["token_ids_logprob"]]
        return {"text": "", "meta_info": {"output_token_ids_logprobs": [found]}}

    async def _stream(self) -> AsyncIterator[str]:
        for number in range(1, len(TOKENS) + 1):
            first = number - 1 if self.in_pieces else 0
            yield _chunk(TOKENS[first:number], number, last=number == len(TOKENS) and not self.hang)
        if self.hang:
            await self.hang.wait()
        yield "data: [DONE]\n\n"


def _chunk(tokens: tuple[str, ...], number: int, *, last: bool) -> str:
    meta = {
        "completion_tokens": number,
        "finish_reason": {"type": "stop", "matched": "\n"} if last else None,
        "output_token_logprobs": [[-0.5, 1, token] for token in tokens],
    }
    chunk = {"text": "".join(tokens), "output_ids": [1] * len(tokens), "meta_info": meta}
    return f"data: {json.dumps(chunk)}\n\n"


@asynccontextmanager
async def behind_router(*workers: Native, down: bool = False) -> AsyncIterator[Router]:
    """A router in front of workers, one more of which may be down."""
    async with AsyncExitStack() as stack:
        for worker in workers:
            worker.url = await stack.enter_async_context(serve(worker.app))
        router = Router(*(worker.url for worker in workers), *([NOWHERE] if down else []))
        router.url = await stack.enter_async_context(serve(router.app))
        yield router


def engine(router: Router, **settings: Any) -> SGLangEngine:
    return SGLangEngine(f"{router.url}/v1", **{"retries": 2, "retry_wait": 0.01, **settings})


def request(*, demanded: bool = True) -> base.Request:
    return base.Request(id="run/0.1/thought-1", seed=7, demanded=demanded)


async def generate(
    sglang: SGLangEngine, asked: base.Request, *, logprobs: bool = False, top_k: int = 5
) -> Thought:
    sampling = Sampling(stop=("\n",), logprobs=logprobs, top_k=top_k)
    return await sglang.generate(PROMPT, asked, sampling=sampling, max_tokens=16)


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not holds():  # noqa: ASYNC110 (the engine tells nobody)
            await anyio.sleep(0.01)


async def test_a_thought_goes_through_the_router_with_its_id_class_and_seed() -> None:
    async with behind_router(Native(), Native()) as router, engine(router) as sglang:
        thought = await generate(sglang, request(), logprobs=True)
        await generate(sglang, request(demanded=False))
    assert thought.text == "It is 4."
    assert thought.logprobs == (-0.5,) * 4
    assert thought.tokens == 4
    asked, guessed = router.bodies
    assert asked["rid"] == guessed["rid"] == "run/0.1/thought-1;"
    assert asked["priority"] > guessed["priority"]
    assert asked["input_ids"] == [11, 12, 1]
    assert asked["return_logprob"]
    sampling = asked["sampling_params"]
    assert (sampling["sampling_seed"], sampling["max_new_tokens"]) == (7, 16)
    assert (sampling["stop"], sampling["no_stop_trim"]) == (["\n"], True)
    assert sampling["top_k"] == 5


async def test_a_template_writes_the_prompt_there_too() -> None:
    async with (
        behind_router(Native()) as router,
        engine(router, template=lambda prompt: "2 + 2 =") as sglang,
    ):
        await generate(sglang, request())
    assert router.bodies[0]["input_ids"] == [7]


async def test_a_stream_of_pieces_is_put_together() -> None:
    async with behind_router(Native()) as router, engine(router) as sglang:
        router.in_pieces = True
        thought = await generate(sglang, request(), logprobs=True)
    assert thought.text == "It is 4."
    assert thought.logprobs == (-0.5,) * 4


async def test_labels_are_scored_through_the_router() -> None:
    async with behind_router(Native()) as router, engine(router) as sglang:
        chances = await sglang.score(PROMPT, request(), labels=["+"])
    assert chances["+"] == pytest.approx(0.7788, abs=1e-4)
    assert router.bodies[0]["token_ids_logprob"] == [7]


async def test_what_the_router_lacks_is_asked_of_the_same_worker_for_one_search() -> None:
    workers = Native(), Native(), Native()
    async with behind_router(*workers) as router, engine(router) as sglang:
        for number in range(4):
            asked = base.Request(id=f"run/0.{number}/reward-1", seed=1)
            assert await PromptReader(sglang.server).classify([1, 2], asked) == [0.5]
    assert sorted(worker.asked.count("/classify") for worker in workers) == [0, 0, 4]


async def test_messages_reach_every_worker() -> None:
    workers = Native(), Native()
    async with behind_router(*workers) as router, engine(router) as sglang:
        router.hang = workers[0].told_to_end
        asked = request(demanded=False)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(generate, sglang, asked)
            await until(lambda: asked.tokens == 4)
            await sglang.promote(asked)
            await sglang.prune("run/0.3")
            tasks.cancel_scope.cancel()
    for worker in workers:
        assert worker.aborted == [
            "spex:promote:run/0.1/thought-1;",
            "spex:abort:run/0.3",
            "spex:abort:run/0.1/thought-1;",
        ]


async def test_plain_workers_are_told_of_aborts_by_plain_ids() -> None:
    workers = Native(()), Native(())
    async with behind_router(*workers) as router, engine(router) as sglang:
        await sglang.describe()
        await sglang.server.send("abort", "run/0.1/thought-1;")
        await sglang.server.send("promote", "run/0.1/thought-1;")
    assert [worker.aborted for worker in workers] == [["run/0.1/thought-1;"]] * 2


async def test_loads_add_up() -> None:
    async with behind_router(Native(), Native()) as router, engine(router) as sglang:
        assert await sglang.load() == Load(running=6, waiting=4)


async def test_features_are_those_that_all_workers_have(caplog: pytest.LogCaptureFixture) -> None:
    some = tuple(feature for feature in ALL if feature != "seeds")
    async with behind_router(Native(), Native(some)) as router, engine(router) as sglang:
        with caplog.at_level(logging.WARNING):
            described = await sglang.describe()
        assert sglang.features.promotion
        assert sglang.features.exactness == "unseeded"
    assert "no seeds" in described
    assert "no promotion" not in described


async def test_a_worker_that_is_down_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    worker = Native()
    async with behind_router(worker, down=True) as router, engine(router) as sglang:
        assert await sglang.load() == Load(running=3, waiting=2)
        assert sglang.features.promotion
        for _ in range(4):  # each tokenises at another worker
            assert (await generate(sglang, request())).text == "It is 4."
        await sglang.prune("run/0.3")
    assert worker.aborted == ["spex:abort:run/0.3"]
    assert f"{NOWHERE} did not take" in caplog.text


async def test_a_worker_that_hangs_does_not_delay_the_end_of_work_at_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    confirm = "spex_agents.engines.sglang.client.CONFIRM_SECONDS"
    monkeypatch.setattr(confirm, 60.0)
    workers = Native(), Native()
    async with behind_router(*workers) as router, engine(router) as sglang:
        router.hang = workers[0].told_to_end
        asked = request()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(generate, sglang, asked)
            await until(lambda: asked.tokens == 4)
            workers[1].answers = anyio.Event()
            begun = anyio.current_time()
            tasks.cancel_scope.cancel()
        assert anyio.current_time() - begun < 30
        assert workers[0].aborted == ["spex:abort:run/0.1/thought-1;"]
        monkeypatch.setattr(confirm, 1.0)
        await sglang.prune("run/0.3")
        assert workers[0].aborted[1:] == ["spex:abort:run/0.3"]
        workers[1].answers.set()


async def test_workers_that_are_all_down_are_an_error() -> None:
    async with behind_router(down=True) as router, engine(router, retries=0) as sglang:
        with pytest.raises(EngineError):
            await sglang.load()


async def test_a_router_without_workers_is_asked_again() -> None:
    async with behind_router(Native()) as router, engine(router) as sglang:
        listed, router.workers = router.workers, []
        with pytest.raises(EngineError, match="no workers"):
            await generate(sglang, request())
        router.workers = listed
        assert (await generate(sglang, request())).text == "It is 4."


async def test_a_worker_that_joins_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spex_agents.engines.sglang.workers.LISTED_SECONDS", 0.0)
    workers = Native(), Native()
    async with behind_router(*workers) as router, engine(router) as sglang:
        late = router.workers.pop()
        assert await sglang.load() == Load(running=3, waiting=2)
        router.workers.append(late)
        assert await sglang.load() == Load(running=6, waiting=4)


async def test_workers_can_be_given() -> None:
    worker = Native()
    async with behind_router(worker) as router:
        router.workers = [{"url": NOWHERE}]
        async with engine(router, workers=[f"{worker.url}/v1"]) as sglang:
            await sglang.describe()
            await sglang.prune("run/0.3")
    assert worker.aborted == ["spex:abort:run/0.3"]


async def test_a_router_may_pass_json_on_as_text() -> None:
    worker = Native()
    as_text(worker.app)
    async with behind_router(worker) as router:
        as_text(router.app)
        chosen = await anyio.to_thread.run_sync(lambda: engine_at(f"{router.url}/v1"))
        assert type(chosen) is SGLangEngine
        async with chosen:
            assert (await generate(chosen, request())).text == "".join(TOKENS).rstrip("\n")
            labels = await chosen.score(PROMPT, request(), labels=("+",))
            assert labels == {"+": pytest.approx(math.exp(-0.25))}
            assert chosen.features.exactness == "seeded"
            assert await chosen.load() == base.Load(running=3, waiting=2)


async def test_a_router_gets_the_engine_for_sglang() -> None:
    async with behind_router(Native()) as router:
        chosen = await anyio.to_thread.run_sync(lambda: engine_at(f"{router.url}/v1"))
    assert type(chosen) is SGLangEngine


@pytest.mark.parametrize(
    ("listed", "router", "seen"),
    [
        ("http://127.0.0.1:31001", "http://127.0.0.1:30000", "http://127.0.0.1:31001"),
        ("http://127.0.0.1:31001/", "http://box:30000", "http://box:31001"),
        ("http://localhost:31001", "http://[fd00::1]:30000", "http://[fd00::1]:31001"),
        ("http://10.0.0.2:31001@1", "http://box:30000", "http://10.0.0.2:31001"),
    ],
)
def test_workers_are_seen_from_here(listed: str, router: str, seen: str) -> None:
    assert read_workers({"workers": [{"url": listed}]}, router) == (Worker(seen),)


def test_workers_are_listed_once_and_healthy_ones_first() -> None:
    listed = [
        {"url": "http://a:1@0", "is_healthy": False},
        {"url": "http://a:1@1", "is_healthy": False},
        {"url": "http://b:1", "is_healthy": True},
        {"url": "grpc://c:1", "is_healthy": True},
    ]
    found = read_workers({"workers": listed}, "http://box:30000")
    assert found == (Worker("http://b:1"), Worker("http://a:1", healthy=False))


@pytest.mark.parametrize("found", [None, [], "<html>", {"workers": 3}, {"workers": [{}]}])
def test_what_is_no_list_of_workers_is_no_router(found: object) -> None:
    assert read_workers(found, "http://box:30000") == ()


@pytest.mark.parametrize("workers", [[], [{"url": "grpc://a:1"}]])
def test_a_list_without_usable_workers_is_worth_another_try(workers: object) -> None:
    with pytest.raises(BrokenReply):
        read_workers({"workers": workers}, "http://box:30000")


@pytest.mark.parametrize("meta", [{}, {"finish_reason": None, "completion_tokens": None}])
def test_an_answer_without_tokens_is_read(meta: Mapping[str, object]) -> None:
    reply = GenerateReply()
    reply.read({"text": "", "meta_info": meta})
    assert (reply.text, reply.tokens, reply.finish) == ("", 0, None)


def test_the_count_of_the_prompt_is_the_servers() -> None:
    reply = GenerateReply()
    reply.read({"text": "", "meta_info": {"prompt_tokens": 9, "completion_tokens": 0}})
    assert reply.prompt_tokens == 9
