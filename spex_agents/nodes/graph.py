"""Tree-of-thought search as a graph: select, expand, evaluate, and again, until the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import copy_context
from functools import partial
from typing import Any, TypeAlias, TypedDict, Unpack, get_type_hints

from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph

from spex_agents.engines.base import Engine
from spex_agents.errors import SettingsError
from spex_agents.nodes.run import LISTENER, Run, SearchGraph, portal, run_of, tell_ledger
from spex_agents.nodes.settings import SearchSettings, search_config
from spex_agents.nodes.state import (
    SearchState,
    Subject,
    paths_of,
    plain,
    reward_rows,
    thought_rows,
)
from spex_agents.search.policy import Expand
from spex_agents.speculation.config import SearchConfig, check_question
from spex_agents.speculation.events import Listener
from spex_agents.speculation.session import Session

State: TypeAlias = Mapping[str, Any]
Update: TypeAlias = dict[str, Any]
Open: TypeAlias = Callable[[State], Awaitable[Session]]
Step: TypeAlias = Callable[[State, Open], Awaitable[Update]]


def create_tot_graph(
    engine: Engine,
    *,
    seed: int = 0,
    question_key: str = "question",
    answer_key: str = "answer",
    **search: Unpack[SearchSettings],
) -> StateGraph[Any, Any, Any, Any]:
    """Build the graph ``select -> expand -> evaluate -> select ... -> answer``, not compiled.

    Compile it as it is, or add it to a graph of yours as a node: its state shares the keys that
    yours has too. Its result holds the answer, the tree (`tree_of`), its hash and the ledger.

    A run begins a new search if its question (or its seed) is another than the last one on the
    thread, or if that search has ended; else it goes on with that search, as does `None` for input.

    With ``stream_mode="custom"`` the stream carries a `ThoughtEvent` for whatever happens to a
    thought, those begun early included, and at the end a `LedgerEvent` with what all has cost.
    Nothing else shows the thoughts that nobody demanded: no message, no state.

    Args:
        engine: Who writes thoughts.
        seed: Decides the run where the state has no `seed` of its own.
        question_key: The state's key of the question.
        answer_key: The state's key of the answer; None if no leaf has one.
        **search: Keywords of the search: policy, reward and more; see `SearchSettings`.

    Raises:
        SettingsError: The parts do not fit together.

    Example:
        >>> from spex_agents.engines.simulated import SimulatedEngine
        >>> from spex_agents.search import Rebase
        >>> graph = create_tot_graph(SimulatedEngine(speed=1000), policy=Rebase(width=4)).compile()
        >>> graph.invoke({"question": "What is 5 + 7?"})["answer"]
        '12'
    """
    config = search_config(engine, search)
    keys = (question_key, answer_key)
    if len({*keys, *SearchState.__annotations__}) < 2 + len(SearchState.__annotations__):
        raise SettingsError(
            f"question_key={question_key!r}, answer_key={answer_key!r}: must differ from each "
            f"other and from the search's own keys {', '.join(SearchState.__annotations__)}"
        )

    async def select(state: State, open_session: Open) -> Update:
        subject = _subject(state, question_key, seed)
        begun: Update = {}
        if state.get("subject") != subject or state.get("tree_sha256") is not None:
            begun = {
                "subject": subject,
                "thoughts": None,
                "rewards": None,
                "ledger": {},
                "tree_sha256": None,
                answer_key: None,
            }
            start = {"subject": subject, "policy_state": plain(config.policy.start())}
            session = await open_session(start)
        else:
            session = await open_session(state)
            if not _carried_out(paths_of(state["demanded"]), session):
                return {"demanded": state["demanded"]}
        decision = await session.decide()
        paths = decision.paths if isinstance(decision, Expand) else ()
        return begun | {
            "policy_state": plain(session.state),
            "demanded": [list(path) for path in paths],
            "stopped": session.stopped,
        }

    async def expand(state: State, open_session: Open) -> Update:
        session = await open_session(state)
        return {"thoughts": thought_rows(await session.expand(paths_of(state["demanded"])))}

    async def evaluate(state: State, open_session: Open) -> Update:
        session = await open_session(state)
        return {"rewards": reward_rows(await session.evaluate(paths_of(state["demanded"])))}

    async def answer(state: State, open_session: Open) -> Update:
        session = await open_session(state)
        elected = await session.answer()
        await session.close()  # what still runs is waste, and counted as such
        tell_ledger(session)
        return {
            answer_key: elected,
            "ledger": session.ledger.report(),
            "tree_sha256": session.tree.sha256(),
        }

    graph = _SearchBuilder(config, question_key, answer_key)
    for step in (select, expand, evaluate, answer):
        graph.add_node(step.__name__, _node(step, config))
    graph.add_edge(START, "select")
    graph.add_conditional_edges("select", _expand_or_answer, ["expand", "answer"])
    graph.add_edge("expand", "evaluate")
    graph.add_edge("evaluate", "select")
    graph.add_edge("answer", END)
    return graph


_typed_dict: Any = TypedDict  # a type checker wants literal keys


class _SearchBuilder(StateGraph[Any, Any, Any, Any]):
    """A state graph that compiles to a `SearchGraph`."""

    def __init__(self, search: SearchConfig, question_key: str, answer_key: str) -> None:
        own = get_type_hints(SearchState, include_extras=True)
        asked = _typed_dict("Question", {question_key: str, "seed": int}, total=False)
        whole = _typed_dict(
            "Search", {question_key: str, answer_key: str | None, **own}, total=False
        )
        super().__init__(whole, input_schema=asked)
        self.search = search

    def compile(self, *args: Any, **kwargs: Any) -> SearchGraph:
        compiled = super().compile(*args, **kwargs)
        return SearchGraph(
            search=self.search,
            **{key: value for key, value in vars(compiled).items() if key != "__orig_class__"},
        )


def _subject(state: State, question_key: str, seed: int) -> Subject:
    question = state.get(question_key)
    if not isinstance(question, str):
        raise SettingsError(f"{question_key}={question!r}: the state must hold a question, a str")
    return Subject(question=check_question(question), seed=state.get("seed", seed))


def _carried_out(demanded: tuple[tuple[int, ...], ...], session: Session) -> bool:
    """Whether the last decision was: not if its run failed, and the same question is put again."""
    tree = session.tree
    leaves_only = session.config.policy.leaves_only
    return all(
        path in tree and (path in tree.rewards or (leaves_only and not tree.thought(path).ends))
        for path in demanded
    )


def _expand_or_answer(state: State) -> str:
    return "expand" if state["demanded"] else "answer"


def _node(step: Step, search: SearchConfig) -> RunnableLambda[Any, Update]:
    """A node that serves `invoke` and `ainvoke`."""

    async def call(state: State, run: Run | None, listener: Listener | None) -> Update:
        if run is not None:
            return await step(state, partial(run.session, listener=listener))
        async with Run(search) as own:
            return await step(state, partial(own.session, listener=listener))

    async def asynchronous(state: State, config: RunnableConfig) -> Update:
        return await call(state, run_of(config), listener_of(config))

    def synchronous(state: State, config: RunnableConfig) -> Update:
        return portal().call(call, state, run_of(config), listener_of(config))

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
