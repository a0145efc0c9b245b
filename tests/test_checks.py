"""What is said of faults at construction, and where a policy decides."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Sequence
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Send
from node_runs import fast_engine

from spex_agents.errors import EngineError, PolicyError, RewardError, SettingsError
from spex_agents.nodes import SpexMiddleware, create_tot_graph, create_tot_node, create_tot_tool
from spex_agents.rewards import SimulatedReward
from spex_agents.search import Expand, Finish, Policy, Rebase, TotBfs
from spex_agents.speculation import Failures

PROMPT: dict[str, Any] = {"reward": SimulatedReward(latency=0.0001)}


class Counts(Policy):
    """Remembers on itself how often it was asked."""

    asked = 0

    def __repr__(self) -> str:
        return "Counts()"

    def decide(self, state: Any, tree: Any, /) -> Any:
        self.asked += 1
        return state, Finish() if self.asked > 4 else Expand(((self.asked,),))


async def test_a_policy_that_is_not_pure_is_found_out() -> None:
    graph = create_tot_graph(fast_engine(), policy=Counts(), **PROMPT).compile()
    with pytest.raises(PolicyError, match=r"Counts\(\) is not pure: asked twice about the same"):
        await graph.ainvoke({"question": "5 + 7?"})


class Deepens(Policy):
    """Demands a thought below the one that it demanded when it was last asked."""

    asked = 0

    def __repr__(self) -> str:
        return "Deepens()"

    def decide(self, state: Any, tree: Any, /) -> Any:
        self.asked += 1
        return state, Expand(((0,) * self.asked,))


async def test_a_policy_whose_second_decision_is_none_is_found_out_too() -> None:
    graph = create_tot_graph(fast_engine(), policy=Deepens(), **PROMPT).compile()
    with pytest.raises(PolicyError, match=r"Deepens\(\) is not pure: .*\(0, 0\) has no parent"):
        await graph.ainvoke({"question": "5 + 7?"})


async def test_a_policy_has_a_name() -> None:
    graph = create_tot_graph(fast_engine(), policy="tot-bfs", **PROMPT).compile()
    assert isinstance(graph.search.policy, TotBfs)


class Bare:
    """Has the one member that a policy must write."""

    def __repr__(self) -> str:
        return "Bare()"

    def decide(self, state: Any, tree: Any, /) -> Any:
        return state, Finish()


class Blocking:
    name, needs_logprobs, pure = "blocking", False, True

    def score(self, question: str, thoughts: Sequence[Any], request: Any) -> float:
        return 0.5


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"policy": "best"}, "policy='best': must be one of rebase"),
        ({"policy": Rebase}, r"policy=Rebase: is a class, pass Rebase\(\)"),
        ({"policy": 7}, "policy=7: must be a Policy, or the name of one"),
        ({"policy": None}, "policy=None: .*particles; leave it out for the default"),
        ({"reward": lambda question, steps: 0.5}, "reward=<lambda>: .* is not async"),
        ({"policy": Bare()}, r"policy=Bare\(\): has no leaves_only, .*start.*; subclass"),
        ({"reward": Blocking()}, r"reward\.score=score: .* is not async"),
        ({"reward": Blocking}, "reward=Blocking: is a class"),
    ],
)
def test_a_fault_is_told_before_anything_is_called(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        create_tot_graph(fast_engine(), **{**PROMPT, **given})


async def test_searches_side_by_side_are_told_apart() -> None:
    node = create_tot_node(fast_engine(), policy=Rebase(width=2), **PROMPT)
    graph = StateGraph(MessagesState).add_node("think", node)
    graph.add_conditional_edges(
        START, lambda state: [Send("think", state) for _ in range(3)], ["think"]
    )
    asked: Any = {"messages": [("user", "5 + 7?")]}
    events = [part async for part in graph.compile().astream(asked, stream_mode="custom")]
    assert len({event["search"] for event in events}) == 3
    assert len({event["origin"] for event in events}) == 3
    assert all(event["origin"].startswith("think:") for event in events)
    ended = [event["search"] for event in events if event["type"] == "ledger"]
    assert len(set(ended)) == len(ended) == 3
    await asyncio.sleep(0)


@pytest.mark.parametrize("make", [create_tot_graph, create_tot_node, create_tot_tool])
@pytest.mark.parametrize(
    ("keyword", "hint"),
    [
        ("polcy", "did you mean 'policy'"),
        ("rewards", "did you mean 'reward'"),
        ("sed", "did you mean 'seed'"),
        ("max_dollars", "it takes engine, .*seed, .*policy, .*, failures, speculation$"),
    ],
)
def test_a_keyword_that_is_misspelt_is_told_as_the_callers(
    make: Any, keyword: str, hint: str
) -> None:
    said = rf"{make.__name__}\(\) got an unexpected keyword argument '{keyword}': {hint}"
    with pytest.raises(TypeError, match=said):
        make(fast_engine(), **{keyword: 1})


@pytest.mark.parametrize(
    ("keyword", "hint"),
    [
        ("polcy", "did you mean 'policy'"),
        ("xyz", "it takes policy, reward, .*, termination, speculation, .*, max_concurrency$"),
    ],
)
def test_a_middleware_takes_its_own_keywords_alone_and_says_which(keyword: str, hint: str) -> None:
    made: Any = SpexMiddleware
    said = rf"^SpexMiddleware\(\) got an unexpected keyword argument '{keyword}': {hint}"
    with pytest.raises(TypeError, match=said):
        made(**{keyword: 1})


@pytest.mark.parametrize("policy", ["best-of-n", "rebase", "tot-bfs", "refine"])
@pytest.mark.parametrize("failures", [Failures(), Failures(share=1.0), None], ids=repr)
async def test_what_a_users_function_raises_is_the_cause(policy: str, failures: Any) -> None:
    async def my_check(question: str, steps: Sequence[str]) -> float:
        raise KeyError("missing")

    async def my_steps(question: str, steps: Sequence[str], seed: int) -> str:
        raise ValueError("no steps")

    async def half(question: str, steps: Sequence[str]) -> float:
        return 0.5

    cases: list[tuple[Any, Any, type[Exception], str]] = [
        (fast_engine(), my_check, RewardError, "reward 'my_check' failed: KeyError"),
        (my_steps, half, EngineError, "function/my_steps failed: ValueError"),
    ]
    for engine, reward, kind, said in cases:
        graph = create_tot_graph(engine, policy=policy, reward=reward, failures=failures).compile()
        with pytest.raises(kind, match=said) as failed:
            await graph.ainvoke({"question": "5 + 7?"})
        cause = failed.value.__cause__
        assert isinstance(cause, KeyError | ValueError)
        assert traceback.extract_tb(cause.__traceback__)[-1].name in {"my_check", "my_steps"}
