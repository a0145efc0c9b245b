"""The search graph before and after it is compiled: every run of it has a session of its own."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from contextvars import Context, copy_context
from dataclasses import replace
from functools import reduce
from typing import Any, Final, cast

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import DEFAULT_RECURSION_LIMIT, var_child_runnable_config
from langgraph.channels import BinaryOperatorAggregate, DeltaChannel, LastValue
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from typing_extensions import TypedDict, get_type_hints

from spex_agents.nodes.calls import AsyncSearchRun, SearchRun, heard_by
from spex_agents.nodes.context import SearchContext
from spex_agents.nodes.portal import portal
from spex_agents.nodes.run import CONVERSATION, RUN, STEPS, Run, Spent, apart, patched
from spex_agents.nodes.state import SearchState, append
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
        super().__init__(whole, input_schema=asked, context_schema=SearchContext)
        self.search = search
        self.question_key = question_key

    def compile(self, *args: Any, **kwargs: Any) -> SearchGraph:
        compiled = super().compile(*args, **kwargs)
        graph = SearchGraph(
            search=self.search,
            **{key: value for key, value in vars(compiled).items() if key != "__orig_class__"},
        )
        if not getattr(graph.checkpointer, "latest_only", False):
            graph.channels = {**graph.channels, **_light(self.question_key)}
        return graph


class SearchGraph(CompiledStateGraph[Any, Any, Any, Any]):
    """A compiled search graph whose every run has a session of its own.

    Its checkpoints hold what is new, so that the latest needs those before it. Where a saver keeps
    the latest alone, and says so by an attribute ``latest_only = True``, each holds all.

    Args:
        search: What the search is made of.
        spent: What the searches of its threads have spent, saved or not.
        **attributes: Those of the compiled graph.
    """

    def __init__(
        self, *, search: SearchConfig, spent: Spent | None = None, **attributes: Any
    ) -> None:
        super().__init__(**attributes)
        self.search = search
        self.spent: Spent = {} if spent is None else spent

    async def astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async with self._run(args, kwargs) as run:
            run.traced = AsyncSearchRun(run.close)
            args, kwargs = _within(run, run.traced, args, kwargs)
            graph, context = self._saved_by(args, kwargs), _unheard()
            parts = cast(
                AsyncGenerator[Any, None], CompiledStateGraph.astream(graph, *args, **kwargs)
            )
            try:
                while (part := await apart(anext(parts, _END), context)) is not _END:
                    yield part
            finally:
                await apart(parts.aclose(), context)

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        run = self._run(args, kwargs)
        run.traced = SearchRun(lambda: portal().call(run.close))
        args, kwargs = _within(run, run.traced, args, kwargs)
        graph, context = self._saved_by(args, kwargs), _unheard()
        parts = cast(Generator[Any, None, None], CompiledStateGraph.stream(graph, *args, **kwargs))
        try:
            while (part := context.run(next, parts, _END)) is not _END:
                yield part
        finally:
            portal().call(run.close)  # first: it lets go of a node that waits in its thread
            context.run(parts.close)

    def _saved_by(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> SearchGraph:
        """This graph, with the channels that go with the saver of a graph around it."""
        saver = _config_in(args, kwargs).get("configurable", {}).get(_SAVER)
        if not getattr(saver, "latest_only", False):
            return self
        return self.copy({"channels": _whole(self.channels)})

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Run:
        conversation = _config_in(args, kwargs).get("configurable", {}).get(CONVERSATION)
        search = self.search
        if conversation is not None:
            search = replace(search, template=replace(search.template, conversation=conversation))
        return Run(search, self.spent)


_END: Final = object()
_SAVER: Final = "__pregel_checkpointer"
"""Where LangGraph tells a graph within another of that one's saver."""


def appended(rows: list[Any], writes: Sequence[list[Any] | None]) -> list[Any]:
    """`append` for several writes at once, as a `DeltaChannel` asks."""
    return reduce(append, writes, rows)


def latest(before: Any, writes: Sequence[Any]) -> Any:
    """The reducer of a value that is replaced: a `DeltaChannel` stores it once."""
    return writes[-1] if writes else before


SNAPSHOTS: Final = 1000
"""Writes to a channel before a checkpoint holds all of it again, for whoever reads it later."""


def _light(question_key: str) -> dict[str, Any]:
    """Channels of what grows, and of what seldom changes: stored where it is written alone."""
    reducers: dict[str, tuple[Callable[[Any, Sequence[Any]], Any], type]] = {
        "thoughts": (appended, list),
        "rewards": (appended, list),
        "failures": (appended, list),
        question_key: (latest, str),
        "subject": (latest, dict),
        "decided": (latest, dict),
        "ledger": (latest, dict),
    }
    channels: dict[str, Any] = {}
    for name, (reducer, kind) in reducers.items():
        channels[name] = DeltaChannel(reducer, kind, snapshot_frequency=SNAPSHOTS)
        channels[name].key = name
    return channels


def _whole(channels: Mapping[str, Any]) -> dict[str, Any]:
    """Channels whose checkpoints hold their values in place of what was written to them."""
    whole: dict[str, Any] = {}
    for name, channel in channels.items():
        if not isinstance(channel, DeltaChannel):
            whole[name] = channel
            continue
        rows = channel.reducer is appended
        whole[name] = BinaryOperatorAggregate(list, append) if rows else LastValue(channel.typ)
        whole[name].key = name
    return whole


def _unheard() -> Context:
    """A context that says nothing of callbacks: those of the run's own configuration are enough.

    LangGraph adds the surrounding ones to them, in no order, but a run's end is to be told first to
    who ends what is below it.
    """
    context = copy_context()
    if around := var_child_runnable_config.get():
        context.run(var_child_runnable_config.set, {**around, "callbacks": None})
    return context


def _config_in(args: tuple[Any, ...], kwargs: dict[str, Any]) -> RunnableConfig:
    """The configuration among the arguments of `stream`: ``(input, config=None, **more)``."""
    given: RunnableConfig | None = args[1] if len(args) > 1 else kwargs.get("config")
    return given or {}


def _within(
    run: Run, traced: SearchRun, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of `stream` with `run` in their config."""
    config = heard_by(patched(_config_in(args, kwargs), {RUN: run}), traced)
    if config.get("recursion_limit") == DEFAULT_RECURSION_LIMIT:  # nobody's choice
        config["recursion_limit"] = STEPS
    if len(args) > 1:
        return (args[0], config, *args[2:]), kwargs
    return args, {**kwargs, "config": config}
