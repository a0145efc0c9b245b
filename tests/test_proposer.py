"""A search whose thoughts are written by a function of the user's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial, wraps
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel
from langgraph.graph import START, MessagesState, StateGraph

from spex_agents import create_tot_graph, create_tot_node, create_tot_tool
from spex_agents._functions import check_async
from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.functions import Proposer
from spex_agents.engines.given import as_engine
from spex_agents.engines.prompts import Message, Prompt
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.engines.simulated.world import SyntheticWorld
from spex_agents.errors import EngineError, RewardError, SettingsError
from spex_agents.nodes import tree_of
from spex_agents.rewards import GroupVote
from spex_agents.rewards.simulated import SimulatedReward
from spex_agents.search import Beam, BestOfN, Limits, Policy, Rebase, Rstar, RstarActions, TotBfs
from spex_agents.search.tree import Thought, draw
from spex_agents.speculation.config import SearchConfig, Speculation
from spex_agents.speculation.solving import Result, solve

QUESTION = "What is 5 + 7?"
ASKED = {"question": QUESTION}


class World:
    """Writes thoughts of the synthetic world, each in a time of its own; tells of all calls."""

    def __init__(self) -> None:
        self.world = SyntheticWorld()
        self.begun = self.ended = self.cancelled = self.tokens = 0
        self.asked: list[tuple[str, list[str], int]] = []

    async def propose(self, question: str, steps: Sequence[str], seed: int) -> Thought:
        self.begun += 1
        self.asked.append((question, list(steps), seed))
        try:
            await asyncio.sleep(draw(seed, (), "seconds").uniform(0.5, 5))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        reply = "".join(f"{step}\n" for step in steps)
        thought = self.world.thought(Prompt((Message("user", question),), reply), seed, 256)
        self.ended += 1
        self.tokens += thought.tokens
        return thought


def settings(**more: Any) -> dict[str, Any]:
    return {"policy": Rebase(width=4), "reward": SimulatedReward(latency=2.0), **more}


POLICIES = st.sampled_from(
    [
        Rebase(width=5),
        Beam(beams=4, width=2),
        Rstar(rollouts=4, width=2),
        RstarActions(rollouts=2, width=1),
        TotBfs(width=3, keep=2, generate="propose"),
    ]
)


@given(POLICIES, st.integers(0, 10**6), st.sampled_from([None, 1, 3]))
@hypothesis_settings(max_examples=6)
def test_the_tree_is_the_same_ahead_or_not(policy: Policy, seed: int, places: int | None) -> None:
    async def grow(speculation: Speculation | None) -> Result:
        world = World()
        engine = Proposer(world.propose, pure=True, max_concurrency=places)
        config = SearchConfig(engine=engine, **settings(policy=policy, speculation=speculation))
        result = await solve(config, QUESTION, seed=seed)
        assert world.begun == world.ended + world.cancelled
        assert result.ledger.decoded_tokens == world.tokens
        assert not (await engine.load()).running
        return result

    off, on = run_virtual(grow(None)), run_virtual(grow(Speculation()))
    assert on.tree == off.tree
    assert (off.ledger.launched, off.ledger.wasted_tokens) == (0, 0)
    assert on.ledger.useful_tokens == off.ledger.useful_tokens


def test_running_ahead_is_sooner_and_what_is_not_wanted_is_cancelled() -> None:
    async def seconds(*, pure: bool) -> tuple[float, World]:
        world = World()
        graph = create_tot_graph(
            Proposer(world.propose, pure=pure), **settings(policy=Rebase(width=8))
        )
        await graph.compile().ainvoke(ASKED)
        return asyncio.get_running_loop().time(), world

    ahead, world = run_virtual(seconds(pure=True))
    waiting, demanded = run_virtual(seconds(pure=False))
    assert ahead < 0.9 * waiting
    assert world.cancelled > 0
    assert demanded.cancelled == 0


def test_a_bare_function_is_called_only_for_what_was_demanded() -> None:
    async def main() -> None:
        world = World()
        result = await create_tot_graph(world.propose, **settings()).compile().ainvoke(ASKED)
        assert world.begun == len(result["thoughts"])
        assert len({seed for *_, seed in world.asked}) == world.begun
        tree = tree_of(result)
        asked = {tuple(steps) for _, steps, _ in world.asked}
        chains = {tuple(one.text for one in tree.chain(path[:-1])) for path in tree.thoughts}
        assert asked == chains
        assert {question for question, *_ in world.asked} == {QUESTION}

    run_virtual(main())


async def says(question: str, steps: Sequence[str], seed: int) -> str:
    return f"I think it is {seed % 7}" if not steps else "The answer is 12"


async def half(question: str, steps: Sequence[str]) -> float:
    return 0.5


async def test_a_text_is_a_step_and_its_tokens_are_estimated() -> None:
    graph = create_tot_graph(says, policy=Rebase(width=2), reward=half).compile()
    result = await graph.ainvoke(ASKED)
    assert result["answer"] == "12"
    assert {row["path"].__len__(): row["tokens"] for row in result["thoughts"]} == {1: 4, 2: 4}
    assert result["ledger"]["decoded_tokens"] == result["ledger"]["estimated_tokens"] == 16


@pytest.mark.parametrize(("told", "estimated"), [(9, 0), (0, 4)])
async def test_the_tokens_of_a_thought_are_estimated_where_it_tells_none(
    told: int, estimated: int
) -> None:
    async def tells(question: str, steps: Sequence[str], seed: int) -> Thought:
        return Thought(text="The answer is 12", tokens=told, finish="stop", ends=True)

    graph = create_tot_graph(tells, policy=Rebase(width=1), reward=half).compile()
    result = await graph.ainvoke(ASKED)
    assert result["ledger"]["useful_tokens"] == told + estimated
    assert result["ledger"]["estimated_tokens"] == estimated


async def test_an_empty_text_ends_its_path_and_a_whole_answer_does() -> None:
    async def silent(question: str, steps: Sequence[str], seed: int) -> str:
        return ""

    for propose, policy in ((silent, Rebase(width=2)), (says, BestOfN(width=2))):
        graph = create_tot_graph(propose, policy=policy, reward=half).compile()
        thoughts = (await graph.ainvoke(ASKED))["thoughts"]
        assert [(len(row["path"]), row["ends"]) for row in thoughts] == [(1, True)] * 2


async def test_nodes_and_tools_take_it_as_well() -> None:
    node = create_tot_node(says, policy=Rebase(width=2), reward=half)
    graph: Any = StateGraph(MessagesState).add_node("t", node).add_edge(START, "t").compile()
    assert (await graph.ainvoke({"messages": [("user", QUESTION)]}))["messages"][-1].text == "12"
    tool = create_tot_tool(Proposer(says), policy=Rebase(width=2), reward=half)
    assert await tool.ainvoke(ASKED) == "12"
    assert tool.invoke(ASKED) == "12"


async def test_a_chat_model_that_it_calls_is_not_heard() -> None:
    model = FakeListChatModel(responses=["The answer is 12"])

    async def propose(question: str, steps: Sequence[str], seed: int) -> str:
        return "".join([chunk.text async for chunk in model.astream(question)])

    graph = create_tot_graph(propose, policy=Rebase(width=2), reward=half).compile()
    heard = [part async for part in graph.astream(ASKED, stream_mode="messages")]
    assert len(heard) == 2  # a thought, and the answer


# What it says of itself


def test_what_the_seed_is_worth_is_declared() -> None:
    assert Proposer(says).features.exactness == "unseeded"
    assert Proposer(says, pure=True).features.exactness == "exact"
    calls_a_model = Proposer(says, pure=True, exactness="unseeded", max_concurrency=4)
    assert calls_a_model.features.exactness == "unseeded"
    assert calls_a_model.features.pure
    assert calls_a_model.features.slots == 4
    assert calls_a_model.name == "function/says"
    assert Proposer(partial(says), name="mine").name == "function/mine"


def test_an_engine_stays_what_it_is() -> None:
    engine = SimulatedEngine()
    assert as_engine(engine) is engine


# Faults


async def test_what_is_no_thought_is_refused() -> None:
    async def number(question: str, steps: Sequence[str], seed: int) -> Any:
        return seed

    async def fails(question: str, steps: Sequence[str], seed: int) -> str:
        raise ConnectionError("gone")

    for propose, fault in ((number, "must be a str or a Thought"), (fails, "gone")):
        graph = create_tot_graph(propose, policy=Rebase(width=2), reward=half).compile()
        with pytest.raises(EngineError, match=rf"function/{propose.__name__} .*{fault}"):
            await graph.ainvoke(ASKED)


async def test_it_judges_nothing() -> None:
    engine = Proposer(says)
    with pytest.raises(EngineError, match="another engine"):
        await engine.score(Prompt(()), Request(id="r", seed=1), labels=["Yes"])
    graph = create_tot_graph(engine, policy=Rebase(width=2), reward=GroupVote(engine)).compile()
    with pytest.raises((EngineError, RewardError), match="another engine"):
        await graph.ainvoke(ASKED)
    with pytest.raises(SettingsError, match="gives no log-probabilities"):
        create_tot_graph(says)


def blocking(question: str, steps: Sequence[str], seed: int) -> str:
    return "no"


async def two(question: str, steps: Sequence[str]) -> str:
    return "no"


async def yields(question: str, steps: Sequence[str], seed: int) -> Any:
    yield "no"


class Blocking:
    def __call__(self, question: str, steps: Sequence[str], seed: int) -> str:
        return "no"


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (blocking, r"propose=blocking: .*\(question, steps, seed\).* is not async: write it as"),
        (two, r"propose=two: .* takes \(question: 'str', steps: 'Sequence\[str\]'\)"),
        (yields, "propose=yields: .* yields: return"),
        (Blocking(), "propose=Blocking: .* is not async"),
        (partial(blocking), "propose=blocking: .* is not async"),
        (SimulatedEngine, "engine=SimulatedEngine: .*is a class"),
        ("embedded", r"(?s)engine='embedded': .*provider:model"),
        (None, "engine=None: must be an engine"),
    ],
)
def test_a_wrong_function_is_refused_before_any_call(given: Any, fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        create_tot_graph(given, reward=half)


def test_a_wrong_exactness_is_refused() -> None:
    with pytest.raises(SettingsError, match="exactness='sure'"):
        Proposer(says, exactness="sure")  # type: ignore[arg-type]


def logged(function: Callable[..., Awaitable[str]]) -> Callable[..., Awaitable[str]]:
    @wraps(function)
    def call(*args: Any) -> Awaitable[str]:
        return function(*args)

    return call


def made_async(function: Callable[..., str]) -> Callable[..., Awaitable[str]]:
    @wraps(function)
    async def call(*args: Any) -> str:
        return function(*args)

    return call


class Async:
    async def __call__(self, question: str, steps: Sequence[str], seed: int) -> str:
        return "The answer is 12"


@pytest.mark.parametrize(
    "given",
    [
        partial(says),
        logged(says),
        made_async(blocking),
        Async(),
        World().propose,
        lambda question, steps, seed: says(question, [], seed),
    ],
)
def test_whatever_is_async_is_taken(given: Any) -> None:
    check_async("propose", given, "question", "steps", "seed", returns="str")


async def test_limits_end_its_paths() -> None:
    async def on(question: str, steps: Sequence[str], seed: int) -> str:
        return "and on " * 4

    limits = Limits(step_tokens=8, path_tokens=20, depth=9)
    graph = create_tot_graph(on, policy=Rebase(width=2), reward=half, limits=limits).compile()
    thoughts = (await graph.ainvoke(ASKED))["thoughts"]
    assert max(len(row["path"]) for row in thoughts) == 3
    sampling, request = Sampling(), Request(id="r", seed=1)
    again = await Proposer(on).generate(
        Prompt((), question="", steps=()), request, sampling=sampling, max_tokens=1
    )
    assert request.tokens == again.tokens == 7
