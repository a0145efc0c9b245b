"""Tree-of-thought search as a tool that an agent may call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Unpack

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException

from spex_agents.engines.given import EngineLike
from spex_agents.errors import EngineError, RewardError
from spex_agents.nodes.graph import create_tot_graph
from spex_agents.nodes.listening import TOOL_CALL
from spex_agents.nodes.node import inner_config
from spex_agents.nodes.run import patched
from spex_agents.nodes.settings import SearchSettings, check_keywords
from spex_agents.nodes.told import NO_ANSWER, report_of, words

DESCRIPTION = (
    "Solves a hard problem that has a definite answer, such as one of mathematics or logic, by "
    "exploring several lines of reasoning. Takes the whole problem: it sees nothing else."
)


def create_tot_tool(
    engine: EngineLike,
    *,
    name: str = "think",
    description: str = DESCRIPTION,
    seed: int = 0,
    checkpointer: bool | None = None,
    **search: Unpack[SearchSettings],
) -> BaseTool:
    """Build a tool that answers a question by tree-of-thought search.

    Its content is the answer, ``No answer found.`` if no leaf has one; its artifact is the report
    ``{"answer", "answer_path", "agreement", "ballots", "failures", "tree_sha256", "stopped",
    "ledger"}``. Events of thoughts reach the stream of the
    agent's graph with ``stream_mode="custom"``; with ``stream_mode="messages"`` it carries the
    thoughts on the answer's path, as told in `create_tot_graph`, as the reasoning of a message
    without content, from the node that calls the tool. A search that fails is told to the agent's
    model as the tool's error.

    Args:
        engine: Who writes thoughts: a LangChain chat model or its name (``"provider:model"``), an
            engine, or an async function ``(question, steps, seed)`` that returns the next step;
            a function runs ahead only if it is declared free of side effects, as
            ``Proposer(function, pure=True)``.
        name: The tool's name.
        description: Tells the agent's model when to call it.
        seed: Decides the run.
        checkpointer: None to go on inside a search that was interrupted, where the graph around it
            has a checkpointer; False for no checkpoints of the search's own.
        **search: Keywords of the search: policy, reward and more; see `SearchSettings`.

    Raises:
        TypeError: There is no such keyword.
        SettingsError: The parts do not fit together.

    Example:
        >>> from spex_agents.engines.simulated.engine import SimulatedEngine
        >>> tool = create_tot_tool(SimulatedEngine(speed=1000))
        >>> tool.invoke({"question": "What is 5 + 7?"})
        '12'
    """
    check_keywords(create_tot_tool, search)
    graph = create_tot_graph(engine, seed=seed, **search).compile(
        checkpointer=checkpointer, name="tree of thoughts"
    )

    async def asynchronous(
        question: Annotated[str, "The whole problem."], config: RunnableConfig
    ) -> tuple[str, dict[str, Any]]:
        inside = inner_config(config, answers=False)
        with _told_to_the_model():
            return _found(await graph.ainvoke({"question": question}, inside))

    def synchronous(
        question: Annotated[str, "The whole problem."], config: RunnableConfig
    ) -> tuple[str, dict[str, Any]]:
        inside = inner_config(config, answers=False)
        with _told_to_the_model():
            return _found(graph.invoke({"question": question}, inside))

    return TotTool.from_function(
        synchronous,
        asynchronous,
        name=name,
        description=description,
        response_format="content_and_artifact",
        handle_tool_error=True,
    )


class TotTool(StructuredTool):
    """A tool whose search knows by which call of the agent's model it was asked."""

    def invoke(self, input: Any, config: RunnableConfig | None = None, **more: Any) -> Any:  # noqa: A002
        return super().invoke(input, _asked_by(input, config), **more)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **more: Any) -> Any:  # noqa: A002
        return await super().ainvoke(input, _asked_by(input, config), **more)


def _asked_by(asked: Any, config: RunnableConfig | None) -> RunnableConfig | None:
    is_call = isinstance(asked, Mapping) and asked.get("type") == "tool_call"
    return patched(config, {TOOL_CALL: asked["id"]}) if is_call else config


@contextmanager
def _told_to_the_model() -> Iterator[None]:
    """Let an error of the search be what the tool answers: the agent goes on."""
    try:
        yield
    except (EngineError, RewardError) as error:
        raise ToolException(f"The search failed: {error}") from error


def _found(result: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    report = report_of(result)
    return (NO_ANSWER if report["answer"] is None else words(report["answer"])), report
