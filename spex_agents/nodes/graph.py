"""Tree-of-thought search as a graph: select, expand, evaluate, and again, until the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import copy_context
from dataclasses import replace
from typing import Any, TypeAlias, Unpack

from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.config import get_stream_writer
from langgraph.graph import END, START

from spex_agents.engines.given import EngineLike
from spex_agents.errors import SettingsError
from spex_agents.nodes.compiled import SearchBuilder
from spex_agents.nodes.portal import portal
from spex_agents.nodes.run import LISTENER, Run, run_of, tell_ledger
from spex_agents.nodes.schema import AnswerSchema, schema_settings
from spex_agents.nodes.settings import SearchSettings, search_config
from spex_agents.nodes.state import (
    SearchState,
    Subject,
    Told,
    begin,
    failed_since,
    outcome_of,
    paths_of,
    plain,
    reward_rows,
    thought_rows,
)
from spex_agents.nodes.told import is_free_text, new_id, tell, voice_of
from spex_agents.search.policy import Expand, settled
from spex_agents.speculation.config import SearchConfig, check_question
from spex_agents.speculation.reporting.events import Listener
from spex_agents.speculation.session import Session

State: TypeAlias = Mapping[str, Any]
Update: TypeAlias = dict[str, Any]
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

    Compile it as it is, or add it to a graph of yours as a node: its state shares the keys that
    yours has too. Its result holds the answer, the tree (`tree_of`), its hash and the ledger.

    A run begins a new search if its question (or its seed) is another than the last one on the
    thread, or if that search has ended; else it goes on with that search, as does `None` for input.

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
        SettingsError: The parts do not fit together.

    Example:
        >>> from spex_agents.engines.simulated.engine import SimulatedEngine
        >>> from spex_agents.search import Rebase
        >>> graph = create_tot_graph(SimulatedEngine(speed=1000), policy=Rebase(width=4)).compile()
        >>> graph.invoke({"question": "What is 5 + 7?"})["answer"]
        '12'
    """
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

    async def select(state: State, run: Run, config: RunnableConfig) -> Update:
        subject = _subject(state, question_key, seed)
        begun: Update = {}
        if state.get("subject") != subject or state.get("tree_sha256") is not None:
            begun = {**begin(subject), "told": Told(id=new_id(), path=[]), answer_key: None}
            start = {"subject": subject, "policy_state": plain(setup.policy.start())}
            session = await run.session(start, config, listener_of(config))
        else:
            session = await run.session(state, config, listener_of(config))
            if not session.stopped and not _carried_out(paths_of(state["demanded"]), session):
                return {"demanded": state["demanded"]}
        decision = await session.decide()
        paths = decision.paths if isinstance(decision, Expand) else ()
        path = settled(session.config.policy, session.state, session.tree)
        told = await tell(session, begun.get("told") or state["told"], path, voice_of(config))
        return begun | {
            "policy_state": plain(session.state),
            "demanded": [list(path) for path in paths],
            "stopped": session.stopped,
            "timed": session.timed,
            "told": told,
        }

    async def answer(state: State, run: Run, config: RunnableConfig) -> Update:
        session = await run.session(state, config, listener_of(config))
        told_path = tuple(state["told"]["path"])
        path = await session.accepted(told_path)
        came = await session.result()
        elected: Any = came.answer
        if schema is not None and (found := schema.elect(came.ballots, setup.vote)):
            elected, path = found
        ended = outcome_of(came, path, answered=elected is not None)
        if is_free_text(session, path, elected) and not told_path:
            path = told_path  # its thoughts are the answer, and no reasoning before it
        await session.close()  # what still runs is waste, and counted as such
        tell_ledger(session)
        ended["ledger"] = session.ledger.report()
        told_of = {
            "answer": elected,
            "stopped": came.stopped,
            "failures": state.get("failures", []),
        }
        result = {**ended, **told_of}
        told = await tell(session, state["told"], path, voice_of(config), result)
        return {**ended, answer_key: elected, "told": told}

    graph = SearchBuilder(setup, question_key, answer_key)
    for step in (select, expand, evaluate, answer):
        graph.add_node(step.__name__, _node(step, setup))
    graph.add_edge(START, "select")
    graph.add_conditional_edges("select", _expand_or_answer, ["expand", "answer"])
    graph.add_edge("expand", "evaluate")
    graph.add_edge("evaluate", "select")
    graph.add_edge("answer", END)
    return graph


async def expand(state: State, run: Run, config: RunnableConfig) -> Update:
    session = await run.session(state, config, listener_of(config))
    before = session.tree
    thoughts = await session.expand(paths_of(state["demanded"]))
    return {"thoughts": thought_rows(thoughts), "failures": failed_since(before, session.tree)}


async def evaluate(state: State, run: Run, config: RunnableConfig) -> Update:
    session = await run.session(state, config, listener_of(config))
    before = session.tree
    rewards = await session.evaluate(paths_of(state["demanded"]))
    return {"rewards": reward_rows(rewards), "failures": failed_since(before, session.tree)}


def _subject(state: State, question_key: str, seed: int) -> Subject:
    question = state.get(question_key)
    if not isinstance(question, str):
        raise SettingsError(f"{question_key}={question!r}: the state must hold a question, a str")
    return Subject(question=check_question(question), seed=state.get("seed", seed))


def _carried_out(demanded: tuple[tuple[int, ...], ...], session: Session) -> bool:
    """Whether the last decision was: not if its run failed, and the same question is put again."""
    tree = session.tree
    leaves_only = session.config.policy.leaves_only
    failures = session.config.failures
    lost = failures is not None and failures.reward is None
    return all(
        path in tree
        and (
            path in tree.rewards
            or (leaves_only and not tree.thought(path).ends)
            or (lost and tree.lost(path))
        )
        for path in demanded
    )


def _expand_or_answer(state: State) -> str:
    return "expand" if state["demanded"] else "answer"


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

    return RunnableLambda(synchronous, asynchronous, name=step.__name__)


def listener_of(config: RunnableConfig) -> Listener | None:
    """What passes the events of a node's session on to the stream of its run."""
    if (listener := config.get("configurable", {}).get(LISTENER)) is not None:
        return listener  # type: ignore[no-any-return]
    try:
        writer = get_stream_writer()
    except (KeyError, RuntimeError):  # called by hand, outside a graph
        return None
    # The writer looks up whose stream it is, and a session's events come from outside the node.
    context = copy_context()
    return lambda event: context.run(writer, event)
