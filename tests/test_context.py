"""What a run chooses for itself: by a typed context, which a search keeps to."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from node_runs import ASKED, QUESTION, Breakable, fast, fast_engine, thread
from pydantic import ValidationError
from typing_extensions import TypedDict

from spex_agents.errors import EngineError, SettingsError
from spex_agents.nodes import SearchContext, create_tot_graph, create_tot_node, tree_of
from spex_agents.search import BestOfN, Rap, Rebase
from spex_agents.search.registry import POLICIES
from spex_agents.speculation.config import Speculation

CHAT: Any = {"messages": [("user", QUESTION)]}


SMALL: dict[str, Any] = {"policy": Rebase(width=2), "speculation": None}


def graph(engine: Any = None, **more: Any) -> Any:
    return create_tot_graph(engine or fast_engine(), **fast(**{**SMALL, **more}))


async def alone(**more: Any) -> str:
    result = await graph(**more).compile().ainvoke(ASKED)
    return str(result["tree_sha256"])


@pytest.mark.parametrize(
    ("context", "search"),
    [
        ({"policy": "best-of-n", "width": 3}, {"policy": BestOfN(width=3)}),
        ({"width": 3}, {"policy": Rebase(width=3)}),
        ({"seed": 5}, {"seed": 5}),
        (SearchContext(width=3, speculation=False), {"policy": Rebase(width=3)}),
        ({}, {}),
    ],
    ids=["policy", "width", "seed", "typed", "none"],
)
async def test_a_run_may_choose(context: Any, search: dict[str, Any]) -> None:
    result = await graph().compile().ainvoke(ASKED, context=context)
    assert result["tree_sha256"] == await alone(**search)


async def test_a_choice_that_is_misspelt_is_refused_and_keys_of_others_are_not() -> None:
    compiled = graph().compile()
    with pytest.raises(ValidationError, match=r"'wdth': .* is it 'width'"):
        await compiled.ainvoke(ASKED, context={"wdth": 3})
    result = await compiled.ainvoke(ASKED, context={"user_id": "u", "width": 3})
    assert result["tree_sha256"] == await alone(policy=Rebase(width=3))


async def test_depth_and_tokens_bound_the_run() -> None:
    compiled = graph().compile()
    result = await compiled.ainvoke(ASKED, context={"depth": 2})
    assert max(len(path) for path in tree_of(result).thoughts) == 2
    result = await compiled.ainvoke(ASKED, context={"tokens": 1})
    assert result["stopped"] == "MaxTokens(limit=1)"
    assert max(len(path) for path in tree_of(result).thoughts) == 1


async def test_without_speculation_nothing_is_begun_early() -> None:
    compiled = graph(policy=Rebase(width=6), speculation=Speculation()).compile()
    assert (await compiled.ainvoke(ASKED))["ledger"]["launched"] > 0
    result = await compiled.ainvoke(ASKED, context={"speculation": False})
    assert result["ledger"]["launched"] == 0


def test_sync_runs_choose_as_well() -> None:
    result = graph().compile().invoke(ASKED, context={"policy": "best-of-n", "width": 2})
    assert len(result["thoughts"]) == 2


@pytest.mark.parametrize(
    ("context", "fault"),
    [
        ({"policy": "no"}, "policy='no': must be one of rebase"),
        ({"policy": "best-of-n", "width": 0}, "greater than or equal to 1"),
        ({"depth": 0}, "greater than or equal to 1"),
    ],
)
async def test_what_does_not_fit_is_refused_before_anything_is_called(
    context: Any, fault: str
) -> None:
    with pytest.raises((SettingsError, ValidationError), match=fault):
        await graph().compile().ainvoke(ASKED, context=context)


async def test_a_policy_without_a_width_takes_none() -> None:
    class Bare(Rebase):
        __dataclass_fields__ = {}  # noqa: RUF012 (what the settings of a policy are known by)

    with pytest.raises(SettingsError, match=r"width=3: .* has no width; name a policy="):
        await graph(policy=Bare(width=2)).compile().ainvoke(ASKED, context={"width": 3})


def test_it_is_told_with_titles_and_choices() -> None:
    told = graph().compile().get_context_jsonschema()
    assert told["properties"].keys() == SearchContext.model_fields.keys()
    assert all(entry["title"] and entry["description"] for entry in told["properties"].values())
    assert told["properties"]["policy"]["enum"] == [*POLICIES, None]


# Going on


async def test_a_search_keeps_to_what_it_was_begun_with() -> None:
    engine = Breakable(speed=1000)
    compiled = graph(engine).compile(checkpointer=InMemorySaver())
    engine.fails_from = 4
    context = {"policy": "rap", "width": 2, "seed": 3}
    with pytest.raises(EngineError):
        await compiled.ainvoke(ASKED, thread(), context=context)
    engine.fails_from = None
    for going_on in (None, ASKED):
        state = await compiled.aget_state(thread())
        result = await compiled.ainvoke(going_on, state.config)
        assert result["tree_sha256"] == await alone(policy=Rap(width=2), seed=3)


async def test_another_choice_is_another_search() -> None:
    engine = Breakable(speed=1000)
    compiled = graph(engine).compile(checkpointer=InMemorySaver())
    engine.fails_from = 4
    with pytest.raises(EngineError):
        await compiled.ainvoke(ASKED, thread(), context={"policy": "beam", "width": 2})
    engine.fails_from = None
    result = await compiled.ainvoke(ASKED, thread(), context={"width": 3})
    assert result["tree_sha256"] == await alone(policy=Rebase(width=3))


async def test_forks_and_interrupts_keep_it() -> None:
    compiled = graph().compile(checkpointer=InMemorySaver(), interrupt_before=["evaluate"])
    await compiled.ainvoke(ASKED, thread(), context={"width": 3})
    result: dict[str, Any] = {}
    while (await compiled.aget_state(thread())).next:
        result = await compiled.ainvoke(None, thread())
    assert result["tree_sha256"] == await alone(policy=Rebase(width=3))


# In a graph around it


class Mine(SearchContext):
    """A context of a user's own, which has more."""

    tenant: str = "nobody"


class Other(TypedDict):
    width: str


async def test_a_graph_around_a_node_passes_it_on() -> None:
    node = create_tot_node(fast_engine(), **fast(**SMALL))
    for schema in (SearchContext, Mine):
        outer: Any = StateGraph(MessagesState, context_schema=schema).add_node("think", node)
        result = await outer.add_edge(START, "think").compile().ainvoke(CHAT, context={"width": 3})
        report = result["messages"][-1].response_metadata["spex"]
        assert report["tree_sha256"] == await alone(policy=Rebase(width=3))


async def test_a_context_of_another_kind_is_none_of_its_business() -> None:
    node = create_tot_node(fast_engine(), **fast(**SMALL))
    outer = StateGraph(MessagesState, context_schema=Other).add_node("think", node)
    compiled: Any = outer.add_edge(START, "think").compile()
    result = await compiled.ainvoke(CHAT, context={"width": "huge"})
    assert result["messages"][-1].response_metadata["spex"]["tree_sha256"] == await alone()


async def test_choices_in_a_dictionary_without_a_schema_are_passed_over_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = create_tot_node(fast_engine(), **fast(**SMALL))
    compiled: Any = StateGraph(MessagesState).add_node("think", node).add_edge(START, "think")
    compiled = compiled.compile()
    context: dict[str, Any] = {"tokens": 1, "depth": 2}
    result = await compiled.ainvoke(CHAT, context={**context, "user_id": "u"})
    assert result["messages"][-1].response_metadata["spex"]["tree_sha256"] == await alone()
    (said,) = [record.getMessage() for record in caplog.records if "context" in record.name]
    assert said.startswith("context={'depth': ..., 'tokens': ...}: passed over by the search")
    assert "context_schema=SearchContext" in said
    result = await compiled.ainvoke(CHAT, context=SearchContext(**context))
    assert result["messages"][-1].response_metadata["spex"]["stopped"] == "MaxTokens(limit=1)"
