"""A search within its caller's run: context, traces, usage and limits reach its calls."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import (
    AsyncCallbackHandler,
    BaseCallbackHandler,
    UsageMetadataCallbackHandler,
)
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, LLMResult
from langchain_core.tracers import LangChainTracer
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_config, get_store
from langgraph.store.memory import InMemoryStore
from node_runs import thread
from thinking import CHAT, USER, Thinks, Traced, by_length, chat

from spex_agents.engines.given import as_engine
from spex_agents.nodes import SpexMiddleware, create_tot_graph, create_tot_tool
from spex_agents.rewards import Judge
from spex_agents.search import BestOfN
from spex_agents.speculation.config import Speculation


class Heard(BaseCallbackHandler):
    """Notes who called whom, and with which tags and metadata."""

    run_inline = True

    def __init__(self) -> None:
        self.names: dict[UUID, str] = {}
        self.parents: dict[UUID, UUID | None] = {}
        self.models: list[tuple[UUID, list[str], dict[str, Any]]] = []
        self.outcomes: Counter[str] = Counter()

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: UUID, **told: Any) -> None:
        self.names[run_id] = told.get("name") or ""
        self.parents[run_id] = told.get("parent_run_id")

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: UUID, **told: Any
    ) -> None:
        self.on_chain_start(serialized, messages, run_id=run_id, **told)
        self.models.append((run_id, told["tags"], told["metadata"]))

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **told: Any) -> None:
        if isinstance(outputs, dict) and "outcome" in outputs:
            self.outcomes[outputs["outcome"]] += 1

    def above(self, run: UUID) -> list[str]:
        names, parent = [], self.parents[run]
        while parent is not None:
            names.append(self.names[parent])
            parent = self.parents[parent]
        return names


async def test_every_call_is_a_child_of_its_search_and_says_what_became_of_it() -> None:
    model, heard = Thinks(), Heard()
    config: Any = {"callbacks": [heard], "tags": ["mine"], "metadata": {"ticket": 7}}
    result = await chat(model).ainvoke(CHAT, config)
    thoughts = [run for run in heard.models if "spex_request" in run[2]]
    assert len(thoughts) >= model.calls > 0  # one may be given up before it has begun
    for run, tags, metadata in thoughts:
        above = heard.above(run)
        assert above[0].startswith("thought ")
        assert above[1] == "tree of thoughts"
        assert above[-1] == "agent"
        assert {"nostream", "mine"} <= set(tags)
        assert metadata["ticket"] == 7
        assert metadata["spex_speculative"] == ("begun early" in above[0])
    ledger = result["messages"][-1].response_metadata["spex"]["ledger"]
    assert ledger["launched"] > 0
    assert heard.outcomes["hit"] == ledger["hits"]
    assert heard.outcomes.total() >= len(thoughts)


async def test_langsmith_sees_one_tree_without_orphans_or_made_up_calls() -> None:
    client = Traced()
    await chat(Thinks()).ainvoke(CHAT, {"callbacks": [LangChainTracer(client=client)]})
    runs = client.kept
    roots = [run for run in runs.values() if run.get("parent_run_id") is None]
    assert [root["name"] for root in roots] == ["agent"]
    assert all(run["parent_run_id"] in runs for run in runs.values() if run not in roots)
    assert all(run.get("end_time") is not None for run in runs.values())
    called = [run for run in runs.values() if run["run_type"] == "llm"]
    assert called
    assert all(run["inputs"].get("messages") for run in called)
    assert {run["name"] for run in called} == {"Thinks"}
    above = [runs[run["parent_run_id"]]["name"] for run in called]
    assert {name.split()[0] for name in above} == {"thought"}


async def test_usage_counters_count_and_the_reply_sums_it_up() -> None:
    counter, model = UsageMetadataCallbackHandler(), Thinks()
    result = await chat(model, speculation=None, policy=BestOfN(width=3)).ainvoke(
        CHAT, {"callbacks": [counter]}
    )
    counted = counter.usage_metadata["thinks-1"]
    assert counted["input_tokens"] == 10 * model.calls
    reply = result["messages"][-1]
    assert reply.usage_metadata["input_tokens"] == 10 * model.calls
    assert reply.usage_metadata["output_tokens"] == 5 * model.calls


class Streams(Thinks):
    """Says two steps in one stream, so that the second is cut off, and tells its usage last."""

    async def _astream(self, *args: Any, **kwargs: Any) -> Any:
        async for chunk in super()._astream(*args, **kwargs):
            text = str(chunk.message.text)
            for part in text.split(" "):
                yield ChatGenerationChunk(message=AIMessageChunk(content=f"{part} "))
            yield chunk.model_copy(
                update={"message": chunk.message.model_copy(update={"content": ""})}
            )

    def _get_ls_params(self, *args: Any, **kwargs: Any) -> Any:
        return {**super()._get_ls_params(*args, **kwargs), "ls_model_name": "thinks"}


class Calls(AsyncCallbackHandler):
    """A handler that is no tracer, and async."""

    def __init__(self) -> None:
        self.begun = self.ended = self.failed = 0

    async def on_chat_model_start(self, *args: Any, **told: Any) -> None:
        self.begun += 1

    async def on_llm_end(self, response: Any, **told: Any) -> None:
        self.ended += 1

    async def on_llm_error(self, error: BaseException, **told: Any) -> None:
        self.failed += 1


async def test_calls_that_were_cut_or_retracted_have_not_failed() -> None:
    calls, model = Calls(), Streams()
    await chat(model).ainvoke(CHAT, {"callbacks": [calls]})
    assert calls.begun == calls.ended > 0
    assert calls.failed == 0


class Counts(UsageMetadataCallbackHandler):
    """Counts where the call is, and not in a thread, which hears of it later."""

    run_inline = True

    def total(self, kind: str) -> int:
        used: list[Any] = list(self.usage_metadata.values())
        return sum(usage[kind] for usage in used)


class Silent(Streams):
    """Never tells what it has used, nor its name."""

    async def _astream(self, *args: Any, **kwargs: Any) -> Any:
        async for chunk in super()._astream(*args, **kwargs):
            yield ChatGenerationChunk(message=AIMessageChunk(content=chunk.message.content))


@pytest.mark.parametrize("kind", [Thinks, Streams, Silent])
@pytest.mark.parametrize("speculation", [None, Speculation(), Speculation.paid()])
async def test_a_counter_of_usage_counts_what_the_ledger_does(
    kind: type[Thinks], speculation: Speculation | None
) -> None:
    counts = Counts()
    asked = chat(kind(), speculation=speculation, reward=Judge(as_engine(Thinks())))
    reply = (await asked.ainvoke(CHAT, {"callbacks": [counts]}))["messages"][-1]
    ledger = reply.response_metadata["spex"]["ledger"]
    assert counts.total("input_tokens") == ledger["sent_tokens"] > 0
    assert counts.total("output_tokens") == ledger["decoded_tokens"] > 0


@pytest.mark.parametrize("kind", [Thinks, Silent])
async def test_a_counter_of_usage_counts_what_a_middleware_does(kind: type[Thinks]) -> None:
    counts = Counts()
    agent = create_agent(kind(), middleware=[SpexMiddleware(policy=BestOfN(width=3))])
    reply = (await agent.ainvoke(CHAT, {"callbacks": [counts]}))["messages"][-1]
    ledger = reply.response_metadata["spex"]["ledger"]
    assert counts.total("input_tokens") == ledger["sent_tokens"] > 0
    assert counts.total("output_tokens") == ledger["decoded_tokens"] > 0


class Sums(BaseCallbackHandler):
    """Sums up the usage that it is told, as Langfuse's handler does: no tracer, no counter."""

    run_inline = True

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.said: list[str] = []

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        (part,) = response.generations[0]
        message: Any = getattr(part, "message", None)
        self.said.append(part.text)
        self.sent.append((message.usage_metadata or {}).get("input_tokens", 0))


class SumsLater(Sums, AsyncCallbackHandler):
    """The same, and async."""

    async def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:  # type: ignore[override]
        Sums.on_llm_end(self, response)


@pytest.mark.parametrize("kind", [Sums, SumsLater])
async def test_a_handler_of_ones_own_is_told_the_usage_of_a_search_once(kind: type[Sums]) -> None:
    sums = kind()
    reply = (await chat(Thinks()).ainvoke(CHAT, {"callbacks": [sums]}))["messages"][-1]
    assert sum(sums.sent) == reply.response_metadata["spex"]["ledger"]["sent_tokens"] > 0
    assert reply.usage_metadata["input_tokens"] == sum(sums.sent)
    assert reply.text not in sums.said  # that is no call of a model


async def test_calls_that_were_cut_are_counted_under_the_name_the_model_was_made_with() -> None:
    counts = Counts()
    await chat(Streams(), speculation=None).ainvoke(CHAT, {"callbacks": [counts]})
    assert counts.usage_metadata.keys() == {"thinks", "thinks-1"}


@pytest.mark.parametrize("most", [1, 3])
async def test_no_more_calls_run_at_once_than_the_configuration_allows(most: int) -> None:
    model = Thinks()
    await chat(model).ainvoke(CHAT, {"max_concurrency": most})
    assert model.peak == most


async def test_nor_in_a_graph_a_tool_a_middleware_or_for_rewards() -> None:
    async def at_most_two(run: Any, asked: Any, model: Thinks) -> None:
        await run.ainvoke(asked, {"max_concurrency": 2})
        assert model.peak == 2

    search: dict[str, Any] = {"policy": BestOfN(width=6)}
    asked, model = {"question": "5 + 7?"}, Thinks()
    await at_most_two(create_tot_graph(model, reward=by_length, **search).compile(), asked, model)
    model = Thinks()
    await at_most_two(create_tot_tool(model, reward=by_length, **search), asked, model)
    model = Thinks()
    judged = create_tot_graph(model, reward=Judge(as_engine(model)), **search).compile()
    await at_most_two(judged, asked, model)
    model = Thinks()
    await at_most_two(create_agent(model, middleware=[SpexMiddleware(**search)]), CHAT, model)


@pytest.mark.parametrize("sync", [False, True])
async def test_context_variables_store_and_configuration_are_the_callers(sync: bool) -> None:
    model, store = Thinks(), InMemoryStore()
    store.put(("memory",), "k", {"v": 1})
    seen: set[Any] = set()

    async def reward(question: str, steps: Sequence[str]) -> float:
        found = get_store().get(("memory",), "k")
        seen.add((USER.get(), found and found.value["v"], get_config()["configurable"]["tenant"]))
        return 0.5

    graph = chat(model, store=store, reward=reward)
    config: Any = {"configurable": {"tenant": "a"}}
    token = USER.set("somebody")
    try:
        if sync:
            await asyncio.to_thread(graph.invoke, CHAT, config)
        else:
            await graph.ainvoke(CHAT, config)
    finally:
        USER.reset(token)
    assert model.users == {"somebody"}
    assert seen == {("somebody", 1, "a")}


async def test_a_graph_that_a_function_calls_leaves_nothing_in_the_checkpoints() -> None:
    inner = create_tot_graph(Thinks(), policy=BestOfN(width=1), reward=by_length).compile()

    async def propose(question: str, steps: Sequence[str], seed: int) -> str:
        await inner.ainvoke({"question": question})
        return "Answer: 1"

    saver = InMemorySaver()
    graph = chat(propose, saver, policy=BestOfN(width=2), reward=by_length)
    parts = [part async for part in graph.astream(CHAT, thread(), stream_mode="messages")]
    assert {part[0].content for part in parts} == {"", "1"}
    spaces = {saved.config["configurable"]["checkpoint_ns"] for saved in saver.list(None)}
    assert {space.count("|") for space in spaces} == {0}


async def test_a_tool_runs_within_its_agents_run() -> None:
    heard, model = Heard(), Thinks()
    tool = create_tot_tool(model, policy=BestOfN(width=2), reward=by_length)
    await tool.ainvoke({"question": "5 + 7?"}, {"callbacks": [heard], "tags": ["mine"]})
    assert len(heard.models) == model.calls > 0
    assert all("mine" in tags for _, tags, _ in heard.models)
