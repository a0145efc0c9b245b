"""The gateway as OpenAI's clients see it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from gateways import ASKED, QUESTION, SIZE, SMALL, gateway
from langchain_openai import ChatOpenAI
from pydantic import SecretStr
from scripted_server import Answer, scripted_server

from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.openai.engine import OpenAIEngine
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import EngineUnavailable
from spex_agents.nodes.graph import create_tot_graph
from spex_agents.rewards.simulated import SimulatedReward
from spex_agents.search import Limits, Rebase, Thought
from spex_agents.server.gateway import graphs
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.solving import Result, solve


async def same_search(question: str = "What is 5 + 7?", seed: int = 0) -> Result:
    """The search of `ASKED`, without a gateway and without running ahead."""
    config = SearchConfig(
        engine=SimulatedEngine(speed=1000),
        policy=Rebase(width=4),
        reward=SimulatedReward(latency=0),
        limits=Limits(depth=4, step_tokens=64),
        speculation=None,
    )
    return await solve(config, question, seed=seed)


async def test_requests_that_differ_in_question_and_seed_share_a_graph(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[dict[str, Any]] = []

    def counted(engine: Any, **search: Any) -> Any:
        made.append(search)
        return create_tot_graph(engine, **search)

    monkeypatch.setattr(graphs, "create_tot_graph", counted)

    async def tree(client: openai.AsyncOpenAI, question: str, seed: int, **more: Any) -> Any:
        done = await client.chat.completions.create(
            model="spex/rebase-4",
            messages=[*more.pop("before", ()), {"role": "user", "content": question}],
            seed=seed,
            extra_body={"spex": SIZE},
            **more,
        )
        return (done.model_extra or {})["spex"]["tree_sha256"]

    questions = [(f"What is {number} + 7?", number % 2) for number in range(4)]
    expected = [(await same_search(*asked)).tree.sha256() for asked in questions]
    async with gateway() as running, running.client() as client:
        trees = await asyncio.gather(*(tree(client, *asked) for asked in questions))
        assert trees == expected
        assert len(made) == 2  # with and without running ahead
        others: list[dict[str, Any]] = [
            {"temperature": 0.1},
            {"max_tokens": 90},
            {"before": [{"role": "system", "content": "Be brief."}]},
        ]
        for number, more in enumerate(others):
            await tree(client, *questions[0], **more)
            assert len(made) == 2 * (number + 2)
    assert [one["sampling"].temperature == 0.1 for one in made].count(True) == 2


async def test_a_completion_has_the_answer_and_what_it_cost() -> None:
    expected = await same_search()
    async with gateway() as running, running.client() as client:
        done = await client.chat.completions.create(
            model="spex/rebase-4", messages=QUESTION, extra_body={"spex": SMALL}
        )
    (choice,) = done.choices
    assert choice.message.content == expected.answer
    assert choice.finish_reason == "stop"
    spex = (done.model_extra or {})["spex"]
    assert done.id == f"chatcmpl-{spex['id']}"
    assert spex["tree_sha256"] == expected.tree.sha256()
    assert spex["state"] == "done"
    assert done.usage is not None
    assert done.usage.completion_tokens == expected.ledger.useful_tokens
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens
    details = done.usage.completion_tokens_details
    assert details is not None
    assert details.reasoning_tokens == done.usage.completion_tokens
    assert details.rejected_prediction_tokens == spex["ledger"]["wasted_tokens"] > 0
    accepted = details.accepted_prediction_tokens or 0
    assert 0 < accepted == spex["ledger"]["hit_tokens"] < done.usage.completion_tokens
    reasoning = (choice.message.model_extra or {})["reasoning_content"]
    assert len(reasoning.splitlines()) == len(expected.tree)


async def test_a_stream_tells_thoughts_then_the_answer_then_the_usage() -> None:
    expected = await same_search()
    reasoning, content, finish, usage = [], "", [], None
    async with gateway() as running, running.client() as client:
        async for chunk in await client.chat.completions.create(
            model="spex/rebase-4",
            messages=QUESTION,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"spex": SMALL},
        ):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                if line := (choice.delta.model_extra or {}).get("reasoning_content"):
                    assert not content, "a thought after the answer"
                    reasoning.append(line)
                content += choice.delta.content or ""
                finish += [choice.finish_reason] if choice.finish_reason else []
    assert content == expected.answer
    assert finish == ["stop"]
    told = [line.partition("] ")[2].rstrip("\n") for line in reasoning]
    assert told == [thought.text for thought in expected.tree.thoughts.values()]
    assert usage is not None
    assert usage.completion_tokens == expected.ledger.useful_tokens


async def test_langchain_gets_the_same() -> None:
    expected = await same_search()
    async with gateway() as running:
        model = ChatOpenAI(
            base_url=f"{running.url}/v1",
            api_key=SecretStr("none"),
            model="spex/rebase-4",
            max_retries=0,
            http_async_client=httpx.AsyncClient(),
            extra_body={"spex": SMALL},
        )
        whole = await model.ainvoke("What is 5 + 7?")
        assert whole.content == expected.answer
        assert whole.usage_metadata is not None
        assert whole.usage_metadata["output_tokens"] == expected.ledger.useful_tokens
        streamed = [part async for part in model.astream("What is 5 + 7?")]
        assert "".join(str(part.content) for part in streamed) == expected.answer
        await model.root_async_client.close()


async def test_speculation_and_seeds_and_sizes_are_the_requests() -> None:
    async def ask(model: str, **spex: Any) -> dict[str, Any]:
        done = await client.chat.completions.create(
            model=model, messages=QUESTION, extra_body={"spex": {**SMALL, **spex}}
        )
        found: dict[str, Any] = (done.model_extra or {})["spex"]
        return found

    async with gateway() as running, running.client() as client:
        ahead = await ask("spex/rebase-4")
        waits = await ask("spex/rebase", width=4, speculation=False)
        other = await ask("spex/rebase-4", seed=7)
        rollouts = await ask("spex/rstar-3", width=2)
        least = await ask("spex/rebase-4", aggregate="min")
        last = await ask("spex/rebase-4", aggregate="last")
    assert ahead["ledger"]["launched"] > 0 == waits["ledger"]["launched"]
    assert ahead["tree_sha256"] == waits["tree_sha256"] != other["tree_sha256"]
    assert rollouts["state"] == "done"
    assert last["tree_sha256"] == ahead["tree_sha256"] != least["tree_sha256"]


async def test_a_system_message_and_earlier_turns_reach_the_prompt() -> None:
    seen: list[Prompt] = []

    class Listening(SimulatedEngine):
        async def generate(self, prompt: Prompt, *args: Any, **more: Any) -> Thought:
            seen.append(prompt)
            return await super().generate(prompt, *args, **more)

    messages = [
        {"role": "system", "content": "Speak like a tutor."},
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": "Hello, Ada."},
        {"role": "user", "content": [{"type": "text", "text": "What is 5 + 7?"}]},
    ]
    async with (
        gateway(served=False, engine=Listening(speed=300)) as running,
        running.http() as http,
    ):
        answer = await http.post("/v1/chat/completions", json={**ASKED, "messages": messages})
    assert answer.status_code == 200
    system, user = seen[0].messages
    assert system.content.endswith("Speak like a tutor.")
    assert "Ada" in user.content
    assert user.content.endswith("What is 5 + 7?")


@pytest.mark.parametrize("knows", [True, False], ids=["counted", "estimated"])
async def test_the_questions_prompt_is_counted_once(knows: bool) -> None:
    async with scripted_server() as server:
        server.default = Answer(usage=4) if knows else Answer()
        far = OpenAIEngine(server.url)
        async with gateway(served=False, more={"far": far}) as running, running.http() as http:
            body = {**ASKED, "model": "far/rebase-4"}
            usage = (await http.post("/v1/chat/completions", json=body)).json()["usage"]
        asked = "".join(turn["content"] for turn in server.bodies[0]["messages"])
        assert len(server.bodies) >= 4
    # The script says 9, whatever is asked.
    counted = 9 if knows else -(-len(asked) // 4)
    assert usage["prompt_tokens"] == counted
    assert usage["prompt_tokens_details"]["estimated"] is not knows
    assert usage["total_tokens"] == counted + usage["completion_tokens"]


async def test_a_token_limit_ends_the_search_and_says_so() -> None:
    async with gateway() as running, running.client() as client:
        done = await client.chat.completions.create(
            model="spex/rebase-4",
            messages=QUESTION,
            max_completion_tokens=100,
            extra_body={"spex": SMALL},
        )
    assert done.choices[0].finish_reason == "length"
    assert done.choices[0].message.content


async def test_models_are_listed_and_found() -> None:
    async with gateway(more={"other": SimulatedEngine()}) as running, running.client() as client:
        names = [model.id async for model in client.models.list()]
        assert {"spex/rebase-16", "spex/rstar-16", "other/best-of-n-16"} <= set(names)
        assert (await client.models.retrieve("spex/beam-8")).id == "spex/beam-8"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("spex/gpt-4")


@pytest.mark.parametrize(
    ("change", "status", "param", "words"),
    [
        ({"model": "spex/nothing-4"}, 404, "model", "rebase"),
        ({"model": "gpt-4o"}, 404, "model", "spex/rebase-16"),
        ({"messages": []}, 400, "messages", "at least 1"),
        ({"messages": [{"role": "user", "content": " "}]}, 400, "messages", "be empty"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "messages", "the user's"),
        ({"messages": [{"role": "oracle", "content": "x"}]}, 400, "messages.0.role", "user"),
        ({"n": 0}, 400, "n", "1"),
        ({"n": 100}, 400, "n", "16"),
        ({"response_format": {"type": "xml"}}, 400, "response_format.type", "text"),
        ({"temperature": 3}, 400, "temperature", "2"),
        ({"spex": {"width": 0}}, 400, "spex.width", "1"),
        ({"spex": {"width": 1000}}, 400, "spex.width", "64"),
        ({"spex": {"width": 6}, "model": "spex/dvts"}, 200, None, ""),
        ({"spex": {"breadth": 4}}, 400, "spex.breadth", "not permitted"),
        ({"spex": {"rollouts": 4}}, 400, "spex.rollouts", "rebase has no rollouts"),
        ({"spex": {"aggregate": "max"}}, 400, "spex.aggregate", "'last', 'min', 'prod' or 'mean'"),
        ({"spex": {"aggregate": "min", "reward": "group-vote"}}, 400, "spex.reward", "group-vote"),
        ({"spex": {"vote": "loudest"}}, 400, "spex.vote", "majority"),
        ({"spex": {"reward": "os:system"}}, 400, "spex.reward", "calculator"),
        ({"spex": {"depth": 65}}, 400, "spex.depth", "64"),
        ({"spex": {"seed": 1.5}}, 400, "spex.seed", "integer"),
    ],
    ids=str,
)
async def test_what_is_not_valid_is_refused_by_name(
    change: dict[str, Any], status: int, param: str | None, words: str
) -> None:
    async with gateway(served=False) as running, running.http() as http:
        body = {**ASKED, **change}
        body["spex"] = {**SMALL, **change.get("spex", {})}
        answer = await http.post("/v1/chat/completions", json=body)
        assert answer.status_code == status, answer.text
        if status != 200:
            assert running.engine.decoded_tokens == 0
            error = answer.json()["error"]
            assert error["param"] == param
            assert words in error["message"]
            assert error["type"] == "invalid_request_error"


async def test_bodies_that_are_no_json_or_too_large_or_too_slow_are_refused() -> None:
    async def large() -> AsyncIterator[bytes]:  # without a length
        for _ in range(6):
            yield b"x" * 1000

    async with gateway(body_bytes=5000, body_seconds=0.2) as running, running.http() as http:
        path = "/v1/chat/completions"
        assert (await http.post(path, content=b"{")).status_code == 400
        assert (await http.post(path, content=b"x" * 5001)).status_code == 413
        assert (await http.post(path, content=large())).status_code == 413
        port = int(running.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{".encode())
        assert b" 408 " in await reader.readline()
        writer.close()
        await writer.wait_closed()
        assert (await http.post(path, json=ASKED)).status_code == 200


class Broken(SimulatedEngine):
    """Fails every thought until it is mended."""

    broken = True

    async def generate(
        self, prompt: Prompt, request: Request, *, sampling: Sampling, max_tokens: int
    ) -> Thought:
        if self.broken and len(prompt.reply) > 30:
            raise EngineUnavailable("the engine is broken: mend it")
        return await super().generate(prompt, request, sampling=sampling, max_tokens=max_tokens)


async def test_an_engine_that_fails_is_a_502_and_the_same_key_goes_on() -> None:
    expected = await same_search()
    engine = Broken(speed=300)
    async with gateway(engine=engine) as running, running.client() as client:
        headers = {"Idempotency-Key": "again"}
        with pytest.raises(openai.InternalServerError, match="mend it") as caught:
            await client.chat.completions.create(
                model="spex/rebase-4",
                messages=QUESTION,
                extra_body={"spex": SMALL},
                extra_headers=headers,
            )
        assert caught.value.status_code == 502
        stream = await client.chat.completions.create(
            model="spex/rebase-4", messages=QUESTION, stream=True, extra_body={"spex": SMALL}
        )
        with pytest.raises(openai.APIError, match="mend it"):
            [chunk async for chunk in stream]
        engine.broken = False
        done = await client.chat.completions.create(
            model="spex/rebase-4",
            messages=QUESTION,
            extra_body={"spex": SMALL},
            extra_headers=headers,
        )
    assert (done.model_extra or {})["spex"]["tree_sha256"] == expected.tree.sha256()


async def test_a_search_that_takes_too_long_is_a_504() -> None:
    async with (
        gateway(served=False, speed=1, search_seconds=0.3) as running,
        running.http() as http,
    ):
        answer = await http.post("/v1/chat/completions", json=ASKED)
        assert answer.status_code == 504
        assert answer.json()["error"]["code"] == "search_timeout"
        await running.idle()


# Clients that go away


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_client_that_goes_away_frees_the_engine(stream: bool) -> None:
    async with gateway(speed=2) as running, running.http() as http:
        asking = asyncio.create_task(
            http.post("/v1/chat/completions", json={**ASKED, "stream": stream})
        )
        await running.decoded(20)
        asking.cancel()
        await asyncio.wait([asking])
        await running.idle()
        decoded = running.engine.decoded_tokens
        assert decoded > 0
        (search,) = (await http.get("/v1/searches")).json()["data"]
        assert search["state"] == "suspended"
        ledger = search["ledger"]
        assert ledger["useful_tokens"] + ledger["wasted_tokens"] == decoded
        assert ledger["aborts"] > 0


async def test_a_client_that_goes_away_frees_the_engines_own_server() -> None:
    async with scripted_server() as server:
        server.default = Answer(then="hang")
        far = OpenAIEngine(server.url)
        async with gateway(more={"far": far}) as running, running.http() as http:
            body = {**ASKED, "model": "far/rebase-4", "stream": True}
            asking = asyncio.create_task(http.post("/v1/chat/completions", json=body))
            await server.until_live(4)
            asking.cancel()
            await asyncio.wait([asking])
            await server.until_live(0)  # as the server itself counts
            assert len(server.bodies) == 4


async def test_the_same_idempotency_key_goes_on_where_it_was() -> None:
    expected = await same_search()
    async with gateway(speed=20) as running, running.http() as http:
        http.headers["Idempotency-Key"] = "homework-7"
        body = {**ASKED, "stream": True}
        thoughts = 0
        async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            identity = answer.headers["X-Spex-Search-Id"]
            async for line in answer.aiter_lines():
                thoughts += "reasoning_content" in line
                if thoughts == 6:
                    break
        await running.idle()
        before = (await http.get(f"/v1/searches/{identity}")).json()
        assert before["state"] == "suspended"
        assert len(before["tree"]) >= 4
        again = await http.post("/v1/chat/completions", json=ASKED)
        assert again.headers["X-Spex-Search-Id"] == identity
        spex = again.json()["spex"]
        assert spex["tree_sha256"] == expected.tree.sha256()
        reasoning = again.json()["choices"][0]["message"]["reasoning_content"]
        assert len(reasoning.splitlines()) == len(expected.tree)
        # Nothing that was committed is done again, and a third time nothing at all is.
        assert spex["ledger"]["useful_tokens"] < 1.5 * expected.ledger.useful_tokens
        decoded = running.engine.decoded_tokens
        third = await http.post("/v1/chat/completions", json=ASKED)
        assert third.json()["choices"] == again.json()["choices"]
        assert running.engine.decoded_tokens == decoded
        other = await http.post("/v1/chat/completions", json={**ASKED, "seed": 3})
        assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_mismatch")


async def test_two_clients_of_one_search_share_it() -> None:
    async with gateway(served=False, speed=20) as running, running.http() as http:
        http.headers["Idempotency-Key"] = "both"
        first, second = await asyncio.gather(
            http.post("/v1/chat/completions", json=ASKED),
            http.post("/v1/chat/completions", json=ASKED),
        )
        assert first.json()["choices"] == second.json()["choices"]
        assert first.headers["X-Spex-Search-Id"] == second.headers["X-Spex-Search-Id"]
        spex = first.json()["spex"]["ledger"]
        assert running.engine.decoded_tokens == spex["useful_tokens"] + spex["wasted_tokens"]


# Searches by their ids


def parse(text: str) -> list[dict[str, str]]:
    """Server-sent events, each with what it has of id, event and data."""
    return [
        dict(line.split(": ", 1) for line in block.splitlines())
        for block in text.split("\n\n")
        if block and not block.startswith(":")
    ]


async def test_a_search_in_the_background_is_watched_and_looked_at() -> None:
    expected = await same_search()
    async with gateway(served=False, speed=50) as running, running.http() as http:
        begun = await http.post("/v1/searches", json=ASKED)
        assert begun.status_code == 202
        events = parse((await http.get(f"{begun.headers['Location']}/events")).text)
        found = (await http.get(begun.headers["Location"])).json()
        assert found["question"] == "What is 5 + 7?"
        assert found["answer"] == expected.answer
        assert {row["id"]: row["reward"] for row in found["tree"]} == {
            ".".join(map(str, path)): reward for path, reward in expected.tree.rewards.items()
        }
        assert [event["event"] for event in events[1:-1]] == ["thought"] * (len(events) - 2)
        data = [json.loads(event["data"]) for event in events]
        accepted = [row["id"] for row in data if row.get("status") == "accepted"]
        assert accepted == [row["id"] for row in found["tree"]]
        assert any(row.get("status") == "speculative" for row in data)
        assert data[-1]["state"] == "done"
        assert data[-1]["tree_sha256"] == expected.tree.sha256()
        assert events[-1]["id"] == "end"


async def test_events_go_on_after_the_last_one_told() -> None:
    def committed(text: str) -> list[tuple[str, str]]:
        data = [json.loads(event["data"]) for event in parse(text) if "id" in event]
        return [(row["id"], row.get("status", row.get("state"))) for row in data]

    async with gateway(served=False) as running, running.http() as http:
        begun = (await http.post("/v1/searches", json=ASKED)).headers["Location"]
        first = (await http.get(f"{begun}/events")).text
        identities = [event["id"] for event in parse(first) if "id" in event]
        whole = committed(first)
        assert len(set(whole)) == len(whole)
        for index in (0, 3, 9, len(whole) - 2):
            last = {"Last-Event-ID": identities[index]}
            rest = committed((await http.get(f"{begun}/events", headers=last)).text)
            # By now it comes from the database, which knows the order of thoughts, and of rewards.
            assert sorted(whole[: index + 1] + rest) == sorted(whole)
            assert rest[-1] == whole[-1]
        end = await http.get(f"{begun}/events", headers={"Last-Event-ID": "end"})
        assert end.status_code == 204
        wrong = await http.get(f"{begun}/events", headers={"Last-Event-ID": "x"})
        assert wrong.status_code == 400


async def test_watching_does_not_keep_a_search_running_and_pings_are_sent() -> None:
    async with gateway(speed=1, ping_seconds=0.05) as running, running.http() as http:
        begun = (await http.post("/v1/searches", json=ASKED)).headers["Location"]
        async with http.stream("GET", f"{begun}/events") as answer:
            async for line in answer.aiter_lines():
                if line.startswith(": ping"):
                    break
        assert len(running.parts.searches.runs.searches) == 1
        assert (await http.delete(begun)).status_code == 204
        await running.idle()
        assert (await http.get(begun)).status_code == 404
        assert (await http.get("/v1/searches")).json()["data"] == []
