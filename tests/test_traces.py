"""What traces show of a search: one tree, in which all that has ended says what became of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler, get_usage_metadata_callback
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tracers import LangChainTracer
from langchain_core.tracers.context import collect_runs
from langchain_core.tracers.stdout import FunctionCallbackHandler
from langgraph.checkpoint.memory import InMemorySaver
from langsmith import Client, tracing_context
from node_runs import thread
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from provider import openai_at, provider
from thinking import CHAT, Thinks, Traced, by_length, chat

from spex_agents.errors import RewardError
from spex_agents.nodes import SpexMiddleware, create_tot_graph
from spex_agents.rewards import Verifier
from spex_agents.search import Rebase

SEARCH: dict[str, Any] = {"policy": Rebase(width=4), "reward": Verifier(by_length, pure=True)}


class Ordered(Traced):
    """Notes in which order runs end as well."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[UUID] = []

    def update_run(self, run_id: Any, **told: Any) -> None:
        super().update_run(run_id, **told)
        if told.get("end_time") is not None:
            self.ended.append(run_id)

    def calls(self) -> list[dict[str, Any]]:
        return [run for run in self.kept.values() if run["run_type"] == "llm"]

    def thoughts(self) -> list[dict[str, Any]]:
        """The runs between a search and its calls for thoughts."""
        return [self.kept[call["parent_run_id"]] for call in self.calls()]


def traced(client: Client) -> RunnableConfig:
    return {"callbacks": [LangChainTracer(client=client)]}


def check_one_tree(client: Ordered) -> None:
    """All runs have ended, each after those below it, and there is one root."""
    runs = client.kept
    assert len([run for run in runs.values() if run.get("parent_run_id") is None]) == 1
    assert sorted(client.ended) == sorted(runs)
    place = {run: number for number, run in enumerate(client.ended)}
    for identity, run in runs.items():
        if run.get("parent_run_id") is not None:
            assert place[identity] < place[run["parent_run_id"]], run["name"]


async def test_a_stream_that_was_cut_and_a_guess_that_was_retracted_have_not_failed() -> None:
    client = Ordered()
    await chat(Thinks()).ainvoke(CHAT, traced(client))
    check_one_tree(client)
    assert [run["name"] for run in client.kept.values() if run.get("error")] == []
    told = {(run["outputs"]["llm_output"] or {}).get("outcome") for run in client.calls()}
    assert "cut" in told
    cut = next(run for run in client.calls() if run["outputs"]["llm_output"])
    assert cut["outputs"]["generations"][0][0]["text"].startswith("Step")
    for thought in client.thoughts():
        early = "begun early" in thought["name"]
        allowed = {"hit", "retracted", "wasted"} if early else {"demanded"}
        assert thought["outputs"]["outcome"] in allowed


def test_of_a_synchronous_run_too() -> None:
    client = Ordered()
    chat(Thinks()).invoke(CHAT, traced(client))
    check_one_tree(client)
    assert client.calls()
    assert [run["name"] for run in client.kept.values() if run.get("error")] == []


async def test_of_a_run_that_is_cancelled_each_call_has_an_outcome() -> None:
    client, model = Ordered(), Thinks(seconds=100)
    run = asyncio.create_task(chat(model).ainvoke(CHAT, traced(client)))
    await model.begun.wait()
    run.cancel()
    await asyncio.wait([run])
    check_one_tree(client)
    assert {thought["outputs"]["outcome"] for thought in client.thoughts()} <= {
        "cancelled",
        "wasted",
        "retracted",
    }
    assert all(call["outputs"]["llm_output"]["outcome"] == "cancelled" for call in client.calls())


class Calm(LangChainTracer):
    """As docs/guides/tracing.md writes it."""

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **told: Any) -> Any:
        if isinstance(error, asyncio.CancelledError):
            return self.on_chain_end({"outcome": "cancelled"}, run_id=run_id)
        return super().on_chain_error(error, run_id=run_id, **told)


async def test_what_langgraph_cancels_can_be_told_otherwise() -> None:
    client, model = Ordered(), Thinks(seconds=100)
    config: RunnableConfig = {"callbacks": [Calm(client=client)]}
    run = asyncio.create_task(chat(model).ainvoke(CHAT, config))
    await model.begun.wait()
    run.cancel()
    await asyncio.wait([run])
    assert client.kept
    assert [run["name"] for run in client.kept.values() if run.get("error")] == []


@pytest.mark.parametrize("sync", [False, True])
async def test_of_a_run_that_fails_the_cause_alone_has_failed(sync: bool) -> None:
    async def broken(question: str, steps: Sequence[str]) -> float:
        raise ValueError("no")

    client = Ordered()
    graph = create_tot_graph(
        Thinks(), policy=Rebase(width=4), reward=broken, failures=None
    ).compile()
    asked, config = {"question": "5 + 7?"}, traced(client)
    run = asyncio.to_thread(graph.invoke, asked, config) if sync else graph.ainvoke(asked, config)
    with pytest.raises(RewardError):
        await run
    check_one_tree(client)
    assert [call["name"] for call in client.calls() if call.get("error")] == []


async def test_of_a_run_that_is_interrupted_all_has_ended() -> None:
    client = Ordered()
    graph = create_tot_graph(Thinks(), **SEARCH).compile(
        checkpointer=InMemorySaver(), interrupt_before=["evaluate"]
    )
    await graph.ainvoke({"question": "5 + 7?"}, {**thread(), **traced(client)})
    check_one_tree(client)
    assert client.calls()


async def test_a_call_that_fails_is_told_as_one() -> None:
    class Fails(Thinks):
        async def _astream(self, *args: Any, **kwargs: Any) -> Any:
            if self.calls == 2:
                self.calls += 1
                raise ValueError("the provider is away")
            async for chunk in super()._astream(*args, **kwargs):
                yield chunk

    client = Ordered()
    await chat(Fails(), speculation=None).ainvoke(CHAT, traced(client))
    failed = [run for run in client.kept.values() if run.get("error")]
    assert {run["error"].partition("Traceback")[0] for run in failed} >= {
        "ValueError('the provider is away')"
    }
    assert len([run for run in failed if run["run_type"] == "llm"]) == 1
    check_one_tree(client)


async def test_tracing_that_is_switched_on_around_it_sees_the_same_once() -> None:
    client = Ordered()
    with tracing_context(enabled=True, client=client):
        await chat(Thinks()).ainvoke(CHAT)
    check_one_tree(client)
    assert client.calls()


async def test_every_handler_and_collector_of_runs_hears_of_each_call_once() -> None:
    lines: list[str] = []
    handler = FunctionCallbackHandler(function=lines.append)
    handler.run_inline = True
    with collect_runs() as collected:
        await chat(Thinks()).ainvoke(CHAT, {"callbacks": [handler]})
    told = [run.id for run in collected.traced_runs]
    assert len(told) == len(set(told)) > 0
    begun = [line for line in lines if "[llm/start]" in line]
    ended = [line for line in lines if "[llm/end]" in line]
    assert len(begun) == len(ended) > 0
    assert not [line for line in lines if "error" in line]


class Models(BaseCallbackHandler):
    """Hears of calls of models, each by its name and that of the run above it."""

    run_inline = True

    def __init__(self) -> None:
        self.names: dict[UUID, str] = {}
        self.calls: list[tuple[str, str]] = []

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: UUID, name: str = "", **told: Any
    ) -> None:
        self.names[run_id] = name

    def on_chat_model_start(
        self,
        serialized: Any,
        messages: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        name: str | None = None,
        **told: Any,
    ) -> None:
        self.calls.append((name or serialized["name"], self.names[parent_run_id or run_id]))


def search_of(model: BaseChatModel) -> Any:
    return chat(model, speculation=None)


def agent_of(model: BaseChatModel) -> Any:
    async def short(messages: Sequence[BaseMessage]) -> float:
        return 1 / (1 + len(messages[-1].text))

    return create_agent(model, middleware=[SpexMiddleware(policy=Rebase(width=3), reward=short)])


@pytest.mark.parametrize("made", [search_of, agent_of])
@pytest.mark.parametrize("streams", [False, True])
async def test_a_call_of_a_provider_is_one_run_of_a_model_and_counted_once(
    made: Callable[[BaseChatModel], Any], streams: bool
) -> None:
    heard, asked = Models(), []  # type: ignore[var-annotated]
    said = [AIMessage("3 + 4 = 7.\n\nAnswer: 7"), AIMessage("Answer: 7")]
    async with provider(lambda _: said, heard=asked) as address:
        graph = made(model := openai_at(address))
        with get_usage_metadata_callback() as counter, collect_runs() as collected:
            config: RunnableConfig = {"callbacks": [heard]}
            if streams:
                *_, result = [
                    part
                    async for mode, part in graph.astream(
                        CHAT, config, stream_mode=["messages", "values"]
                    )
                    if mode == "values"
                ]
            else:
                result = await graph.ainvoke(CHAT, config)
        await model.root_async_client.close()
    ledger = result["messages"][-1].response_metadata["spex"]["ledger"]
    assert {name for name, _ in heard.calls} == {"ChatOpenAI"}
    assert all(above.startswith("thought ") for _, above in heard.calls)
    assert len(asked) == len(heard.calls) == ledger["thought_calls"]
    (told,) = counter.usage_metadata.values()
    spent = ledger["sent_tokens"], ledger["decoded_tokens"]
    assert (told["input_tokens"], told["output_tokens"]) == spent
    assert "ChatSpex" not in {run.name for run in collected.traced_runs}


async def test_the_reply_sums_up_what_all_steps_have_used() -> None:
    model = Thinks()
    result = await chat(model, speculation=None).ainvoke(CHAT)
    used = result["messages"][-1].usage_metadata
    assert used["input_tokens"] == 10 * model.calls
    assert used["output_tokens"] == 5 * model.calls


# OpenTelemetry


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


def around(spans: InMemorySpanExporter) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """The caller's span, and those of thoughts."""
    ended = spans.get_finished_spans()
    (caller,) = [span for span in ended if span.name == "caller"]
    return caller, [span for span in ended if span.name == "spex.thought"]


@pytest.mark.parametrize("sync", [False, True])
async def test_opentelemetry_sees_thoughts_below_the_callers_span(
    spans: InMemorySpanExporter, sync: bool
) -> None:
    graph = chat(Thinks())
    with trace.get_tracer("test").start_as_current_span("caller"):
        if sync:
            result = await asyncio.to_thread(graph.invoke, CHAT)
        else:
            result = await graph.ainvoke(CHAT)
    ledger = result["messages"][-1].response_metadata["spex"]["ledger"]
    caller, thoughts = around(spans)
    assert len(thoughts) == ledger["thought_calls"]
    for span in thoughts:
        assert span.parent is not None
        assert span.parent.span_id == caller.context.span_id
        assert span.end_time is not None
        assert span.end_time <= time.time_ns()
    outcomes = [str((span.attributes or {})["spex.outcome"]) for span in thoughts]
    assert outcomes.count("hit") == ledger["hits"]
    assert set(outcomes) <= {"demanded", "hit", "retracted", "wasted"}


async def test_opentelemetry_sees_the_end_of_a_run_that_is_cancelled(
    spans: InMemorySpanExporter,
) -> None:
    model = Thinks(seconds=100)
    with trace.get_tracer("test").start_as_current_span("caller"):
        run = asyncio.create_task(chat(model).ainvoke(CHAT))
        await model.begun.wait()
        run.cancel()
        await asyncio.wait([run])
    _, thoughts = around(spans)
    outcomes = {str((span.attributes or {})["spex.outcome"]) for span in thoughts}
    assert outcomes
    assert outcomes <= {"cancelled", "wasted", "retracted"}
