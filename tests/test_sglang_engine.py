"""The SGLang engine at a server that answers by script: what goes wrong, and what is sent."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import pytest
from fastapi.responses import JSONResponse, Response
from scripted_server import Answer, ScriptedServer, scripted_server

from spex_agents.engines.base import Load, Request, Sampling
from spex_agents.engines.openai.engine import OpenAIEngine
from spex_agents.engines.openai.settings import ServerSettings
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.engines.sglang.engine import SGLangEngine, engine_at
from spex_agents.engines.sglang.info import ServerInfo
from spex_agents.errors import EngineError, SettingsError
from spex_agents.rewards.parts import Part

PROMPT = Prompt((Message("user", "2 + 2?"),))
ALL = ["admission", "abort", "promotion", "seeds", "counters"]
WITH_PLUGIN = {
    "version": "0.5.23",
    "enable_priority_scheduling": True,
    "internal_states": [{"spex": {"features": ALL, "running": 3, "waiting": 2}}],
}
PLAIN: dict[str, Any] = {"version": "0.5.23", "internal_states": [{}]}
WITH_PRIORITIES = {**PLAIN, "enable_priority_scheduling": True}


class Native:
    """The native endpoints beside a scripted server's."""

    def __init__(self, server: ScriptedServer, info: object) -> None:
        self.server = server
        self.info = info
        self.loads: object = {"loads": [{"num_running_reqs": 1, "num_waiting_reqs": 0}]}
        self.aborted: list[str] = []
        self.abort_status = 200
        self.aborts = True
        self.tokens: object = ...
        self.asked = 0
        server.app.get("/server_info")(self._info)
        server.app.get("/v1/loads")(self._loads)
        server.app.post("/abort_request")(self._abort)
        server.app.post("/tokenize")(self._tokenize)

    async def _info(self) -> Any:
        self.asked += 1
        return self.info if isinstance(self.info, Response) else JSONResponse(self.info)

    async def _loads(self) -> Any:
        return JSONResponse(self.loads)

    async def _tokenize(self, body: dict[str, Any]) -> Any:
        if self.tokens is not ...:
            return self.tokens if isinstance(self.tokens, Response) else JSONResponse(self.tokens)
        return {"tokens": [11, 12, len(body["messages"])] if "messages" in body else [21, 22]}

    async def _abort(self, body: dict[str, str]) -> Any:
        self.aborted.append(body["rid"])
        if self.aborts:
            await self.server.abort(body["rid"].removeprefix("spex:abort:"))
        return JSONResponse(None, status_code=self.abort_status)


@asynccontextmanager
async def native(info: object) -> AsyncIterator[Native]:
    async with scripted_server() as server:
        yield Native(server, info)


def engine(native: Native, **settings: Any) -> SGLangEngine:
    return SGLangEngine(native.server.url, retry_wait=0.01, **settings)


async def generate(engine: OpenAIEngine, request: Request) -> Any:
    sampling = Sampling(stop=("\n",))
    return await engine.generate(PROMPT, request, sampling=sampling, max_tokens=16)


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not holds():  # noqa: ASYNC110 (the engine tells nobody)
            await anyio.sleep(0.01)


def request(*, demanded: bool = True) -> Request:
    return Request(id="run/0.1/thought-1", seed=7, demanded=demanded)


async def test_a_request_carries_its_id_its_class_and_its_seed() -> None:
    async with native(WITH_PLUGIN) as server, engine(server) as sglang:
        await generate(sglang, request())
        await generate(sglang, request(demanded=False))
    asked, guessed = server.server.bodies
    assert asked["rid"] == guessed["rid"] == "run/0.1/thought-1;"
    assert asked["sampling_params"]["sampling_seed"] == 7
    assert asked["priority"] > guessed["priority"]


async def test_a_prompt_is_sent_as_token_ids() -> None:
    async with native(WITH_PLUGIN) as server, engine(server) as sglang:
        sampling = Sampling(stop=("\n",), logprobs=True)
        prompt = Prompt(PROMPT.messages, reply="It is")
        thought = await sglang.generate(prompt, request(), sampling=sampling, max_tokens=16)
    assert thought.logprobs == (-0.5,) * 4
    assert server.server.paths[-1] == "/generate"
    (body,) = server.server.bodies
    assert body["input_ids"] == [11, 12, 1, 21, 22]
    assert body["return_logprob"]


async def test_the_plugin_makes_promises_that_a_plain_server_does_not() -> None:
    async with native(WITH_PLUGIN) as server, engine(server) as sglang:
        before = sglang.features
        await sglang.describe()
        after = sglang.features
    assert (before.exactness, before.promotion) == ("unseeded", False)
    assert (after.exactness, after.promotion) == ("seeded", True)
    async with native(PLAIN) as server, engine(server) as sglang:
        await sglang.describe()
        assert sglang.features.exactness == "unseeded"
        assert not sglang.features.promotion


async def test_deterministic_kernels_make_seeds_exact() -> None:
    info = {**PLAIN, "enable_deterministic_inference": True}
    async with native(info) as server, engine(server) as sglang:
        described = await sglang.describe()
        assert sglang.features.exactness == "exact"
    assert "no seeds" not in described


async def test_token_level_speculation_makes_seeds_worthless() -> None:
    drafting = {"enable_deterministic_inference": True, "speculative_algorithm": "NGRAM"}
    async with native({**PLAIN, **drafting}) as server, engine(server) as sglang:
        assert "no seeds" in await sglang.describe()
        assert sglang.features.exactness == "unseeded"


async def test_what_is_lost_without_the_plugin_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with native(PLAIN) as server, engine(server) as sglang:
        with caplog.at_level(logging.WARNING):
            await generate(sglang, request())
            await generate(sglang, request())
        (record,) = caplog.records
        for lost in (*ALL, "priorities"):
            assert f"no {lost}" in record.message
            assert f"no {lost}" in repr(sglang)


async def test_a_plugin_on_some_of_the_schedulers_counts_as_none() -> None:
    info = {**WITH_PLUGIN, "internal_states": [{"spex": {"features": ALL}}, {}]}
    async with native(info) as server, engine(server) as sglang:
        assert "plain" in await sglang.describe()


@pytest.mark.parametrize("info", [None, [], {"internal_states": 5}, {"internal_states": [3]}])
async def test_a_server_that_describes_itself_badly_counts_as_plain(info: object) -> None:
    async with native(info) as server, engine(server, retries=0) as sglang:
        thought = await generate(sglang, request())
        assert thought.text == "It is 4."
        assert not sglang.features.promotion


BROKEN_JSON = Response('{"version": ', media_type="application/json")
PAGE = Response("<html>Bad gateway</html>", media_type="text/html")


@pytest.mark.parametrize("answer", [BROKEN_JSON, PAGE])
async def test_a_server_that_describes_itself_illegibly_counts_as_plain(answer: Response) -> None:
    async with native(answer) as server, engine(server, retries=1) as sglang:
        thought = await generate(sglang, request())
        assert thought.text == "It is 4."
        assert sglang.server.known == ServerInfo()


async def test_a_server_that_still_loads_is_asked_again_what_it_is() -> None:
    loading = JSONResponse({"error": {"message": "loading"}}, status_code=503)
    async with native(loading) as server, engine(server, retries=0) as sglang:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(generate, sglang, request())
            await until(lambda: server.asked >= 2)
            server.info = WITH_PLUGIN
        assert sglang.features.promotion


@pytest.mark.parametrize("tokens", [None, [], {}, {"tokens": 3}, BROKEN_JSON])
async def test_a_prompt_that_is_not_tokenised_is_an_error(tokens: object) -> None:
    async with native(WITH_PLUGIN) as server, engine(server, retries=1) as sglang:
        server.tokens = tokens
        with pytest.raises(EngineError, match=r"tokenize|JSON"):
            await sglang.score(PROMPT, request(), labels=("+", "-"))


@pytest.mark.parametrize(
    "trouble", [Answer(status=503), Answer(then="drop"), Answer(finish="abort")]
)
async def test_trouble_is_tried_again_under_another_id(trouble: Answer) -> None:
    async with native(WITH_PLUGIN) as server, engine(server) as sglang:
        server.server.script.append(trouble)
        thought = await generate(sglang, request())
    assert thought.text == "It is 4."
    assert server.server.ids == ["run/0.1/thought-1;", "run/0.1/thought-1~1;"]


async def test_what_a_broken_stream_leaves_behind_is_aborted() -> None:
    async with native(WITH_PLUGIN) as server, engine(server) as sglang:
        server.server.script.append(Answer(then="drop"))
        await generate(sglang, request())
    assert server.aborted == ["spex:abort:run/0.1/thought-1;"]


@pytest.mark.parametrize(
    ("info", "sent"),
    [(WITH_PLUGIN, "spex:abort:run/0.1/thought-1;"), (PLAIN, "run/0.1/thought-1;")],
)
async def test_a_cancelled_call_is_aborted_by_its_id(info: Mapping[str, Any], sent: str) -> None:
    async with native(info) as server, engine(server) as sglang:
        server.server.script.append(Answer(then="go_on"))
        asked = request()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(generate, sglang, asked)
            await until(lambda: asked.tokens == 4)
            tasks.cancel_scope.cancel()
        assert server.aborted == [sent]
        assert asked.tokens == 4


@pytest.mark.parametrize("status", [404, 500])
async def test_an_abort_that_is_refused_is_logged(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with native(WITH_PLUGIN) as server, engine(server) as sglang:
        server.abort_status = status
        with caplog.at_level(logging.WARNING):
            await sglang.prune("run/0.1")
    assert "did not take" in caplog.text


async def test_only_what_has_been_sent_is_promoted_by_message() -> None:
    async with native(WITH_PLUGIN) as server, engine(server) as sglang:
        asked = request(demanded=False)
        await sglang.promote(asked)
        server.server.script.append(Answer(then="go_on"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(generate, sglang, asked)
            await server.server.until_live(1)
            await sglang.promote(asked)
            tasks.cancel_scope.cancel()
    assert server.aborted[0] == "spex:promote:run/0.1/thought-1;"
    assert [rid for rid in server.aborted if ":promote:" in rid] == server.aborted[:1]


async def test_the_calls_of_a_reward_are_promoted_with_it() -> None:
    async with native(WITH_PLUGIN) as server, engine(server) as sglang:
        reward = Request(id="run/0.1/reward-1", seed=1, demanded=False)
        other = Request(id="run/0.1/reward-12", seed=1, demanded=False)
        server.server.script += [Answer(then="go_on")] * 3
        async with anyio.create_task_group() as tasks:
            for owner, index in ((reward, 0), (reward, 1), (other, 0)):
                part = Part([owner], id=f"{owner.id}/{index}", seed=index)
                tasks.start_soon(generate, sglang, part)
            await server.server.until_live(3)
            reward.demanded = True
            await sglang.promote(reward)
            told = sorted(server.aborted)
            tasks.cancel_scope.cancel()
    assert told == [f"spex:promote:run/0.1/reward-1/{index};" for index in (0, 1)]


async def test_a_plain_server_is_not_bothered_with_promotions() -> None:
    async with native(PLAIN) as server, engine(server) as sglang:
        server.server.script.append(Answer(then="go_on"))
        asked = request(demanded=False)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(generate, sglang, asked)
            await server.server.until_live(1)
            await sglang.promote(asked)
            assert server.aborted == []
            tasks.cancel_scope.cancel()


async def test_a_request_that_waits_is_sent_anew_where_priorities_are_all_there_is() -> None:
    async with native(WITH_PRIORITIES) as server, engine(server, retries=0) as sglang:
        server.server.script.append(Answer(then="queue"))
        asked = request(demanded=False)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(generate, sglang, asked)
            await server.server.until_live(1)
            asked.demanded = True
            await sglang.promote(asked)
            await sglang.promote(asked)  # twice is once
    assert server.aborted == ["run/0.1/thought-1;"]
    assert server.server.ids == ["run/0.1/thought-1;", "run/0.1/thought-1~1;"]
    guessed, demanded = (body["priority"] for body in server.server.bodies)
    assert demanded > guessed
    assert asked.tokens == 4  # those of the second alone: the first had none


async def test_a_request_that_runs_is_not_sent_anew() -> None:
    async with native(WITH_PRIORITIES) as server, engine(server) as sglang:
        server.server.script.append(Answer(then="go_on"))
        asked = request(demanded=False)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(generate, sglang, asked)
            await until(lambda: asked.tokens == 4)
            await sglang.promote(asked)
            assert server.aborted == []
            tasks.cancel_scope.cancel()


async def test_an_abort_that_does_nothing_leaves_the_request_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("spex_agents.engines.sglang.client.CONFIRM_SECONDS", 0.2)
    async with native(WITH_PRIORITIES) as server, engine(server, retries=0) as sglang:
        server.aborts = False
        server.server.script.append(Answer(then="queue"))
        asked = request(demanded=False)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(generate, sglang, asked)
            await server.server.until_live(1)
            await sglang.promote(asked)
            assert server.server.live == 1
            tasks.cancel_scope.cancel()  # the server confirms nothing: the wait has an end
    assert len(server.server.ids) == 1


async def test_the_load_is_the_servers_own_count() -> None:
    async with native(WITH_PLUGIN) as server, engine(server) as sglang:
        assert await sglang.load() == Load(running=3, waiting=2)
    async with native(PLAIN) as server, engine(server) as sglang:
        assert await sglang.load() == Load(running=1, waiting=0)


@pytest.mark.parametrize("loads", [{}, {"loads": [{}]}, {"loads": 3}])
async def test_a_load_that_cannot_be_read_is_an_error(loads: object) -> None:
    async with native(PLAIN) as server, engine(server, retries=0) as sglang:
        server.loads = loads
        with pytest.raises(EngineError, match="tells no load"):
            await sglang.load()


@pytest.mark.parametrize(("owner", "kind"), [("sglang", SGLangEngine), ("vllm", OpenAIEngine)])
async def test_the_engine_is_chosen_by_what_the_server_says_it_is(
    owner: str, kind: type[OpenAIEngine]
) -> None:
    async with native(PLAIN) as server:
        server.server.models = [("tiny", owner)]
        chosen = await anyio.to_thread.run_sync(lambda: engine_at(server.server.url))
    assert type(chosen) is kind


async def test_what_sglangs_engine_does_itself_is_refused_as_a_setting() -> None:
    settings = ServerSettings(priorities=(1, 0))
    async with native(PLAIN) as server:
        server.server.models = [("tiny", "sglang")]
        at = partial(engine_at, server.server.url, settings=settings)
        with pytest.raises(SettingsError, match=r"priorities=\(1, 0\): .* dialect='sglang'"):
            await anyio.to_thread.run_sync(at)
        named = replace(settings, dialect="sglang")
        at = partial(engine_at, server.server.url, settings=named)
        assert type(await anyio.to_thread.run_sync(at)) is OpenAIEngine


async def test_behind_a_gateway_that_hides_sglangs_endpoints_the_protocol_is_enough() -> None:
    async with scripted_server() as server:
        chosen = await anyio.to_thread.run_sync(lambda: engine_at(server.url))
        assert type(chosen) is OpenAIEngine
        async with chosen:
            assert (await generate(chosen, request())).text == "It is 4."
    assert server.bodies[0]["no_stop_trim"]  # in SGLang's dialect all the same


def test_a_server_that_is_not_there_is_left_to_the_first_call() -> None:
    assert type(engine_at("http://127.0.0.1:9/v1")) is OpenAIEngine
