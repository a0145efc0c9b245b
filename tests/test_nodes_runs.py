"""The session of a run: closed whichever way the run ends, with nothing left behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any

import anyio
import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import NodeTimeoutError
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import RetryPolicy, TimeoutPolicy
from node_runs import (
    ASKED,
    QUESTION,
    SPECULATION,
    Breakable,
    fast,
    fast_engine,
    idle,
    nothing_left,
    settings,
    thread,
    tree_hash,
)

from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.errors import EngineError, EngineUnavailable, RewardError, SessionClosed, SpexError
from spex_agents.nodes import apart, create_tot_graph, create_tot_node
from spex_agents.nodes.run import Run
from spex_agents.rewards import as_reward
from spex_agents.search import Rebase
from spex_agents.speculation.config import SearchConfig, Speculation

MODES = ["values", "custom"]
"""With "values" LangGraph runs a node in its own task, with "custom" in another."""


async def watch(graph: Any, asked: Any, mode: str) -> None:
    async for _ in graph.astream(asked, stream_mode=mode):
        pass


def cancelled_at_random(
    times: int, make: Callable[[SimulatedEngine], Any], asked: Any, again: Sequence[int] = (0,)
) -> None:
    """Cancel runs at random moments, and `again` so many times in the middle of the clean-up."""

    async def main() -> None:
        chance = random.Random(7)
        engine = SimulatedEngine()
        graph = make(engine)
        for number in range(times):
            async with nothing_left(engine):
                run = asyncio.create_task(watch(graph, asked, MODES[number % 2]))
                await asyncio.sleep(chance.uniform(0, 20))
                run.cancel()
                for _ in range(chance.choice(again)):
                    await asyncio.sleep(0)
                    run.cancel()
                await asyncio.wait([run])

    run_virtual(main())


CHAT: Any = {"messages": [("user", QUESTION)]}


def chat(engine: SimulatedEngine) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("think", create_tot_node(engine, **settings()))
    return graph.add_edge(START, "think").compile()


@pytest.mark.slow
def test_cancelled_at_any_moment_a_run_leaves_nothing() -> None:
    small = settings(policy=Rebase(width=4), speculation=Speculation(draws=3))
    cancelled_at_random(
        200, lambda engine: create_tot_graph(engine, **small).compile(), ASKED, (0, 0, 3)
    )


def test_cancelled_at_any_moment_a_drop_in_node_leaves_nothing() -> None:
    cancelled_at_random(25, chat, CHAT)


def test_a_graph_around_it_that_is_driven_apart_leaves_nothing() -> None:
    async def main() -> None:
        engine = SimulatedEngine()
        graph = chat(engine)
        for seconds in (0, 0.5, 2, 3, 5, 8):
            async with nothing_left(engine):
                with anyio.move_on_after(seconds) as scope:
                    await apart(watch(graph, CHAT, "custom"))
                assert scope.cancelled_caught
        assert await apart(asyncio.sleep(1, "done")) == "done"

    run_virtual(main())


@pytest.mark.parametrize("mode", MODES)
def test_a_cancel_scope_leaves_nothing(mode: str) -> None:
    async def main() -> None:
        engine = SimulatedEngine()
        graph = create_tot_graph(engine, **settings()).compile()
        for seconds in (0, 0.5, 2, 3, 5, 8):
            async with nothing_left(engine):
                with anyio.move_on_after(seconds) as scope:
                    await watch(graph, ASKED, mode)
                assert scope.cancelled_caught

    run_virtual(main())


@pytest.mark.parametrize("mode", ["custom", "values", "updates", "messages"])
def test_a_reader_that_goes_away_ends_the_run(mode: Any) -> None:
    async def main() -> None:
        engine = SimulatedEngine()
        graph = create_tot_graph(engine, **settings()).compile()
        async with nothing_left(engine), aclosing(graph.astream(ASKED, stream_mode=mode)) as parts:  # type: ignore[type-var]
            async for _ in parts:
                if engine.running:
                    break

    run_virtual(main())


def test_a_reader_that_forgets_to_close_ends_the_run_too() -> None:
    async def main() -> None:
        engine = SimulatedEngine()
        graph = create_tot_graph(engine, **settings()).compile()
        async with nothing_left(engine):
            async for _ in graph.astream(ASKED, stream_mode="custom"):
                break
            await asyncio.sleep(0.01)

    run_virtual(main())


def test_a_sync_reader_that_goes_away_ends_the_run() -> None:
    engine = fast_engine()
    graph = create_tot_graph(engine, **fast()).compile()
    for _ in graph.stream(ASKED, stream_mode="custom"):
        break
    assert idle(engine)


def test_events_of_langchain_can_be_watched_and_left() -> None:
    async def main() -> None:
        engine = SimulatedEngine()
        graph = create_tot_graph(engine, **settings()).compile()
        async with nothing_left(engine):
            names = {
                event["name"]
                async for event in graph.astream_events(ASKED, version="v2")
                if event["event"] == "on_chain_end"
            }
            assert {"select", "expand", "evaluate", "answer"} <= names
        async with nothing_left(engine):
            events = graph.astream_events(ASKED, version="v2")
            async for event in events:
                if event["name"] == "expand":
                    break
            await events.aclose()  # type: ignore[attr-defined]
            await asyncio.sleep(0.01)

    run_virtual(main())


def test_callbacks_of_the_caller_are_called_as_ever() -> None:
    class Watcher(AsyncCallbackHandler):
        def __init__(self) -> None:
            self.seen: list[str] = []

        async def on_chain_start(self, *args: Any, **more: Any) -> None:
            self.seen.append(f"start {more.get('name')}")

        async def on_chain_end(self, *args: Any, **more: Any) -> None:
            self.seen.append("end")

    async def heard(graph: Any, asked: Any) -> tuple[list[str], list[str]]:
        one, two = Watcher(), Watcher()
        await graph.with_config(callbacks=[one]).ainvoke(asked, {"callbacks": [two]})
        return one.seen, two.seen

    async def main() -> None:
        plain = StateGraph(MessagesState).add_node("node", lambda state: {})
        ever, always = await heard(plain.add_edge(START, "node").compile(), CHAT)
        one, two = await heard(create_tot_graph(SimulatedEngine(), **settings()).compile(), ASKED)
        assert "start expand" in two
        assert always
        assert one == (two if ever else [])  # LangGraph 1.2.0 hears the run's alone

    run_virtual(main())


# Errors


@pytest.mark.parametrize("speculation", SPECULATION, ids=["ahead", "plain"])
def test_errors_are_flat_and_leave_nothing(speculation: Speculation | None) -> None:
    async def broken(question: str, steps: Any) -> float:
        raise ValueError("no")

    async def main() -> None:
        engine = Breakable()
        engine.fails_from = 8
        async with nothing_left(engine):
            with pytest.raises(EngineError) as caught:
                await create_tot_graph(engine, **settings(speculation)).compile().ainvoke(ASKED)
        assert type(caught.value) is EngineUnavailable
        engine.fails_from = None
        graph = create_tot_graph(engine, **settings(speculation, reward=broken)).compile()
        async with nothing_left(engine):
            with pytest.raises(RewardError, match="no"):
                await graph.ainvoke(ASKED)

    run_virtual(main())


def test_a_node_that_is_tried_again_keeps_what_has_succeeded() -> None:
    class OnceBroken(SimulatedEngine):
        failed: str | None = None

        async def generate(self, prompt: Any, request: Any, **more: Any) -> Any:
            asked.append(request.id)
            if request.id.split("/")[1] == "1" and self.failed is None:
                self.failed = request.id
                raise EngineError("once")
            return await super().generate(prompt, request, **more)

    asked: list[str] = []

    async def main() -> None:
        builder = create_tot_graph(OnceBroken(), **settings(None))
        builder.nodes["expand"].retry_policy = RetryPolicy(retry_on=SpexError, jitter=False)
        result = await builder.compile().ainvoke(ASKED)
        assert result["tree_sha256"] == await tree_hash()
        assert len(asked) == len(set(asked)) == len(result["thoughts"]) + 1

    run_virtual(main())


def test_a_timeout_of_a_node_overlaps_no_request_with_itself() -> None:
    async def main() -> None:
        engine = SimulatedEngine()
        builder = create_tot_graph(engine, **settings())
        builder.nodes["expand"].timeout = TimeoutPolicy(run_timeout=0.9)
        builder.nodes["expand"].retry_policy = RetryPolicy(
            retry_on=NodeTimeoutError, max_attempts=50, initial_interval=0.01, max_interval=0.01
        )
        async with nothing_left(engine):
            result = await builder.compile().ainvoke(ASKED)
        assert result["tree_sha256"] == await tree_hash()

    run_virtual(main())


def test_a_sibling_that_fails_ends_the_search() -> None:
    async def fail(state: MessagesState) -> MessagesState:
        await asyncio.sleep(5)
        raise ValueError("sibling")

    async def main() -> None:
        engine = SimulatedEngine()
        graph = StateGraph(MessagesState)
        graph.add_node("think", create_tot_node(engine, **settings()))
        graph.add_node("fail", fail)
        graph.add_edge(START, "think")
        graph.add_edge(START, "fail")
        async with nothing_left(engine):
            with pytest.raises(ValueError, match="sibling"):
                await graph.compile().ainvoke(CHAT)

    run_virtual(main())


def test_two_searches_at_once_do_not_mix() -> None:
    async def main() -> None:
        engine = SimulatedEngine()
        graph = StateGraph(MessagesState)
        for seed in range(2):
            graph.add_node(f"think{seed}", create_tot_node(engine, **settings(), seed=seed))
            graph.add_edge(START, f"think{seed}")
        async with nothing_left(engine):
            result = await graph.compile().ainvoke(CHAT)
        told = {reply.response_metadata["spex"]["tree_sha256"] for reply in result["messages"][1:]}
        alone = create_tot_graph(engine, **settings()).compile()
        assert told == {
            (await alone.ainvoke({**ASKED, "seed": seed}))["tree_sha256"] for seed in range(2)
        }

    run_virtual(main())


# The registry itself


def config(engine: SimulatedEngine) -> SearchConfig:
    more = settings()
    return SearchConfig(engine=engine, **{**more, "reward": as_reward(more["reward"], engine)})


def begun(**more: Any) -> Mapping[str, Any]:
    subject = {"question": QUESTION, "seed": 0}
    return {"subject": subject, "decided": {"state": [6, []], "paths": []}, **more}


async def test_a_run_that_has_ended_opens_no_session() -> None:
    async with Run(config(SimulatedEngine())) as run:
        session = await run.session(begun(), {}, None)
        assert await run.session(begun(), {}, None) is session
    with pytest.raises(SessionClosed, match="has ended"):
        await run.session(begun(), {}, None)


async def test_a_session_that_disagrees_with_the_state_is_replaced() -> None:
    engine = fast_engine()
    async with Run(config(engine)) as run:
        session = await run.session(begun(), {}, None)
        decision = await session.decide()
        await session.expand(decision.paths)  # type: ignore[union-attr]
        other = await run.session(begun(), {}, None)
        assert other is not session
        assert len(other.tree) == 0
        with pytest.raises(SessionClosed):
            await session.memo.take((99,))
    assert idle(engine)


def test_an_interrupt_ends_the_session() -> None:
    async def main() -> None:
        engine = SimulatedEngine()
        graph = create_tot_graph(engine, **settings()).compile(
            checkpointer=InMemorySaver(), interrupt_before=["evaluate"]
        )
        async with nothing_left(engine):
            await graph.ainvoke(ASKED, thread())
        async with nothing_left(engine):
            with suppress(asyncio.CancelledError):
                await graph.ainvoke(None, thread())

    run_virtual(main())
