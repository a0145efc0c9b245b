"""Calls that are ended on purpose, as callbacks see them: ended, with an outcome, not failed.

A stream that is closed where the next step begins, and a guess that is retracted, end with a
`GeneratorExit` and a `CancelledError`, which LangChain tells its handlers as errors; and a call
that is cancelled in the moment it begins has no end there at all. Such a call has cost something,
though no provider says how much: what it has read and said is estimated, for whoever counts.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial, wraps
from inspect import isawaitable, iscoroutinefunction
from typing import Any, Final, TypeVar
from uuid import UUID

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

from spex_agents.engines.chat_replies import written_tokens
from spex_agents.engines.chat_requests import prompt_estimate, tools_of
from spex_agents.engines.chat_tools import calls_something

logger = logging.getLogger(__name__)

Manager = TypeVar("Manager", bound=BaseCallbackManager)

_ENDED: Final = ("on_llm", "on_chain", "on_tool", "on_retriever")
"""Runs of these kinds end or fail; a chat model's ends as any model's."""
_STARTS: Final = {**{event: event for event in _ENDED}, "on_chat_model": "on_llm"}


@asynccontextmanager
async def ending_well(manager: Manager) -> AsyncIterator[Manager]:
    """A copy of `manager` whose handlers hear of calls ended on purpose as calls that have ended.

    What has not ended when the body ends is told to have been cancelled. A collector of runs stays
    as it is: LangChain finds it again by its identity.
    """
    open_runs: dict[tuple[UUID, _Handler], _Run] = {}

    def ending(handler: Any) -> Any:
        stays = isinstance(handler, RunCollectorCallbackHandler | _Handler)
        return handler if stays else _Handler(handler, open_runs)

    manager = manager.copy()
    manager.handlers = [ending(handler) for handler in manager.handlers]
    manager.inheritable_handlers = [ending(handler) for handler in manager.inheritable_handlers]
    try:
        yield manager
    finally:
        while open_runs:  # the last that has begun first: it is below the others
            (identity, handler), run = open_runs.popitem()
            try:
                if isawaitable(told := handler.end(run, identity, "cancelled")):
                    await told
            except Exception:  # as LangChain does: no fault of the call
                logger.warning("a callback handler failed", exc_info=True)


@dataclass(slots=True)
class _Run:
    """A run that has not ended: of what kind, of which model, what that was sent and has said."""

    event: str
    model: str = ""
    sent: Sequence[Any] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    chunks: int = 0

    def counted(self, response: LLMResult) -> LLMResult:
        """A response with what its call has taken: as it has told, else as the ledger estimates."""
        parts = [part for part in response.generations if part]
        said = getattr(parts[0][0], "message", None) if parts else AIMessage("")
        if not isinstance(said, AIMessage):
            return response
        told: Any = said.usage_metadata or {}
        named = {"model_name": self.model, **said.response_metadata}
        read = told.get("input_tokens") or prompt_estimate(self.sent, tools_of(self.keywords))
        written = written_tokens(said, self.chunks, None)
        own = UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
        update = {"usage_metadata": {**told, **own}, "response_metadata": named}
        (first, *more), *others = parts or [[ChatGeneration(message=said)]]
        counted = first.model_copy(update={"message": said.model_copy(update=update)})
        return response.model_copy(update={"generations": [[counted, *more], *others]})


class _Handler:
    """A handler in everything but this; `isinstance` and ``==`` say so: LangChain asks them."""

    def __init__(self, handler: Any, open_runs: dict[tuple[UUID, _Handler], _Run]) -> None:
        self._handler = handler
        self._open = open_runs

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._handler)

    def __eq__(self, other: object) -> bool:
        return self._handler is getattr(other, "_handler", other)

    def __hash__(self) -> int:
        return hash(self._handler)

    def __getattr__(self, name: str) -> Any:
        heard = getattr(self._handler, name)
        if name == "on_llm_new_token":
            return _as(heard, partial(self._hear, heard))
        event, _, moment = name.rpartition("_")
        if event in _STARTS and moment == "start":
            return _as(heard, partial(self._begin, _STARTS[event], heard))
        if event in _ENDED and moment in ("end", "error"):
            return _as(heard, partial(self._end, heard))
        return heard

    def copy_with_metadata_defaults(self, **defaults: Any) -> Any:
        return type(self)(self._handler.copy_with_metadata_defaults(**defaults), self._open)

    def _begin(self, event: str, heard: Any, *args: Any, run_id: UUID, **told: Any) -> Any:
        run = _Run(event)
        if event == "on_llm":
            model = (told.get("metadata") or {}).get("ls_model_name")
            sent = args[1][0] if args[1] and isinstance(args[1][0], list) else args[1]
            name = model or (args[0] or {}).get("name") or ""
            run = _Run(event, name, sent, told.get("invocation_params") or {})
        self._open.setdefault((run_id, self), run)  # who hears no chats is told of it as texts
        return heard(*args, run_id=run_id, **told)

    def _hear(self, heard: Any, token: Any, *args: Any, run_id: UUID, **told: Any) -> Any:
        if run := self._open.get((run_id, self)):
            said = getattr(told.get("chunk"), "message", None)
            run.chunks += bool(token) or (said is not None and calls_something(said))
        return heard(token, *args, run_id=run_id, **told)

    def _end(self, heard: Any, what: Any, *, run_id: UUID, **told: Any) -> Any:
        if (run := self._open.pop((run_id, self), None)) is None:
            return None  # has been told
        if isinstance(what, GeneratorExit | CancelledError):
            outcome = "cut" if isinstance(what, GeneratorExit) else "cancelled"
            return self.end(run, run_id, outcome, **told)
        if isinstance(what, LLMResult):
            what = run.counted(what)
        return heard(what, run_id=run_id, **told)

    def end(
        self, run: _Run, run_id: UUID, outcome: str, *, response: Any = None, **told: Any
    ) -> Any:
        """End a run that has not failed, with what a model has said so far."""
        what: Any = {"on_retriever": []}.get(run.event, {"outcome": outcome})
        if run.event == "on_llm":
            parts = [part for part in response.generations if part] if response is not None else []
            what = LLMResult(generations=parts[:1] or [[]], llm_output={"outcome": outcome})
            what = run.counted(what)
        return getattr(self._handler, f"{run.event}_end")(what, run_id=run_id, **told)


def _as(heard: Callable[..., Any], tell: Callable[..., Any]) -> Callable[..., Any]:
    """`tell` as the kind of function that `heard` is: LangChain awaits those that are async."""
    if not iscoroutinefunction(heard):
        return tell

    @wraps(heard)
    async def told(*args: Any, **more: Any) -> Any:
        return await answer if isawaitable(answer := tell(*args, **more)) else answer

    return told
