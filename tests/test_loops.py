"""One engine and one compiled graph in several event loops, in threads, and after a fork."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Event, Thread
from time import sleep
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import FakeListChatModel
from scripted_server import scripted_server

from spex_agents import Limits, Rebase, create_tot_graph
from spex_agents.engines import ChatModelEngine, EmbeddedEngine, OpenAIEngine
from spex_agents.engines.base import Engine, Request
from spex_agents.engines.calls.gate import Gate
from spex_agents.engines.functions import Proposer
from spex_agents.engines.simulated import SimulatedEngine
from spex_agents.errors import EngineError
from spex_agents.loops import PerLoop, Threads
from spex_agents.nodes.middleware import SpexMiddleware
from spex_agents.rewards import Verifier
from spex_agents.search.policy import Decision, State
from spex_agents.search.tree import Tree, TreeView
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.session import Session
from spex_agents.speculation.slots.budget import Budget
from spex_agents.speculation.slots.sharing import budget_of

SECONDS = 240.0
"""Longest time for what takes a few; whoever is not done then hangs."""

ASKED = {"question": "What is 5 + 7?", "seed": 3}


async def propose(question: str, steps: Sequence[str], seed: int) -> str:
    await asyncio.sleep(0.001 * (seed % 7))
    return f"The answer is {seed % 10}." if len(steps) == 2 else f"Step {seed % 100}."


async def known(question: str, steps: Sequence[str]) -> float:
    return sum(map(ord, steps[-1])) % 10 / 10


def graph_of(engine: Engine, **settings: Any) -> Any:
    limits = Limits(depth=3, path_tokens=48)
    return create_tot_graph(
        engine, policy=Rebase(width=4), reward=known, limits=limits, **settings
    ).compile()


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What each of `calls` returns or raises, each in a thread of its own."""
    ends: list[Any] = [None] * len(calls)

    def run(index: int, call: Callable[[], Any]) -> None:
        try:
            ends[index] = call()
        except Exception as error:
            ends[index] = error

    threads = [Thread(target=run, args=pair, daemon=True) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert not any(thread.is_alive() for thread in threads), "a search hangs"
    return ends


def searches(graph: Any) -> list[Any]:
    """Two searches by `invoke` beside two, each after another, in loops of their own."""

    def asynchronous() -> Any:
        asyncio.run(graph.ainvoke(ASKED))
        return asyncio.run(graph.ainvoke(ASKED))

    def synchronous() -> Any:
        graph.invoke(ASKED)
        return graph.invoke(ASKED)

    return at_once(asynchronous, synchronous, asynchronous, synchronous)


def check_same(ends: Sequence[Any], alone: Any) -> None:
    for end in ends:
        assert not isinstance(end, Exception), end
        assert (end["thoughts"], end["answer"]) == (alone["thoughts"], alone["answer"])


@pytest.mark.parametrize("places", [2, 12, None])
def test_a_function_writes_for_several_loops(places: int | None) -> None:
    graph = graph_of(Proposer(propose, pure=True, max_concurrency=places))
    check_same(searches(graph), graph.invoke(ASKED))


@pytest.mark.parametrize("places", [2, None])
def test_a_chat_model_writes_for_several_loops(places: int | None) -> None:
    engine = ChatModelEngine(FakeListChatModel(responses=["\\boxed{4}"]), max_concurrency=places)
    graph = graph_of(engine)
    check_same(searches(graph), graph.invoke(ASKED))


@pytest.mark.parametrize("places", [2, None])
async def test_a_server_writes_for_several_loops(places: int | None) -> None:
    async with scripted_server() as server:
        engine = OpenAIEngine(server.url, max_concurrency=places)
        graph = graph_of(engine)
        ends = await asyncio.to_thread(searches, graph)
        check_same(ends, await graph.ainvoke(ASKED))
        await engine.aclose()


def test_an_agent_s_middleware_searches_in_several_loops() -> None:
    model = FakeListChatModel(responses=["4"])
    agent = create_agent(model, middleware=[SpexMiddleware()])
    asked: Any = {"messages": [("user", "What is 2 + 2?")]}
    ends = at_once(
        *[lambda: agent.invoke(asked)] * 2, *[lambda: asyncio.run(agent.ainvoke(asked))] * 2
    )
    assert [end["messages"][-1].text for end in ends] == ["4"] * 4


def test_a_simulated_engine_serves_one_loop_at_a_time_and_says_so() -> None:
    graph = graph_of(SimulatedEngine(speed=100))
    ends = searches(graph)
    refused = [end for end in ends if isinstance(end, Exception)]
    assert all(isinstance(end, EngineError) and "one clock" in str(end) for end in refused)
    check_same([end for end in ends if end not in refused], graph.invoke(ASKED))


@pytest.mark.model
@pytest.mark.slow
async def test_an_embedded_model_writes_for_several_loops() -> None:
    async with EmbeddedEngine(slots=4, context=512) as engine:
        graph = graph_of(engine)
        ends = await asyncio.to_thread(searches, graph)
        check_same(ends, await graph.ainvoke(ASKED))


@pytest.mark.model
@pytest.mark.slow
async def test_two_engines_of_one_model_in_one_process_write_the_same() -> None:
    async with (
        EmbeddedEngine(slots=4, context=512) as one,
        EmbeddedEngine(slots=4, context=512) as other,
    ):
        ends = await asyncio.gather(*(graph_of(each).ainvoke(ASKED) for each in (one, other)))
    check_same(ends[:1], ends[1])


def test_a_budget_that_searches_were_given_holds_in_each_loop() -> None:
    budget = Budget(3, slowdown=0.2)

    async def here() -> Budget:
        return budget.here()

    async def in_two() -> tuple[Budget, Budget]:
        return budget.here(), await asyncio.to_thread(asyncio.run, here())

    mine, other = asyncio.run(in_two())
    assert mine is budget
    assert other is not budget
    assert (other.capacity, other.slowdown) == (3, 0.2)


def test_a_loop_goes_on_with_the_budget_of_one_that_was_closed() -> None:
    engine = Proposer(propose, pure=True)

    async def here() -> Budget:
        return budget_of(engine)

    first = asyncio.run(here())
    assert asyncio.run(here()) is first


def test_places_are_as_many_over_all_loops() -> None:
    gate, inside, most = Gate(3), list[int](), list[int]()

    async def one(number: int) -> None:
        async with gate.place(Request(id=str(number), seed=1)):
            inside.append(number)
            most.append(len(inside))
            await asyncio.sleep(0.001)
            inside.remove(number)

    async def many() -> None:
        await asyncio.gather(*map(one, range(40)))

    ends = at_once(*[lambda: asyncio.run(many())] * 4)
    assert ends == [None] * 4
    assert max(most) == 3
    assert (gate.running, gate.waiting) == (0, 0)


def test_a_place_is_not_given_to_a_loop_that_was_closed() -> None:
    gate = Gate(1)
    loop = asyncio.new_event_loop()

    async def wait() -> None:
        async with gate.place(Request(id="left", seed=1)):
            pass

    async def hold_and_leave() -> None:
        async with gate.place(Request(id="first", seed=1)):
            waiting = loop.create_task(wait())
            await asyncio.to_thread(loop.run_until_complete, asyncio.sleep(0))
            assert gate.waiting == 1
            loop.close()
            waiting._log_destroy_pending = False  # type: ignore[attr-defined]
        assert (gate.running, gate.waiting) == (0, 0)

    asyncio.run(hold_and_leave())


def test_values_are_kept_apart_by_loop() -> None:
    places = PerLoop[list[int]](list)

    async def here(number: int) -> list[int]:
        places().append(number)
        await asyncio.sleep(0.05)
        return places()

    ends = at_once(*(lambda number=number: asyncio.run(here(number)) for number in range(3)))
    assert sorted(ends) == [[0], [1], [2]]


class Slow(Rebase):
    """Decides as REBASE does, in a thread, after a while."""

    blocking = True

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        sleep(0.01)
        return super().decide(state, tree)


async def test_forecasts_do_not_take_the_threads_of_decisions() -> None:
    """All threads of forecasts are busy for good; a decision comes all the same."""
    from spex_agents.speculation.foresight.planning import FORECASTING  # noqa: PLC0415

    pool = FORECASTING()
    release = Event()
    loop = asyncio.get_running_loop()
    blocked = [
        loop.run_in_executor(pool, release.wait, SECONDS) for _ in range(2 * pool._max_workers)
    ]
    config = SearchConfig(
        engine=Proposer(propose, pure=True),
        policy=Slow(width=4),
        reward=Verifier(known),
        limits=Limits(depth=3),
    )
    try:
        async with Session(config, Tree("What is 5 + 7?", 3), run="slow") as session:
            decision = await asyncio.wait_for(session.decide(), SECONDS)
            assert type(decision).__name__ == "Expand"
            release.set()
            await asyncio.gather(*blocked)
    finally:
        release.set()


forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

NURSERY = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, "tests")
from test_loops import *
for line in iter(sys.stdin.readline, ""):
    if (process := os.fork()) == 0:
        exec(json.loads(line))
        sys.exit(0)
    print("end", os.waitpid(process, 0)[1], flush=True)
"""
"""Reads scripts, and runs each in a child that has done nothing yet but import what it needs."""

SCRIPT = """
import signal
signal.alarm({seconds})
engine = {engine}
graph = graph_of(engine)
before = {first}
if (child := os.fork()) == 0:
    try:
        after = [graph.invoke(ASKED), asyncio.run(graph.ainvoke(ASKED))]
        same = before is None or all(end["thoughts"] == before["thoughts"] for end in after)
        print("same" if same else "other")
        sys.stdout.flush()
    except BaseException as error:
        print(type(error).__name__, error)
    sys.exit(0)
_, status = os.waitpid(child, 0)
print("status", status)
"""


@pytest.fixture(scope="module")
def nursery() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", NURSERY]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        yield running
        assert running.stdin is not None
        running.stdin.close()


def forked(
    nursery: subprocess.Popen[str], engine: str, *, first: str = "graph.invoke(ASKED)"
) -> str:
    """What a process and its child print: one search before the fork, and two after it."""
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    script = SCRIPT.format(engine=engine, first=first, seconds=int(SECONDS))
    nursery.stdin.write(json.dumps(script) + "\n")
    nursery.stdin.flush()
    *printed, end = _until_end(nursery.stdout)
    assert end == "end 0\n", printed
    return "".join(printed)


def _until_end(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield line
        if line.startswith("end "):
            return


@forking
@pytest.mark.parametrize(
    "engine",
    [
        "Proposer(propose, pure=True)",
        "Proposer(propose, pure=True, max_concurrency=2)",
        "ChatModelEngine(FakeListChatModel(responses=['\\\\boxed{{4}}']), max_concurrency=2)",
        "SimulatedEngine(speed=100)",
    ],
)
def test_a_forked_process_searches_on(engine: str, nursery: subprocess.Popen[str]) -> None:
    engine = engine.replace("{{", "{").replace("}}", "}")
    assert forked(nursery, engine) == "same\nstatus 0\n"


@forking
def test_a_process_forked_while_searches_run_begins_anew(nursery: subprocess.Popen[str]) -> None:
    first = (
        "graph.invoke(ASKED) and Thread("  # after all late imports
        "target=lambda: [graph.invoke(ASKED) for _ in range(20)], daemon=True"
        ").start() or sleep(0.1) or None"
    )
    engine = "Proposer(propose, pure=True, max_concurrency=2)"
    assert forked(nursery, engine, first=first) == "same\nstatus 0\n"


@forking
@pytest.mark.model
def test_a_model_loaded_before_a_fork_says_that_it_cannot_be_used(
    nursery: subprocess.Popen[str],
) -> None:
    printed = forked(nursery, "EmbeddedEngine(slots=2, context=512)")
    assert "EngineUnavailable this process was forked after the model had been loaded" in printed
    assert printed.endswith("status 0\n")


@forking
@pytest.mark.model
def test_a_model_loads_after_a_fork(nursery: subprocess.Popen[str]) -> None:
    printed = forked(nursery, "EmbeddedEngine(slots=2, context=512)", first="None")
    assert printed == "same\nstatus 0\n"


def test_a_forked_process_has_threads_of_its_own() -> None:
    threads = Threads("test", 2)
    assert threads() is threads()
    threads._pools[os.getpid() + 1] = threads._pools.pop(os.getpid())
    assert threads() is not threads._pools[os.getpid() + 1]
