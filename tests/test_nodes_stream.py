"""What a search says to LangGraph's message stream: the answer's path, and nothing else."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import reduce
from operator import add
from typing import Any, TypedDict

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain_core.callbacks import AsyncCallbackHandler, AsyncCallbackManagerForLLMRun
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    BaseMessageChunk,
    message_chunk_to_message,
)
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import Runnable
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from node_runs import (
    ASKED,
    QUESTION,
    SPECULATION,
    Breakable,
    fast,
    fast_engine,
    settings,
    thread,
)

from spex_agents.engines.chat_model import ChatModelEngine
from spex_agents.engines.embedded.engine import EmbeddedEngine
from spex_agents.engines.prompts import Prompt
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import EngineError, PolicyError
from spex_agents.nodes import create_tot_graph, create_tot_node, create_tot_tool, told, tree_of
from spex_agents.nodes.middleware import SpexMiddleware
from spex_agents.nodes.told import NO_ANSWER, ChatSpex
from spex_agents.rewards import Verifier
from spex_agents.search import Beam, BestOfN, Dvts, Limits, Policy, Rebase, Rstar, TotBfs, TotDfs
from spex_agents.search.policy import Decision, Expand, Finish, State
from spex_agents.search.tree import Path, Thought, TreeView
from spex_agents.speculation.config import Speculation

CHAT: Any = {"messages": [("user", QUESTION)]}
ONE = TotBfs(width=3, keep=1)
"""Goes on from a single thought of each layer: what it has settled grows as it goes."""


def chat(engine: Any, saver: InMemorySaver | None = None, **more: Any) -> Any:
    graph = StateGraph(MessagesState).add_node("think", create_tot_node(engine, **more))
    return graph.add_edge(START, "think").compile(checkpointer=saver)


async def said(
    graph: Any, asked: Any = ASKED, config: Any = None, into: list[Any] | None = None, **more: Any
) -> list[Any]:
    """The parts of its message stream."""
    parts = [] if into is None else into
    async for part in graph.astream(asked, config, stream_mode="messages", **more):
        parts.append(part)
    return parts


def whole(parts: Iterable[Any]) -> BaseMessage:
    """The sum of what was said, which is one message in pieces."""
    chunks: list[BaseMessageChunk] = []
    for chunk, _ in parts:
        assert type(chunk) is AIMessageChunk
        chunks.append(chunk)
    assert len({chunk.id for chunk in chunks}) == 1
    return message_chunk_to_message(reduce(add, chunks))


def reasoning(message: BaseMessage) -> str:
    return str(message.additional_kwargs.get("reasoning_content", ""))


def path_text(result: Any) -> str:
    """The text of the answer's path, by the result of a search graph."""
    chain = tree_of(result).chain(tuple(result["told"]["path"]))
    return "".join(thought.text + "\n" * (thought.finish == "step") for thought in chain)


ANY = st.sampled_from(
    [
        Rebase(width=3),
        Beam(beams=4, width=4),
        Beam(beams=4, width=2, lookahead=1),
        BestOfN(width=3),
        Dvts(beams=4, width=2),
        Rstar(rollouts=4, width=2),
        TotDfs(width=2, steps=8),
        ONE,
    ]
)


@given(ANY, st.integers(0, 10**6), st.sampled_from(SPECULATION))
@hypothesis_settings(max_examples=5)
def test_the_pieces_add_up_to_the_reply(
    policy: Policy, seed: int, speculation: Speculation | None
) -> None:
    async def main() -> None:
        more = settings(speculation, policy=policy)
        graph = chat(SimulatedEngine(), seed=seed, **more)
        parts = [part async for part in graph.astream(CHAT, stream_mode=["messages", "values"])]
        reply = parts[-1][1]["messages"][-1]
        assert isinstance(reply, AIMessage)
        assert whole(part for mode, part in parts if mode == "messages") == reply
        alone = create_tot_graph(SimulatedEngine(), seed=seed, **settings(None, policy=policy))
        result = await alone.compile().ainvoke(ASKED)
        assert reasoning(reply) == path_text(result)
        assert reply.content == (NO_ANSWER if result["answer"] is None else result["answer"])

    run_virtual(main())


def test_a_graph_says_the_answer_and_the_thoughts_on_its_path() -> None:
    async def main() -> None:
        graph = create_tot_graph(SimulatedEngine(), **settings()).compile()
        parts = await said(graph)
        assert whole(parts).content == "12"
        assert reasoning(whole(parts)) == path_text(await graph.ainvoke(ASKED))
        assert [chunk.content_blocks[0]["type"] for chunk, _ in parts] == [
            *["reasoning"] * (len(parts) - 1),
            "text",
        ]
        assert {meta["langgraph_node"] for _, meta in parts} == {"answer"}

    run_virtual(main())


def test_what_is_certain_is_said_while_the_search_goes_on() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        times = []
        graph = create_tot_graph(SimulatedEngine(), **settings(policy=ONE)).compile()
        async for chunk, meta in graph.astream(ASKED, stream_mode="messages"):
            times.append((loop.time(), meta["langgraph_node"], chunk))
        early = [time for time, node, _ in times if node == "select"]
        assert len(set(early)) > 2
        assert early == sorted(early)
        assert early[0] < times[-1][0] / 2

    run_virtual(main())


@pytest.mark.parametrize("subgraphs", [False, True])
def test_a_node_says_it_under_its_own_name(subgraphs: bool) -> None:
    async def main() -> None:
        graph = chat(SimulatedEngine(), **settings(policy=Rebase(width=6)))
        parts = await said(graph, CHAT, subgraphs=subgraphs)
        if subgraphs:
            assert {space for space, _ in parts} == {()}
            parts = [part for _, part in parts]
        assert {meta["langgraph_node"] for _, meta in parts} == {"think"}
        assert whole(parts).text == "12"

    run_virtual(main())


class Question(TypedDict):
    question: str


def test_a_graph_in_a_graph_says_it_in_its_own_space() -> None:
    async def main() -> None:
        inner = create_tot_graph(SimulatedEngine(), **settings()).compile()
        outer = StateGraph(Question).add_node("think", inner).add_edge(START, "think")
        graph: Any = outer.compile()
        parts = await said(graph, ASKED, subgraphs=True)
        assert {space[0].split(":")[0] for space, _ in parts} == {"think"}
        assert whole(part for _, part in parts).text == "12"
        assert await said(graph, ASKED) == []  # as of any graph in a graph

    run_virtual(main())


async def test_what_nobody_hears_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hearing(AsyncCallbackHandler):
        """Is no stream: it might count."""

        said = 0

        async def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
            self.said += 1

    made: list[ChatSpex] = []

    def speaker(**settings: Any) -> ChatSpex:
        made.append(ChatSpex(**settings))
        return made[-1]

    monkeypatch.setattr(told, "ChatSpex", speaker)
    graph = create_tot_graph(fast_engine(), **fast()).compile()
    unheard = await graph.ainvoke(ASKED)
    assert not made
    hearing = Hearing()
    heard = await graph.ainvoke(ASKED, {"callbacks": [hearing]})
    assert hearing.said == len(made) == 0
    assert heard["tree_sha256"] == unheard["tree_sha256"]
    assert await said(graph)
    assert made


def test_sync_streams_say_the_same() -> None:
    graph = chat(fast_engine(), InMemorySaver(), **fast(policy=ONE))
    parts = list(graph.stream(CHAT, thread(), stream_mode="messages"))
    assert whole(parts) == graph.get_state(thread()).values["messages"][-1]
    alone = create_tot_graph(fast_engine(), **fast(policy=ONE)).compile()
    again = whole(alone.stream(ASKED, stream_mode="messages"))
    assert reasoning(again) == reasoning(whole(parts))


def test_without_an_answer_it_says_so() -> None:
    class Aimless:
        def thought(self, prompt: Prompt, seed: int, max_tokens: int) -> Thought:
            return Thought(text="Hm, quality 0.500000.", tokens=5, finish="stop", ends=True)

    async def main() -> None:
        graph = create_tot_graph(SimulatedEngine(Aimless()), **settings(free_text=False)).compile()
        reply = whole(await said(graph))
        assert (reply.content, reasoning(reply)) == (NO_ANSWER, "Hm, quality 0.500000.")

    run_virtual(main())


# Going on


@pytest.mark.parametrize("fails_from", [3, 20])
def test_what_was_said_is_not_said_again_after_a_failure(fails_from: int) -> None:
    async def main() -> None:
        engine = Breakable()
        engine.fails_from = fails_from
        graph = chat(engine, InMemorySaver(), **settings(policy=ONE))
        parts: list[Any] = []
        with pytest.raises(EngineError):
            await said(graph, CHAT, thread(), into=parts)
        engine.fails_from = None
        parts += await said(graph, None, thread())
        reply = (await graph.aget_state(thread())).values["messages"][-1]
        assert whole(parts) == reply
        assert reasoning(reply)

    run_virtual(main())


def test_what_was_said_is_not_said_again_after_interrupts() -> None:
    async def main() -> None:
        graph = create_tot_graph(SimulatedEngine(), **settings(policy=ONE)).compile(
            checkpointer=InMemorySaver(), interrupt_before="*"
        )
        parts: list[Any] = []
        asked: Any = ASKED
        while not (values := (await graph.aget_state(thread())).values).get("tree_sha256"):
            parts += await said(graph, asked, thread())
            asked = None
        assert reasoning(whole(parts)) == path_text(values)

    run_virtual(main())


def test_every_search_has_a_message_of_its_own() -> None:
    async def main() -> None:
        graph = chat(SimulatedEngine(), InMemorySaver(), **settings())
        first, second = [whole(await said(graph, CHAT, thread())) for _ in range(2)]
        assert first.id != second.id
        assert [m.id for m in (await graph.aget_state(thread())).values["messages"][1::2]] == [
            first.id,
            second.id,
        ]

    run_virtual(main())


# Nothing else


WILD = Speculation(threshold=0.01, waste=math.inf, draws=32)
STEP = re.compile(r"Step [0-9a-f]{8}")


@pytest.mark.parametrize("policy", [Rebase(width=6), ONE], ids=["rebase", "tot"])
def test_nothing_begun_early_is_in_any_stream_but_the_events(policy: Policy) -> None:
    async def main() -> None:
        graph = chat(SimulatedEngine(), InMemorySaver(), **settings(WILD, policy=policy))
        modes = ["messages", "updates", "values", "checkpoints", "tasks", "debug", "custom"]
        shown: set[str] = set()
        events: list[Any] = []
        async for _, mode, part in graph.astream(CHAT, thread(), stream_mode=modes, subgraphs=True):
            if mode == "custom":
                events.append(part)
            else:
                shown |= set(STEP.findall(repr(part)))
        written = {
            step
            for event in events
            if event.get("status") == "written"
            for step in STEP.findall(event["text"])
        }
        accepted = {
            step
            for event in events
            if event.get("status") == "accepted"
            for step in STEP.findall(event["text"])
        }
        assert len(written - accepted) > 3
        assert shown == accepted

    run_virtual(main())


class Told(GenericFakeChatModel):
    """A chat model that streams, and numbers what it says."""

    messages: Any = None
    calls: int = 0

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        self.calls += 1
        text = f"Thought {self.calls}."
        if sum(message.text.count("Thought") for message in messages) > 1:
            text += " The answer is 12"
        text += "\n\nThought no more."  # the next one begins: the stream is closed
        for word in re.findall(r"\S+\s*", text):
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=word))
            if run_manager is not None:
                await run_manager.on_llm_new_token(word, chunk=chunk)
            yield chunk


async def half(question: str, steps: Sequence[str]) -> float:
    return 0.5


async def test_the_calls_of_a_chat_model_stay_out() -> None:
    model = Told()
    node = create_tot_node(
        ChatModelEngine(model),
        policy=Rebase(width=3),
        reward=Verifier(half, pure=True),
        limits=Limits(depth=3),
    )
    graph: Any = (
        StateGraph(MessagesState).add_node("think", node).add_edge(START, "think").compile()
    )
    reply = whole(await said(graph, CHAT))
    assert reply.content == "12"
    assert reasoning(reply).count("Thought") == 3 < model.calls
    events = graph.astream_events(CHAT, version="v2")
    heard = [event async for event in events if event["event"] == "on_chat_model_stream"]
    said_by = {event["name"] for event in heard if "nostream" not in event["tags"]}
    assert said_by == {"ChatSpex"}


async def test_a_reward_that_calls_a_chat_model_stays_out() -> None:
    async def judged(question: str, steps: Sequence[str]) -> float:
        heard = [chunk async for chunk in Told().astream(steps[-1])]
        return len(heard) % 2 / 2

    graph = create_tot_graph(fast_engine(), policy=Rebase(width=3), reward=judged).compile()
    assert "Thought" not in reasoning(whole(await said(graph)))


@pytest.mark.filterwarnings("ignore:The v3 streaming protocol:Warning")
def test_streams_of_version_three_have_one_message() -> None:
    async def main() -> None:
        graph = chat(SimulatedEngine(), **settings())
        run = await graph.astream_events(CHAT, version="v3")
        heard = [
            (message.message_id, await message.reasoning, await message.text)
            async for message in run.messages
        ]
        reply = (await run.output())["messages"][-1]
        assert heard == [(reply.id, reasoning(reply), "12")]

    run_virtual(main())


@pytest.mark.model
@pytest.mark.slow
async def test_the_small_model_is_heard_as_well() -> None:
    async with EmbeddedEngine(slots=4, context=512) as engine:
        graph = chat(
            engine,
            policy=TotBfs(width=2, keep=1),
            reward=Verifier(half, pure=True),
            limits=Limits(step_tokens=12, path_tokens=48, depth=3),
        )
        parts = [part async for part in graph.astream(CHAT, stream_mode=["messages", "values"])]
        reply = parts[-1][1]["messages"][-1]
        assert whole(part for mode, part in parts if mode == "messages") == reply
        assert reasoning(reply)


# Agents


class Agent(FakeMessagesListChatModel):
    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, AIMessage]:
        return self


async def test_a_tool_thinks_aloud_and_leaves_the_answer_to_its_agent() -> None:
    call = {"name": "think", "args": {"question": QUESTION}, "id": "1", "type": "tool_call"}
    model = Agent(responses=[AIMessage("", tool_calls=[call]), AIMessage("Twelve.")])
    agent = create_agent(model, [create_tot_tool(fast_engine(), **fast(policy=Rebase(width=6)))])
    parts = await said(agent, CHAT)
    thinking = [part for part in parts if isinstance(part[0], AIMessageChunk)]
    assert {meta["langgraph_node"] for _, meta in thinking} == {"tools"}
    assert whole(thinking).text == ""
    graph = create_tot_graph(fast_engine(), **fast(policy=Rebase(width=6)))
    result = await graph.compile().ainvoke(ASKED)
    assert reasoning(whole(thinking)) == path_text(result)
    others = [(type(part[0]).__name__, part[0].text) for part in parts if part not in thinking]
    assert others == [("AIMessage", ""), ("ToolMessage", "12"), ("AIMessage", "Twelve.")]


@pytest.mark.parametrize("sync", [False, True])
async def test_an_agent_says_the_message_that_was_chosen(sync: bool) -> None:
    model = Agent(responses=[AIMessage("5"), AIMessage("4"), AIMessage("4")])
    agent: Any = create_agent(model, middleware=[SpexMiddleware(policy=Rebase(width=3))])
    modes = ["messages", "values"]
    if sync:
        parts: Any = list(agent.stream(CHAT, stream_mode=modes))
    else:
        parts = [part async for part in agent.astream(CHAT, stream_mode=modes)]
    reply = parts[-1][1]["messages"][-1]
    assert reply.text == "4"
    assert whole(part for mode, part in parts if mode == "messages") == reply


async def test_an_agent_says_its_tool_calls() -> None:
    call = {"name": "think", "args": {"question": QUESTION}, "id": "1", "type": "tool_call"}
    asks = AIMessage("", tool_calls=[call])
    model = Agent(responses=[asks, asks, AIMessage("Twelve."), AIMessage("Twelve.")])
    tools = [create_tot_tool(fast_engine(), **fast())]
    agent = create_agent(model, tools, middleware=[SpexMiddleware(policy=Rebase(width=2))])
    parts = await said(agent, CHAT)
    chosen = [chunk for chunk, meta in parts if meta["langgraph_node"] == "model"]
    assert [chunk.text for chunk in chosen] == ["", "Twelve."]
    assert [call["args"] for call in chosen[0].tool_calls] == [{"question": QUESTION}]


# Policies


def test_a_frontier_that_was_wrong_is_a_fault_of_the_policy() -> None:
    class Two(Policy):
        def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
            layers = [((0,), (1,)), ((0, 0), (1, 0))]
            depth = len(state)
            return (*state, 0), Expand(layers[depth]) if depth < 2 else Finish()

        def frontier(self, state: State, tree: TreeView) -> tuple[Path, ...]:
            return ((0, 0),)

        def voters(self, state: State, tree: TreeView) -> tuple[Path, ...]:
            return ((1, 0),) if (1, 0) in tree else ()

    class TwoSteps:
        def thought(self, prompt: Prompt, seed: int, max_tokens: int) -> Thought:
            text = "The answer is 12" if prompt.reply else "Hm"
            return Thought(text=f"{text}, quality 0.500000.", tokens=5)

    async def main() -> None:
        graph = create_tot_graph(SimulatedEngine(TwoSteps()), **settings(policy=Two())).compile()
        with pytest.raises(PolicyError, match=r"nothing beside \(0,\), which was streamed"):
            await graph.ainvoke(ASKED)

    run_virtual(main())
