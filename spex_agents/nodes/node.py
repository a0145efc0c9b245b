"""Tree-of-thought search as one node of a graph of yours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from langchain_core.messages import BaseMessage, HumanMessage, get_buffer_string
from langchain_core.runnables import RunnableConfig, RunnableLambda

from spex_agents.engines.base import Engine
from spex_agents.engines.functions import ProposeFunction
from spex_agents.errors import SettingsError
from spex_agents.nodes.graph import create_tot_graph, listener_of
from spex_agents.nodes.run import LISTENER, STEPS, patched
from spex_agents.nodes.settings import SearchSettings
from spex_agents.nodes.told import VOICE, Voice, reply
from spex_agents.speculation.reporting.events import Listener


def create_tot_node(
    engine: Engine | ProposeFunction,
    *,
    seed: int = 0,
    messages_key: str = "messages",
    question_key: str | None = None,
    answer_key: str | None = None,
    **search: Unpack[SearchSettings],
) -> RunnableLambda[Any, dict[str, Any]]:
    """Build a node that answers by tree-of-thought search, for ``graph.add_node("think", node)``.

    In a state of messages the question is the last human message. Where turns came before it, the
    question is ``Conversation so far:``, these turns, each after its speaker's name, and
    ``Question:`` with the message. The reply is one `AIMessage`: its content is the answer, or
    ``No answer found.`` if no leaf has one; its reasoning (``reasoning_content`` in its
    `additional_kwargs`, a block of its `content_blocks`) are the thoughts on the answer's path; and
    ``response_metadata["spex"]`` is ``{"answer", "tree_sha256", "stopped", "ledger"}``.
    ``stream_mode="messages"`` carries it in pieces, as told in `create_tot_graph`.

    In a state of your own the node reads `question_key` and writes `answer_key`.

    The search is a graph inside the node: ``get_graph(xray=True)`` shows it, and with a
    checkpointer a run that failed goes on inside it. Events of thoughts reach the stream of your
    graph with ``stream_mode="custom"``. Where your graph may be cancelled by an AnyIO cancel scope,
    or more than once, await its run through `apart`.

    Args:
        engine: Who writes thoughts: an engine, or an async function ``(question, steps, seed)``
            that returns the next step. It runs ahead only if it is declared free of side effects,
            as ``Proposer(function, pure=True)``.
        seed: Decides the run.
        messages_key: The state's key of its messages.
        question_key: The state's key of the question, in place of messages.
        answer_key: The state's key of the answer, in place of messages.
        **search: Keywords of the search: policy, reward and more; see `SearchSettings`.

    Raises:
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
    if (question_key is None) != (answer_key is None):
        raise SettingsError(
            f"question_key={question_key!r}, answer_key={answer_key!r}: give both for a state of "
            "your own, or neither for a state of messages"
        )
    graph = create_tot_graph(engine, seed=seed, **search).compile(name="tree of thoughts")

    def question(state: Any) -> dict[str, str]:
        if question_key is None:
            return {"question": question_in(_get(state, messages_key))}
        return {"question": _get(state, question_key)}

    def update(result: Mapping[str, Any]) -> dict[str, Any]:
        if answer_key is None:
            return {messages_key: [reply(graph.search, result)]}
        return {answer_key: result["answer"]}

    async def asynchronous(state: Any, config: RunnableConfig) -> dict[str, Any]:
        return update(await graph.ainvoke(question(state), inner_config(config)))

    def synchronous(state: Any, config: RunnableConfig) -> dict[str, Any]:
        return update(graph.invoke(question(state), inner_config(config)))

    return RunnableLambda(synchronous, asynchronous, name="tot")


def question_in(messages: Sequence[BaseMessage]) -> str:
    """The last human message, after the turns before it if there are any.

    Raises:
        SettingsError: There is no human message.
    """
    for index in reversed(range(len(messages))):
        if isinstance(message := messages[index], HumanMessage):
            if index == 0:
                return message.text
            before = get_buffer_string(messages[:index], human_prefix="User", ai_prefix="Assistant")
            return f"Conversation so far:\n{before}\n\nQuestion:\n{message.text}"
    raise SettingsError(f"no question among {len(messages)} messages: add a human message")


def inner_config(
    config: RunnableConfig, *, answers: bool = True, listener: Listener | None = None
) -> RunnableConfig:
    """The configuration of a search graph that runs within a node or a tool, and speaks as it.

    Args:
        config: The node's own.
        answers: Whether the search's answer is the node's.
        listener: Told the search's events, in place of who listens to the node (`listener_of`).
    """
    own = {LISTENER: listener or listener_of(config), VOICE: Voice(config, answers)}
    return {**patched(config, own), "recursion_limit": STEPS}


def _get(state: Any, key: str) -> Any:
    return state[key] if isinstance(state, Mapping) else getattr(state, key)
