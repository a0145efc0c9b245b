"""Tree-of-thought search as one node of a graph of yours."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Unpack

from langchain_core.runnables import RunnableConfig, RunnableLambda

from spex_agents.engines.given import EngineLike
from spex_agents.errors import SettingsError
from spex_agents.nodes.conversation import conversation_in
from spex_agents.nodes.graph import create_tot_graph
from spex_agents.nodes.listening import LISTENER, listener_of
from spex_agents.nodes.run import CONVERSATION, STEPS, patched
from spex_agents.nodes.settings import SearchSettings, check_keywords
from spex_agents.nodes.told import VOICE, Voice, reply
from spex_agents.speculation.reporting.events import Listener


def create_tot_node(
    engine: EngineLike,
    *,
    seed: int = 0,
    name: str | None = None,
    messages_key: str = "messages",
    question_key: str | None = None,
    answer_key: str | None = None,
    checkpointer: bool | None = None,
    **search: Unpack[SearchSettings],
) -> RunnableLambda[Any, dict[str, Any]]:
    """Build a node that answers by tree-of-thought search, for ``graph.add_node("think", node)``.

    In a state of messages the engine is shown the whole conversation: a system message, which takes
    the place of the template's, all turns, tool calls and their results. A chat model gets the
    messages as they are, images and files too; any other engine gets them in words, and messages
    with content that is no text are refused. Rewards get the conversation in words.

    The reply is one `AIMessage`: its content is the answer, or ``No answer found.`` if no leaf says
    anything; its reasoning (``reasoning_content`` in its `additional_kwargs`, a block of its
    `content_blocks`) are the thoughts on the answer's path, unless these are the answer;
    `usage_metadata` is what the search has spent; and ``response_metadata["spex"]`` is
    the report: ``{"answer", "answer_path", "agreement", "ballots", "failures", "tree_sha256",
    "stopped", "ledger"}``. ``stream_mode="messages"`` carries it in pieces, as told in
    `create_tot_graph`.

    In a state of your own the node reads `question_key` and writes `answer_key`.

    The search is a graph inside the node: ``get_graph(xray=True)`` shows it, and with a
    checkpointer a run that failed goes on inside it. Events of thoughts reach the stream of your
    graph with ``stream_mode="custom"``. Where your graph may be cancelled by an AnyIO cancel scope,
    or more than once, await its run through `apart`.

    Args:
        engine: Who writes thoughts: a LangChain chat model or its name (``"provider:model"``), an
            engine, or an async function ``(question, steps, seed)`` that returns the next step;
            a function runs ahead only if it is declared free of side effects, as
            ``Proposer(function, pure=True)``.
        seed: Decides the run.
        name: The reply's `name`, which tells several agents apart, as that of `create_agent`.
        messages_key: The state's key of its messages.
        question_key: The state's key of the question, in place of messages.
        answer_key: The state's key of the answer, in place of messages.
        checkpointer: None to go on inside a search that was interrupted, where the graph around it
            has a checkpointer; False for no checkpoints of the search's own.
        **search: Keywords of the search: policy, reward and more; see `SearchSettings`.

    Raises:
        TypeError: There is no such keyword.
        SettingsError: The parts do not fit together, or only one of the two keys is given.

    Example:
        >>> from langgraph.graph import START, MessagesState, StateGraph
        >>> from spex_agents.engines.simulated.engine import SimulatedEngine
        >>> from spex_agents.search import Rebase
        >>> node = create_tot_node(SimulatedEngine(speed=1000), policy=Rebase(width=4))
        >>> graph = StateGraph(MessagesState).add_node("think", node).add_edge(START, "think")
        >>> result = graph.compile().invoke({"messages": [("user", "What is 5 + 7?")]})
        >>> result["messages"][-1].content
        '12'
    """
    check_keywords(create_tot_node, search)
    if (question_key is None) != (answer_key is None):
        raise SettingsError(
            f"question_key={question_key!r}, answer_key={answer_key!r}: give both for a state of "
            "your own, or neither for a state of messages"
        )
    graph = create_tot_graph(engine, seed=seed, **search).compile(
        checkpointer=checkpointer, name="tree of thoughts"
    )

    def asked(state: Any, config: RunnableConfig) -> tuple[dict[str, str], RunnableConfig]:
        inside = inner_config(config, name=name)
        if question_key is not None:
            return {"question": _get(state, question_key)}, inside
        conversation = conversation_in(_get(state, messages_key), graph.search.engine)
        return {"question": conversation.question}, patched(inside, {CONVERSATION: conversation})

    def update(result: Mapping[str, Any]) -> dict[str, Any]:
        if answer_key is None:
            return {messages_key: [reply(graph.search, result, name)]}
        return {answer_key: result["answer"]}

    async def asynchronous(state: Any, config: RunnableConfig) -> dict[str, Any]:
        return update(await graph.ainvoke(*asked(state, config)))

    def synchronous(state: Any, config: RunnableConfig) -> dict[str, Any]:
        return update(graph.invoke(*asked(state, config)))

    made = partial(
        create_tot_node,
        engine,
        seed=seed,
        name=name,
        messages_key=messages_key,
        question_key=question_key,
        answer_key=answer_key,
        checkpointer=checkpointer,
        **search,
    )
    return TotNode(synchronous, asynchronous, made)


class TotNode(RunnableLambda[Any, dict[str, Any]]):
    """A node that is pickled as what it was made of, if that can be.

    Args:
        synchronous: Called by `invoke`.
        asynchronous: Called by `ainvoke`.
        made: Makes it anew.
    """

    def __init__(
        self,
        synchronous: Callable[..., dict[str, Any]],
        asynchronous: Callable[..., Coroutine[Any, Any, dict[str, Any]]],
        made: Callable[[], RunnableLambda[Any, dict[str, Any]]],
    ) -> None:
        super().__init__(synchronous, asynchronous, name="tot")
        self._made = made

    def __reduce__(self) -> tuple[Callable[[], RunnableLambda[Any, dict[str, Any]]], tuple[()]]:
        return self._made, ()


def inner_config(
    config: RunnableConfig,
    *,
    answers: bool = True,
    name: str | None = None,
    listener: Listener | None = None,
) -> RunnableConfig:
    """The configuration of a search graph that runs within a node or a tool, and speaks as it.

    Args:
        config: The node's own.
        answers: Whether the search's answer is the node's.
        name: Of the message that is streamed.
        listener: Told the search's events, in place of who listens to the node (`listener_of`).

    Example:
        >>> inner_config({"configurable": {"thread_id": "1"}, "tags": ["mine"]})["tags"]
        ['mine']
    """
    own = {LISTENER: listener or listener_of(config), VOICE: Voice(config, answers, name)}
    return {**patched(config, own), "recursion_limit": STEPS}


def _get(state: Any, key: str) -> Any:
    if isinstance(state, str):  # asked by hand
        return state
    return state[key] if isinstance(state, Mapping) else getattr(state, key)
