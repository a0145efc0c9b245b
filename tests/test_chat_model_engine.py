from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any, TypedDict

import anyio
import pytest
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.graph import END, START, StateGraph
from pydantic import Field
from writing import PROMPT, request, write

from spex_agents.engines.base import Sampling
from spex_agents.engines.chat_model import ChatModelEngine
from spex_agents.engines.chat_requests import GO_ON
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.errors import EngineError, SettingsError
from spex_agents.search.tree import Thought

BEGUN = Prompt(PROMPT.messages, reply="Two and two.\n")


class Scripted(BaseChatModel):
    """Streams `chunks`, after raising what is left of `failures`; notes its calls."""

    chunks: list[AIMessageChunk] = Field(default_factory=list)
    failures: list[Exception] = Field(default_factory=list)
    hangs: bool = False
    calls: list[tuple[list[BaseMessage], dict[str, Any]]] = Field(default_factory=list)
    started: asyncio.Event = Field(default_factory=asyncio.Event)
    closed: int = 0

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("unused"))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        self.calls.append((messages, {"stop": stop, **kwargs}))
        try:
            for chunk in self.chunks:
                yield ChatGenerationChunk(message=chunk.model_copy())
            if self.failures:
                raise self.failures.pop()
            if self.hangs:
                self.started.set()
                await anyio.sleep_forever()
        finally:
            self.closed += 1


def pieces(*texts: str, **last: Any) -> list[AIMessageChunk]:
    first = [AIMessageChunk(content=text) for text in texts[:-1]]
    return [*first, AIMessageChunk(content=texts[-1], **last)]


def usage(tokens: int) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=9,
        output_tokens=tokens,
        total_tokens=9 + tokens,
        input_token_details={"cache_read": 6, "cache_creation": 2},
    )


async def test_answer_is_a_whole_path_with_the_models_own_count() -> None:
    asked = request()
    model = Scripted(chunks=pieces("It is", " 4.", usage_metadata=usage(5)))
    async with ChatModelEngine(model) as engine:
        whole = Thought(text="It is 4.", tokens=5, finish="stop", ends=True)
        assert await write(engine, asked) == whole
        assert engine.name == "chat-model/Scripted"
    assert (asked.tokens, asked.prompt_tokens, asked.cached_tokens) == (5, 9, 6)


async def test_reply_is_shown_and_the_next_step_is_asked_for() -> None:
    model = Scripted(chunks=pieces("It is 4."))
    await write(ChatModelEngine(model), prompt=BEGUN)
    await write(ChatModelEngine(model, instruction="Next."), prompt=BEGUN)
    await write(ChatModelEngine(model))
    shown = [[(turn.type, turn.content) for turn in turns] for turns, _ in model.calls]
    asked = [("system", "Be brief."), ("human", "2 + 2?")]
    begun = [*asked, ("ai", "Two and two.")]
    assert shown == [[*begun, ("human", GO_ON)], [*begun, ("human", "Next.")], asked]


async def test_only_what_the_model_is_said_to_take_is_passed() -> None:
    model = Scripted(chunks=pieces("It is 4."))
    await write(ChatModelEngine(model))
    await write(
        ChatModelEngine(
            model,
            parameters={"max_tokens": "num_predict"},
            seed_parameter="seed",
            exactness="seeded",
        )
    )
    assert [keywords for _, keywords in model.calls] == [
        {"stop": None, "temperature": 0.8, "max_tokens": 16},
        {"stop": None, "num_predict": 16, "seed": 7},
    ]


async def test_model_that_ignores_stop_is_cut_at_the_first_delimiter() -> None:
    model = Scripted(chunks=pieces("\n", "It is", " 4.\nSo", " on"), hangs=True)
    with anyio.fail_after(5):
        thought = await write(ChatModelEngine(model))
    assert thought == Thought(text="It is 4.", tokens=3)


async def test_fake_list_model_is_cut_at_the_first_delimiter() -> None:
    engine = ChatModelEngine(FakeListChatModel(responses=["It is 4.\nSo on."]))
    assert (await write(engine)).text == "It is 4."


async def test_model_without_streaming_answers_at_once() -> None:
    def replies() -> Iterator[AIMessage]:
        yield AIMessage("It is 4.", usage_metadata=usage(5))

    class WholeAnswers(GenericFakeChatModel):
        _stream = BaseChatModel._stream

    thought = await write(ChatModelEngine(WholeAnswers(messages=replies())))
    assert thought == Thought(text="It is 4.", tokens=5, finish="stop", ends=True)


async def test_empty_answer_ends_the_path() -> None:
    thought = await write(ChatModelEngine(Scripted(chunks=pieces("", " "))))
    assert (thought.text, thought.finish, thought.ends) == ("", "stop", True)


@pytest.mark.parametrize("told", [{"finish_reason": "length"}, {"stop_reason": "max_tokens"}])
async def test_token_cap_is_told(told: dict[str, str]) -> None:
    model = Scripted(chunks=pieces("It is", " 4", response_metadata=told))
    assert (await write(ChatModelEngine(model))).finish == "length"


async def test_tokens_without_usage_are_counted_without_a_download() -> None:
    chunks = pieces("It is exactly", " four.")
    asked = request()
    assert (await write(ChatModelEngine(Scripted(chunks=chunks)), asked)).tokens == 5
    assert asked.tokens == 5
    counting = Scripted(chunks=chunks, custom_get_token_ids=lambda text: [0] * len(text.split()))
    assert (await write(ChatModelEngine(counting))).tokens == 4


async def test_logprobs_are_read_where_the_model_gives_them() -> None:
    content = [{"token": token, "logprob": -0.5} for token in ("\nIt", " is", "\n", "So")]
    told = {"logprobs": {"content": content}}
    model = Scripted(chunks=pieces("\nIt is", "\nSo", response_metadata=told))
    engine = ChatModelEngine(model, parameters={"logprobs": "logprobs"})
    assert engine.features.logprobs
    thought = await write(engine, sampling=Sampling(logprobs=True))
    assert thought.logprobs == (-0.5, -0.5, -0.5)
    assert model.calls[0][1]["logprobs"] is True


async def test_missing_logprobs_are_an_error_where_the_model_should_give_them() -> None:
    model = Scripted(chunks=pieces("It is 4."))
    engine = ChatModelEngine(model, parameters={"logprobs": "logprobs"})
    with pytest.raises(EngineError, match="no log-probabilities"):
        await write(engine, sampling=Sampling(logprobs=True))
    assert (await write(ChatModelEngine(model), sampling=Sampling(logprobs=True))).logprobs is None


async def test_named_exceptions_are_tried_again_and_their_tokens_counted() -> None:
    model = Scripted(
        chunks=pieces("It is", " 4."), failures=[ConnectionResetError(), TimeoutError()]
    )
    asked = request()
    thought = await write(ChatModelEngine(model, retry_wait=0), asked)
    assert (thought.tokens, asked.tokens) == (2, 6)


@pytest.mark.parametrize(
    ("failures", "said"),
    [([ValueError("No.")], "No; if"), ([ConnectionError("no")] * 3, "no; see whether .* reached")],
)
async def test_other_or_lasting_failure_is_one_clear_error(
    failures: list[Exception], said: str
) -> None:
    model = Scripted(failures=failures)
    with pytest.raises(EngineError, match=rf"chat-model/Scripted failed: .*{said}.*retry_on="):
        await write(ChatModelEngine(model, retries=2, retry_wait=0))
    assert not model.failures


async def test_cancelling_ends_the_call_and_keeps_the_count() -> None:
    model = Scripted(chunks=pieces("It is", " 4."), hangs=True)
    engine = ChatModelEngine(model)
    asked = request()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write, engine, asked)
        await model.started.wait()
        assert (await engine.load()).running == 1
        tasks.cancel_scope.cancel()
    assert (model.closed, asked.tokens, (await engine.load()).running) == (1, 2, 0)


async def test_demanded_call_goes_before_a_speculative_one() -> None:
    model = Scripted(chunks=pieces("It is 4."), hangs=True)
    engine = ChatModelEngine(model, max_concurrency=1)
    speculative = Prompt((Message("user", "speculative"),))
    first = anyio.CancelScope()

    async def hold() -> None:
        with first:
            await write(engine)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hold)
        await model.started.wait()
        model.hangs = False
        for asked, prompt in ((request(demanded=False), speculative), (request(), PROMPT)):
            tasks.start_soon(partial(write, engine, asked, prompt=prompt))
            await anyio.wait_all_tasks_blocked()
        assert (await engine.load()).waiting == 2
        first.cancel()
    assert [turns[-1].content for turns, _ in model.calls] == ["2 + 2?", "2 + 2?", "speculative"]


class State(TypedDict, total=False):
    text: str


async def test_tokens_stay_out_of_the_graphs_message_stream() -> None:
    model = FakeListChatModel(responses=["It is 4."])
    engine = ChatModelEngine(model)

    async def quiet(state: State) -> State:
        return {"text": (await write(engine)).text}

    async def loud(state: State) -> State:
        return {"text": str((await model.ainvoke("2 + 2?")).content)}

    graph = StateGraph(State)
    graph.add_node("quiet", quiet)
    graph.add_node("loud", loud)
    graph.add_edge(START, "quiet")
    graph.add_edge("quiet", "loud")
    graph.add_edge("loud", END)
    said: list[Any] = [said async for said in graph.compile().astream({}, stream_mode="messages")]
    assert {told["langgraph_node"] for _, told in said} == {"loud"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"parameters": {"seed": "seed"}}, "allowed are"),
        ({"exactness": "seeded"}, "seed_parameter"),
    ],
)
def test_setting_outside_its_range_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ChatModelEngine(Scripted(), **wrong)
