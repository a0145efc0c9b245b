"""Calls that are ended on purpose, as callbacks see them: ended, with an outcome, not failed.

A stream that is closed where the next step begins, and a guess that is retracted, end with a
`GeneratorExit` and a `CancelledError`, which LangChain tells its handlers as errors; and a call
that is cancelled in the moment it begins has no end there at all. Such a call has cost something,
though no provider says how much: what it has read and said is estimated, for whoever counts.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial, wraps
from inspect import isawaitable, iscoroutinefunction
from typing import Any, Final, TypeVar
from uuid import UUID

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

from spex_agents.engines.calls.cut import estimated_tokens

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
    open_runs: dict[tuple[UUID, _Handler], _Begun] = {}

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
            (run, handler), begun = open_runs.popitem()
            try:
                if isawaitable(told := handler.end(begun, run, "cancelled")):
                    await told
            except Exception:  # as LangChain does: no fault of the call
                logger.warning("a callback handler failed", exc_info=True)


@dataclass(frozen=True, slots=True)
class _Begun:
    """A run that has begun: what kind of run, of which model, and what that was sent."""

    event: str
    model: str = ""
    sent: Sequence[Any] = ()

    def usage(self, said: AIMessage) -> UsageMetadata:
        """What a call that was broken off has cost: as it has told, else as its texts tell."""
        told: Any = said.usage_metadata or {}
        texts = [str(getattr(one, "text", one)) for one in self.sent]
        read = told.get("input_tokens") or sum(map(estimated_tokens, texts))
        written = told.get("output_tokens") or estimated_tokens(str(said.text))
        own = UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
        return {**told, **own}


class _Handler:
    """A handler in everything but this; `isinstance` and ``==`` say so: LangChain asks them."""

    def __init__(self, handler: Any, open_runs: dict[tuple[UUID, _Handler], _Begun]) -> None:
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
        event, _, moment = name.rpartition("_")
        if event in _STARTS and moment == "start":
            return _as(heard, partial(self._begin, _STARTS[event], heard))
        if event in _ENDED and moment in ("end", "error"):
            return _as(heard, partial(self._end, heard))
        return heard

    def copy_with_metadata_defaults(self, **defaults: Any) -> Any:
        return _Handler(self._handler.copy_with_metadata_defaults(**defaults), self._open)

    def _begin(self, event: str, heard: Any, *args: Any, run_id: UUID, **told: Any) -> Any:
        begun = _Begun(event)
        if event == "on_llm":
            model = (told.get("metadata") or {}).get("ls_model_name") or ""
            sent = args[1][0] if args[1] and isinstance(args[1][0], list) else args[1]
            begun = _Begun(event, model, sent)
        self._open[run_id, self] = begun
        return heard(*args, run_id=run_id, **told)

    def _end(self, heard: Any, what: Any, *, run_id: UUID, **told: Any) -> Any:
        if (begun := self._open.pop((run_id, self), None)) is None:
            return None  # has been told
        if isinstance(what, GeneratorExit | CancelledError):
            outcome = "cut" if isinstance(what, GeneratorExit) else "cancelled"
            return self.end(begun, run_id, outcome, **told)
        return heard(what, run_id=run_id, **told)

    def end(
        self, begun: _Begun, run_id: UUID, outcome: str, *, response: Any = None, **told: Any
    ) -> Any:
        """End a run that has not failed, with what a model has said so far."""
        what: Any = {"on_retriever": []}.get(begun.event, {"outcome": outcome})
        if begun.event == "on_llm":
            what = self._broken_off(begun, outcome, response)
        return getattr(self._handler, f"{begun.event}_end")(what, run_id=run_id, **told)

    def _broken_off(self, begun: _Begun, outcome: str, response: LLMResult | None) -> LLMResult:
        parts = [part for part in response.generations if part] if response is not None else []
        said = getattr(parts[0][0], "message", None) if parts else AIMessage("")
        if isinstance(said, AIMessage):
            metadata = said.response_metadata
            said = said.model_copy(
                update={
                    "usage_metadata": begun.usage(said),
                    "response_metadata": {"model_name": begun.model, **metadata},
                }
            )
            parts = [[ChatGeneration(message=said)]]
        return LLMResult(generations=parts[:1] or [[]], llm_output={"outcome": outcome})


def _as(heard: Callable[..., Any], tell: Callable[..., Any]) -> Callable[..., Any]:
    """`tell` as the kind of function that `heard` is: LangChain awaits those that are async."""
    if not iscoroutinefunction(heard):
        return tell

    @wraps(heard)
    async def told(*args: Any, **more: Any) -> Any:
        return await answer if isawaitable(answer := tell(*args, **more)) else answer

    return told
