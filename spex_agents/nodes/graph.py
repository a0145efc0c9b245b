"""Tree-of-thought search as a graph: select, expand, evaluate, and again, until the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from inspect import signature
from typing import Any, TypeAlias, Unpack

from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.graph import END, START

from spex_agents.engines.given import EngineLike
from spex_agents.errors import SettingsError
from spex_agents.nodes.compiled import SearchBuilder
from spex_agents.nodes.portal import portal
from spex_agents.nodes.run import Run, run_of
from spex_agents.nodes.schema import AnswerSchema, schema_settings
from spex_agents.nodes.settings import SearchSettings, check_keywords, search_config
from spex_agents.nodes.state import SearchState
from spex_agents.nodes.steps import State, Steps, Update
from spex_agents.speculation.config import SearchConfig

Step: TypeAlias = Callable[[State, Run, RunnableConfig], Awaitable[Update]]


def create_tot_graph(
    engine: EngineLike,
    *,
    seed: int = 0,
    question_key: str = "question",
    answer_key: str = "answer",
    **search: Unpack[SearchSettings],
) -> SearchBuilder:
    """Build the graph ``select -> expand -> evaluate -> select ... -> answer``, not compiled.

    There is a checkpoint for each layer of thoughts; where the policy demands one thought at a
    time, for each path that ends, and for each 256 tokens of a longer one. It holds what is new. A
    step that fails writes what it has first.

    Compile it as it is, or add it to a graph of yours as a node: its state shares the keys that
    yours has too. Its result holds the answer, the tree (`tree_of`), its hash and the ledger.

    A run begins a new search if its question or its seed is not that of the last search on the
    thread, or if that search has ended. Else it goes on with that search, as does `None` for input.

    A run may choose policy, width, depth, seed, speculation and a budget of tokens for itself, by
    ``context=``; see `SearchContext`.

    With ``stream_mode="messages"`` the stream carries one message in pieces: the thoughts on the
    answer's path as its reasoning (``additional_kwargs["reasoning_content"]``, a chunk each), then
    the answer as its content. A thought is streamed as soon as it is certain to be on that path:
    where the policy has gone on from a single one, with all of its `frontier` and all voters at or
    below it; at the latest with the answer. A run that goes on from a checkpoint does not stream
    again what that knows to have been streamed.

    With ``stream_mode="custom"`` the stream carries a `ThoughtEvent` for whatever happens to a
    thought, those begun early included, and at the end a `LedgerEvent` with what all has cost.
    Nothing else shows the thoughts that nobody demanded: no message, no state.

    Args:
        engine: Who writes thoughts: a LangChain chat model or its name (``"provider:model"``), an
            engine, or an async function ``(question, steps, seed)`` that returns the next step;
            a function runs ahead only if it is declared free of side effects, as
            ``Proposer(function, pure=True)``.
        seed: Decides the run where the state has no `seed` of its own.
        question_key: The state's key of the question.
        answer_key: The state's key of the answer; None if no leaf has one.
        **search: Keywords of the search: policy, reward and more; see `SearchSettings`.

    Raises:
        TypeError: There is no such keyword.
        SettingsError: The parts do not fit together.

    Example:
        >>> from spex_agents.engines.simulated.engine import SimulatedEngine
        >>> from spex_agents.search import Rebase
        >>> graph = create_tot_graph(SimulatedEngine(speed=1000), policy=Rebase(width=4)).compile()
        >>> graph.invoke({"question": "What is 5 + 7?"})["answer"]
        '12'
    """
    check_keywords(create_tot_graph, search)
    schema = None
    if (form := search.get("answer_schema")) is not None:
        schema = AnswerSchema(form)
        search = schema_settings(search, schema)
    setup = search_config(engine, search)
    if schema is not None:
        setup = replace(setup, template=replace(setup.template, close=schema.asks))
    keys = (question_key, answer_key)
    if len({*keys, *SearchState.__annotations__}) < 2 + len(SearchState.__annotations__):
        raise SettingsError(
            f"question_key={question_key!r}, answer_key={answer_key!r}: must differ from each "
            f"other and from the search's own keys {', '.join(SearchState.__annotations__)}"
        )

    steps = Steps(schema, question_key, answer_key, seed)
    graph = SearchBuilder(setup, question_key, answer_key)
    for step in (steps.select, steps.expand, steps.evaluate, steps.answer):
        graph.add_node(step.__name__, _node(step, setup))
    graph.add_edge(START, "select")
    graph.add_conditional_edges("select", _edge(steps.after_select), ["expand", "answer"])
    after = ["evaluate", "expand", "select", "answer"]
    graph.add_conditional_edges("expand", _edge(steps.after_expand), after)
    graph.add_edge("evaluate", "select")
    graph.add_edge("answer", END)
    return graph


def _edge(route: Callable[[State], str]) -> RunnableLambda[Any, str]:
    """An edge that is decided in the event loop: LangGraph asks a plain function in a thread."""

    async def asynchronous(state: State) -> str:
        return route(state)

    return RunnableLambda(route, asynchronous, name=route.__name__)


def _node(step: Step, search: SearchConfig) -> RunnableLambda[Any, Update]:
    """A node that serves `invoke` and `ainvoke`."""

    async def asynchronous(state: State, config: RunnableConfig) -> Update:
        if (run := run_of(config)) is not None:
            async with run.telling():
                return await step(state, run, config)
        async with Run(search) as own, own.telling():
            return await step(state, own, config)

    def synchronous(state: State, config: RunnableConfig) -> Update:
        return portal().call(asynchronous, state, config)

    for function in (synchronous, asynchronous):  # which LangChain asks for twice in each step
        vars(function)["__signature__"] = signature(function)
    return RunnableLambda(synchronous, asynchronous, name=step.__name__)
