"""The search graph before and after it is compiled: every run of it has a session of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, Final, TypedDict, cast, get_type_hints

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import DEFAULT_RECURSION_LIMIT
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph

from spex_agents.nodes.calls import heard_by
from spex_agents.nodes.portal import portal
from spex_agents.nodes.run import CONVERSATION, RUN, STEPS, Run, apart, patched
from spex_agents.nodes.state import SearchState
from spex_agents.speculation.config import SearchConfig

_typed_dict: Any = TypedDict  # a type checker wants literal keys


class SearchBuilder(StateGraph[Any, Any, Any, Any]):
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


class SearchGraph(CompiledStateGraph[Any, Any, Any, Any]):
    """A compiled search graph whose every run has a session of its own.

    Args:
        search: What the search is made of.
        **attributes: Those of the compiled graph.
    """

    def __init__(self, *, search: SearchConfig, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.search = search

    async def astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async with self._run(args, kwargs) as run:
            args, kwargs = _within(run, args, kwargs)
            parts = cast(AsyncGenerator[Any, None], super().astream(*args, **kwargs))
            try:
                while (part := await apart(anext(parts, _END))) is not _END:
                    yield part
            finally:
                await apart(parts.aclose())

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        run = self._run(args, kwargs)
        args, kwargs = _within(run, args, kwargs)
        parts = cast(Generator[Any, None, None], super().stream(*args, **kwargs))
        with closing(parts):
            try:
                yield from parts
            finally:  # before the parts are closed: it lets go of a node that waits in its thread
                portal().call(run.close)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Run:
        conversation = _config_in(args, kwargs).get("configurable", {}).get(CONVERSATION)
        search = self.search
        if conversation is not None:
            search = replace(search, template=replace(search.template, conversation=conversation))
        return Run(search)


_END: Final = object()


def _config_in(args: tuple[Any, ...], kwargs: dict[str, Any]) -> RunnableConfig:
    """The configuration among the arguments of `stream`: ``(input, config=None, **more)``."""
    given: RunnableConfig | None = args[1] if len(args) > 1 else kwargs.get("config")
    return given or {}


def _within(
    run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of `stream` with `run` in their config."""
    config = heard_by(patched(_config_in(args, kwargs), {RUN: run}), run.traced)
    if config.get("recursion_limit") == DEFAULT_RECURSION_LIMIT:  # nobody's choice
        config["recursion_limit"] = STEPS
    if len(args) > 1:
        return (args[0], config, *args[2:]), kwargs
    return args, {**kwargs, "config": config}
