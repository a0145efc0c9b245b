"""The caller's run, as the calls of its search see it.

A search outlives the node that happens to ask it: so its calls run in a context of their own, with
all that the caller's run has: callbacks, tags, metadata, store, context variables. In a trace they
are children of the search. Only the message stream is kept from them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from typing import Any, Final
from uuid import UUID

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForChainRun,
    BaseCallbackHandler,
    BaseCallbackManager,
)
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import (
    get_async_callback_manager_for_config,
    var_child_runnable_config,
)

from spex_agents.engines.base import Request
from spex_agents.engines.calls.gate import Gate
from spex_agents.engines.chat_requests import TOLD_ABOVE
from spex_agents.errors import SettingsError
from spex_agents.nodes.endings import ending_well
from spex_agents.nodes.listening import LISTENER
from spex_agents.search.tree import Tree
from spex_agents.speculation.running.calls import AROUND

NOSTREAM: Final = "nostream"
"""LangGraph's tag for calls that its message stream leaves out."""

_OWN: Final = "__spex_"
_LANGGRAPHS: Final = "__pregel_"
_RUNTIME: Final = "__pregel_runtime"
"""Where LangGraph keeps the store, the run's context and the stream's writer."""
_PAUSES: Final = "__pregel_scratchpad"
"""Where LangGraph looks up what `interrupt` is to return."""


class SearchRun(BaseCallbackHandler):
    """Notes the id that a run of a search graph has in traces: its own is the first it hears.

    When that run ends, whichever way, `end` is called before tracers are told: what is below it in
    a trace has ended by then.

    Args:
        end: Ends all that the run has begun.
    """

    run_inline = True

    def __init__(self, end: Callable[[], Any]) -> None:
        self.id: UUID | None = None
        self._end = end

    def on_chain_start(
        self, serialized: dict[str, Any], inputs: dict[str, Any], *, run_id: UUID, **kwargs: Any
    ) -> None:
        self.id = self.id or run_id

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> Any:
        if run_id == self.id:
            self._end()

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> Any:
        if run_id == self.id:
            self._end()


class AsyncSearchRun(SearchRun):
    """The same of a run in an event loop; `end` is awaited there."""

    async def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        if run_id == self.id:
            await self._end()

    async def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        if run_id == self.id:
            await self._end()


def heard_by(config: RunnableConfig, handler: BaseCallbackHandler) -> RunnableConfig:
    """`config` with one more handler, before those that it has or inherits."""
    inherited = var_child_runnable_config.get() or {}
    callbacks = config.get("callbacks") or inherited.get("callbacks")
    if isinstance(callbacks, BaseCallbackManager):
        callbacks = callbacks.copy()
        callbacks.handlers.insert(0, handler)
        callbacks.inheritable_handlers.insert(0, handler)
        return {**config, "callbacks": callbacks}
    return {**config, "callbacks": [handler, *(callbacks or ())]}


class Calls:
    """What the calls of one session run within.

    At most `max_concurrency` of the run's configuration are in flight, the demanded ones first.
    Each thought is a run of its own in the trace, with the calls for it below; it ends when what
    has become of it is known: "demanded", "hit", "retracted", "wasted", "cancelled" or "failed".

    Args:
        config: That of the node which opens the session.
        search: The id of the search in the trace; None for that of the node.
    """

    def __init__(self, config: RunnableConfig, search: UUID | None) -> None:
        self._manager = get_async_callback_manager_for_config(config)
        self._manager.add_tags([NOSTREAM])
        if search is not None:
            self._manager.parent_run_id = search
        self._config: RunnableConfig = {
            **config,
            "callbacks": self._manager,
            "configurable": _theirs(config.get("configurable", {})),
        }
        self._gate = Gate(config.get("max_concurrency"))
        self._ahead: dict[str, AsyncCallbackManagerForChainRun] = {}

    def context(self) -> Context:
        """The caller's context, for a session that is opened in it."""
        context = copy_context()
        context.run(var_child_runnable_config.set, self._config)
        context.run(AROUND.set, self._around)
        return context

    @asynccontextmanager
    async def _around(self, request: Request) -> AsyncIterator[None]:
        async with self._gate.place(request):
            _, path, purpose = request.id.split("/")
            if not purpose.startswith("thought"):
                async with self._heard_by(self._manager):
                    yield
                return
            early = not request.demanded
            run = await self._manager.on_chain_start(
                None,
                {"path": path, "begun_early": early},
                name=f"thought {path}{', begun early' if early else ''}",
            )
            try:
                async with self._heard_by(run.get_child(), told=True):
                    yield
            except Exception as error:
                await run.on_chain_error(error)
                raise
            except BaseException:
                outcome = "cancelled" if request.demanded else "retracted"
                await run.on_chain_end({"outcome": outcome})
                raise
            if request.demanded:
                await run.on_chain_end({"outcome": "hit" if early else "demanded"})
            else:
                self._ahead[path] = run

    @asynccontextmanager
    async def _heard_by(
        self, manager: AsyncCallbackManager, *, told: bool = False
    ) -> AsyncIterator[None]:
        async with ending_well(manager) as ending:
            var_child_runnable_config.set({**self._config, "callbacks": ending})
            TOLD_ABOVE.set(told)
            yield

    async def end(self, tree: Tree) -> None:
        """Tell what has become of the thoughts that were written early."""
        paths = {".".join(map(str, path)) for path in tree.thoughts}
        while self._ahead:
            path, run = self._ahead.popitem()
            await run.on_chain_end({"outcome": "hit" if path in paths else "wasted"})


def _theirs(configurable: Mapping[str, Any]) -> dict[str, Any]:
    """The caller's own keys: a graph that a call runs is no part of this one's checkpoints.

    What a call writes to the stream comes from the node around the search, as its events do.
    """
    theirs = {
        key: value
        for key, value in configurable.items()
        if key == _RUNTIME or not key.startswith((_OWN, _LANGGRAPHS))
    }
    listener, runtime = configurable.get(LISTENER), theirs.get(_RUNTIME)
    if listener is not None and runtime is not None:
        theirs[_RUNTIME] = runtime.override(stream_writer=listener)
    return {**theirs, _PAUSES: _NoPause()}


class _NoPause:
    """Refuses `interrupt`: a call beside others is no node that a run can go on with."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise SettingsError(
            "interrupt() was called by a model or a reward of a search, which cannot be paused: "
            "call it in a node of your graph before or after the search"
        )
