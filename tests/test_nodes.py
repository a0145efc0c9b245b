"""The search as a LangGraph graph: the same tree, plain state, events on the stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from node_runs import (
    ASKED,
    QUESTION,
    SPECULATION,
    fast,
    fast_engine,
    idle,
    settings,
    thread,
    tree_hash,
)

from spex_agents.answers import ExactStop, MaxTokens
from spex_agents.engines.embedded.engine import EmbeddedEngine
from spex_agents.engines.simulated.clock import run_virtual
from spex_agents.engines.simulated.engine import SimulatedEngine
from spex_agents.engines.simulated.world import goodness, quality_in
from spex_agents.errors import SettingsError
from spex_agents.nodes import create_tot_graph, create_tot_node, create_tot_tool, tree_of
from spex_agents.rewards import Verifier
from spex_agents.search import Beam, BestOfN, Limits, Policy, Rebase, Rstar
from spex_agents.search.tree import derive_seed
from spex_agents.speculation import SearchConfig, solve
from spex_agents.speculation.config import Speculation

POLICIES = [Rebase(width=6), Beam(beams=4, width=2), BestOfN(width=4), Rstar(rollouts=4, width=2)]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
@pytest.mark.parametrize("speculation", SPECULATION, ids=["ahead", "plain"])
def test_the_graph_grows_the_tree_of_the_plain_search(
    policy: Policy, speculation: Speculation | None
) -> None:
    async def main() -> None:
        graph = create_tot_graph(SimulatedEngine(), **settings(speculation, policy=policy))
        result = await graph.compile().ainvoke(ASKED)
        assert result["tree_sha256"] == await tree_hash(policy=policy)
        assert tree_of(result).sha256() == result["tree_sha256"]

    run_virtual(main())


def test_running_ahead_takes_less_time_and_accounts_for_every_token() -> None:
    async def seconds(speculation: Speculation | None) -> float:
        loop = asyncio.get_running_loop()
        engine = SimulatedEngine()
        began = loop.time()
        result = await create_tot_graph(engine, **settings(speculation)).compile().ainvoke(ASKED)
        ledger = result["ledger"]
        assert ledger["useful_tokens"] == sum(row["tokens"] for row in result["thoughts"])
        assert ledger["decoded_tokens"] == engine.decoded_tokens
        assert idle(engine)
        return loop.time() - began

    assert run_virtual(seconds(Speculation())) < 0.8 * run_virtual(seconds(None))


@pytest.mark.parametrize("policy", [Rebase(width=6), Beam(beams=4, width=2), Rstar(rollouts=4)])
@pytest.mark.parametrize(
    "speculation", [Speculation(), Speculation.paid()], ids=["default", "paid"]
)
def test_no_guess_is_given_up_between_the_decision_and_the_demand(
    policy: Policy, speculation: Speculation
) -> None:
    async def main() -> None:
        given = settings(speculation, policy=policy)
        alone = await solve(SearchConfig(engine=SimulatedEngine(), **given), QUESTION)
        result = await create_tot_graph(SimulatedEngine(), **given).compile().ainvoke(ASKED)
        assert result["ledger"]["hits"] == alone.ledger.hits > 0

    run_virtual(main())


def test_state_and_checkpoints_hold_plain_data_only() -> None:
    async def main() -> None:
        saver = InMemorySaver()
        graph = create_tot_graph(SimulatedEngine(), **settings()).compile(checkpointer=saver)
        await graph.ainvoke(ASKED, thread())
        for snapshot in graph.get_state_history(thread()):
            assert json.loads(json.dumps(snapshot.values)) == snapshot.values
            assert not [key for key in snapshot.metadata or {} if "spex" in key]

    run_virtual(main())


def test_the_rule_that_stops_a_search_is_named() -> None:
    async def main() -> None:
        graph = create_tot_graph(
            SimulatedEngine(), **settings(termination=MaxTokens(300))
        ).compile()
        assert (await graph.ainvoke(ASKED))["stopped"] == "MaxTokens(limit=300)"

    run_virtual(main())


# Questions


def test_another_question_on_the_thread_begins_anew() -> None:
    async def main() -> None:
        graph = create_tot_graph(SimulatedEngine(), **settings()).compile(
            checkpointer=InMemorySaver()
        )
        first = await graph.ainvoke(ASKED, thread())
        other = await graph.ainvoke({"question": "What is 6 + 6?"}, thread())
        assert other["tree_sha256"] != first["tree_sha256"]
        fresh = await graph.ainvoke({"question": "What is 6 + 6?"}, thread("2"))
        assert other["tree_sha256"] == fresh["tree_sha256"]
        again = await graph.ainvoke(ASKED, thread())
        assert again["tree_sha256"] == first["tree_sha256"]
        assert again["ledger"]["useful_tokens"] == first["ledger"]["useful_tokens"]

    run_virtual(main())


def test_the_same_question_once_more_is_a_search_once_more() -> None:
    async def main() -> None:
        engine = SimulatedEngine()
        graph = create_tot_graph(engine, **settings(None)).compile(checkpointer=InMemorySaver())
        first = await graph.ainvoke(ASKED, thread())
        decoded = engine.decoded_tokens
        again = await graph.ainvoke(ASKED, thread())
        assert again["thoughts"] == first["thoughts"]
        assert engine.decoded_tokens == 2 * decoded

    run_virtual(main())


def test_a_seed_in_the_input_decides_the_run() -> None:
    async def main() -> None:
        graph = create_tot_graph(SimulatedEngine(), **settings(), seed=1).compile()
        one = await graph.ainvoke(ASKED)
        same = await graph.ainvoke({**ASKED, "seed": 1})
        other = await graph.ainvoke({**ASKED, "seed": 2})
        assert one["tree_sha256"] == same["tree_sha256"] != other["tree_sha256"]

    run_virtual(main())


@pytest.mark.parametrize("asked", [{"question": "  "}, {"seed": 1}, {"question": 7}])
async def test_a_state_without_a_question_is_refused(asked: Any) -> None:
    with pytest.raises(SettingsError, match="question="):
        await create_tot_graph(fast_engine(), **fast()).compile().ainvoke(asked)


@pytest.mark.parametrize("keys", [("thoughts", "answer"), ("same", "same")])
def test_keys_that_collide_are_refused(keys: tuple[str, str]) -> None:
    question_key, answer_key = keys
    with pytest.raises(SettingsError, match="must differ"):
        create_tot_graph(fast_engine(), question_key=question_key, answer_key=answer_key)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (
            {"termination": 0.01},
            "termination=0.01: must be an instance of TerminationRule",
        ),
        ({"termination": ExactStop}, "termination=ExactStop: is a class, pass an instance of it"),
        ({"failures": 3}, "failures=3: must be an instance of Failures, or None"),
        ({"speculation": True}, "speculation=True: must be an instance of Speculation, or None"),
        ({"limits": {"depth": 3}}, "limits=.*: must be an instance of Limits"),
        ({"sampling": 0.7}, "sampling=0.7: must be an instance of Sampling"),
        ({"template": "Think."}, "template='Think.': must be an instance of PromptTemplate"),
        ({"extract": "boxed"}, "extract='boxed': must be a function"),
        ({"canonical": 3}, "canonical=3: must be a function"),
        ({"engines": ["other"]}, "engines=.*: must be an instance of Mapping"),
    ],
)
@pytest.mark.parametrize("create", [create_tot_graph, create_tot_node, create_tot_tool])
def test_what_is_no_such_setting_is_refused_when_the_search_is_built(
    create: Callable[..., object], given: dict[str, Any], fault: str
) -> None:
    with pytest.raises(SettingsError, match=fault):
        create(fast_engine(), **given)


# Rewards


def test_a_plain_function_scores_only_what_was_demanded() -> None:
    async def calls(*, pure: bool) -> tuple[int, int]:
        asked: list[Sequence[str]] = []

        async def reward(question: str, steps: Sequence[str]) -> float:
            assert question == QUESTION
            asked.append(steps)
            await asyncio.sleep(1.5)
            return goodness(quality_in(steps[-1]) or 0.0)

        given = Verifier(reward, pure=True) if pure else reward
        graph = create_tot_graph(SimulatedEngine(), **settings(reward=given)).compile()
        result = await graph.ainvoke(ASKED)
        assert result["tree_sha256"] == await tree_hash()
        return len(asked), len(result["rewards"])

    asked, committed = run_virtual(calls(pure=False))
    assert asked == committed
    asked, committed = run_virtual(calls(pure=True))
    assert asked > committed


# In other graphs, and synchronously


class Own(TypedDict, total=False):
    problem: str
    solution: str | None
    shouted: str


def own_graph(inner: Any) -> StateGraph[Own, Any, Any, Any]:
    async def shout(state: Own) -> Own:
        return {"shouted": f"{state['solution']}!"}

    def loud(state: Own) -> Own:
        return {"shouted": f"{state['solution']}!"}

    graph = StateGraph(Own)
    graph.add_node("think", inner)
    graph.add_node("shout", RunnableLambda(loud, shout))
    graph.add_edge(START, "think")
    graph.add_edge("think", "shout")
    graph.add_edge("shout", END)
    return graph


@pytest.mark.parametrize("saver", [None, InMemorySaver()], ids=["bare", "saved"])
def test_the_compiled_graph_is_a_node_of_another(saver: InMemorySaver | None) -> None:
    async def main() -> None:
        inner = create_tot_graph(
            SimulatedEngine(),
            **settings(policy=Rstar(rollouts=8, width=2)),
            question_key="problem",
            answer_key="solution",
        ).compile()
        graph = own_graph(inner).compile(checkpointer=saver)
        result = await graph.ainvoke({"problem": QUESTION}, thread())
        assert result == {"problem": QUESTION, "solution": "12", "shouted": "12!"}
        assert "think" in graph.get_graph(xray=True).draw_mermaid()
        assert any("expand" in name for name in graph.get_graph(xray=True).nodes)

    run_virtual(main())


def test_sync_calls_grow_the_same_tree() -> None:
    engine = fast_engine()
    graph = create_tot_graph(engine, **fast()).compile(checkpointer=InMemorySaver())
    expected = run_virtual(tree_hash())
    assert graph.invoke(ASKED, thread())["tree_sha256"] == expected
    *_, last = graph.stream(ASKED, thread(), stream_mode="values")
    assert last["tree_sha256"] == expected
    inner = create_tot_graph(
        engine, **fast(), question_key="problem", answer_key="solution"
    ).compile()
    assert own_graph(inner).compile().invoke({"problem": QUESTION})["shouted"] == "12!"
    assert idle(engine)


async def test_a_sync_call_works_where_a_loop_runs() -> None:
    graph = create_tot_graph(fast_engine(), **fast()).compile()
    assert graph.invoke(ASKED)["answer"] == "12"


async def test_several_searches_share_one_graph_and_engine() -> None:
    engine = fast_engine()
    graph = create_tot_graph(engine, **fast()).compile()
    questions = [{"question": QUESTION, "seed": seed} for seed in range(4)]
    together = await graph.abatch(questions)
    alone = [await graph.ainvoke(question) for question in questions]
    assert [one["tree_sha256"] for one in together] == [one["tree_sha256"] for one in alone]
    assert idle(engine)


def test_nodes_without_a_run_begin_from_the_state() -> None:
    """A stock compiled graph holds no session: every node opens its own, for the same tree."""

    async def main() -> None:
        engine = SimulatedEngine()
        graph = StateGraph.compile(create_tot_graph(engine, **settings()))
        assert (await graph.ainvoke(ASKED))["tree_sha256"] == await tree_hash()
        assert idle(engine)

    run_virtual(main())


# Streams


@pytest.mark.parametrize("speculation", SPECULATION, ids=["ahead", "plain"])
def test_custom_events_tell_the_tree(speculation: Speculation | None) -> None:
    async def main() -> None:
        graph = create_tot_graph(SimulatedEngine(), **settings(speculation)).compile()
        events: list[Any] = []
        values: dict[str, Any] = {}
        mode: str
        part: Any
        async for mode, part in graph.astream(ASKED, stream_mode=["custom", "values"]):
            if mode == "custom":
                events.append(part)
            else:
                values = part
        tree = tree_of(values)
        told = {event["id"]: event["text"] for event in events if event.get("status") == "accepted"}
        assert told == {
            ".".join(map(str, path)): thought.text for path, thought in tree.thoughts.items()
        }
        scored = {
            event["id"]: event["reward"] for event in events if event.get("status") == "scored"
        }
        assert list(scored.values()) == [row["reward"] for row in values["rewards"]]
        ledgers = [event["ledger"] for event in events if event["type"] == "ledger"]
        assert ledgers == [values["ledger"]]
        assert len({event["search"] for event in events}) == 1
        begun_early = any(event.get("status") == "speculative" for event in events)
        assert begun_early is (speculation is not None)

    run_virtual(main())


def test_nothing_begun_early_shows_in_updates_values_or_messages() -> None:
    async def shown(speculation: Speculation | None) -> list[Any]:
        graph = create_tot_graph(SimulatedEngine(), **settings(speculation)).compile()
        modes = ["updates", "values", "messages"]
        parts: list[Any] = []
        mode: str
        part: Any
        async for mode, part in graph.astream(ASKED, stream_mode=modes):
            if mode == "messages":
                parts.append((mode, (part[0].content, part[0].additional_kwargs)))
                continue
            state = {**(part if mode == "values" else next(iter(part.values())))}
            state.pop("ledger", None)  # counts only
            state["told"] = state.get("told", {}).get("path")
            parts.append((mode, state))
        return parts

    assert run_virtual(shown(Speculation())) == run_virtual(shown(None))


async def test_sync_streams_carry_events() -> None:
    graph = create_tot_graph(fast_engine(), **fast()).compile()
    events = graph.stream(ASKED, stream_mode="custom")
    accepted = [event for event in events if event.get("status") == "accepted"]
    assert len(accepted) == len(graph.invoke(ASKED)["thoughts"])


def test_events_of_a_graph_in_a_graph_come_with_its_name() -> None:
    async def main() -> None:
        inner = create_tot_graph(
            SimulatedEngine(), **settings(), question_key="problem", answer_key="solution"
        ).compile()
        graph = own_graph(inner).compile()
        asked: Any = {"problem": QUESTION}
        spaces = {
            space[0].split(":")[0]
            async for space, event in graph.astream(asked, stream_mode="custom", subgraphs=True)
        }
        assert spaces == {"think"}

    run_virtual(main())


def test_seeds_come_from_paths_alone() -> None:
    """What a thought is drawn from does not depend on the run, the node or the attempt."""

    async def main() -> None:
        seeds: dict[str, int] = {}

        class Watched(SimulatedEngine):
            async def generate(self, prompt: Any, request: Any, **more: Any) -> Any:
                run, path, _ = request.id.split("/")
                assert seeds.setdefault(path, request.seed) == request.seed
                runs.add(run)
                return await super().generate(prompt, request, **more)

        runs: set[str] = set()
        graph = create_tot_graph(Watched(), **settings()).compile()
        await graph.ainvoke(ASKED)
        await graph.ainvoke(ASKED)
        assert len(runs) == 2
        assert seeds["0"] == derive_seed(0, (0,))

    run_virtual(main())


@pytest.mark.model
async def test_a_language_model_grows_the_same_tree_ahead_or_not() -> None:
    async def short(question: str, steps: Sequence[str]) -> float:
        await asyncio.sleep(0.05)
        return 1 / (1 + len(steps[-1]))

    hashes = []
    async with EmbeddedEngine(slots=8, context=512) as engine:
        for speculation in SPECULATION:
            graph = create_tot_graph(
                engine,
                policy=Rebase(width=3),
                reward=Verifier(short, pure=True),
                limits=Limits(step_tokens=8, path_tokens=32, depth=3),
                speculation=speculation,
            ).compile(checkpointer=InMemorySaver())
            result = await graph.ainvoke(ASKED, thread())
            assert (result["ledger"]["launched"] > 0) is (speculation is not None)
            hashes.append(result["tree_sha256"])
        if engine.features.exactness == "exact":
            assert hashes[0] == hashes[1]
        load = await engine.load()
        assert load.running == load.waiting == 0
