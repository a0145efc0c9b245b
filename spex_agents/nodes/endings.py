"""Calls that are ended on purpose, as traces see them: ended, with an outcome, not failed.

A stream that is closed where the next step begins, and a guess that is retracted, end with a
`GeneratorExit` and a `CancelledError`, which LangChain tells its handlers as errors; and a call
that is cancelled in the moment it begins has no end there at all.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.outputs import LLMResult
from langchain_core.tracers import BaseTracer
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

logger = logging.getLogger(__name__)

Manager = TypeVar("Manager", bound=BaseCallbackManager)

_ENDED: Final = ("on_llm", "on_chain", "on_tool", "on_retriever")
"""Runs of these kinds end or fail; a chat model's ends as any model's."""
_STARTS: Final = {**{event: event for event in _ENDED}, "on_chat_model": "on_llm"}


@contextmanager
def ending_well(manager: Manager) -> Iterator[Manager]:
    """A copy of `manager` whose tracers hear of calls ended on purpose as calls that have ended.

    What has not ended when the body ends is told to have been cancelled. A collector of runs stays
    as it is: LangChain finds it again by its identity.
    """
    open_runs: dict[tuple[UUID, _Tracer], str] = {}

    def ending(handler: Any) -> Any:
        collects = isinstance(handler, RunCollectorCallbackHandler | _Tracer)
        traces = isinstance(handler, BaseTracer) and not collects
        return _Tracer(handler, open_runs) if traces else handler

    manager = manager.copy()
    manager.handlers = [ending(handler) for handler in manager.handlers]
    manager.inheritable_handlers = [ending(handler) for handler in manager.inheritable_handlers]
    try:
        yield manager
    finally:
        while open_runs:  # the last that has begun first: it is below the others
            (run, tracer), event = open_runs.popitem()
            try:
                tracer.end(event, run, "cancelled")
            except Exception:  # as LangChain does: no fault of the call
                logger.warning("a tracer failed", exc_info=True)


class _Tracer:
    """A tracer in everything but this; `isinstance` and ``==`` say so too: LangChain asks them."""

    def __init__(self, tracer: Any, open_runs: dict[tuple[UUID, _Tracer], str]) -> None:
        self._tracer = tracer
        self._open = open_runs

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._tracer)

    def __eq__(self, other: object) -> bool:
        return self._tracer is getattr(other, "_tracer", other)

    def __hash__(self) -> int:
        return hash(self._tracer)

    def __getattr__(self, name: str) -> Any:
        heard = getattr(self._tracer, name)
        event, _, moment = name.rpartition("_")
        if event in _STARTS and moment == "start":
            return partial(self._begin, _STARTS[event], heard)
        if event in _ENDED and moment in ("end", "error"):
            return partial(self._end, event, heard)
        return heard

    def copy_with_metadata_defaults(self, **defaults: Any) -> Any:
        return _Tracer(self._tracer.copy_with_metadata_defaults(**defaults), self._open)

    def _begin(self, event: str, heard: Any, *args: Any, run_id: UUID, **told: Any) -> Any:
        self._open[run_id, self] = event
        return heard(*args, run_id=run_id, **told)

    def _end(self, event: str, heard: Any, what: Any, *, run_id: UUID, **told: Any) -> Any:
        if self._open.pop((run_id, self), None) is None:
            return None  # has been told
        if isinstance(what, GeneratorExit | CancelledError):
            outcome = "cut" if isinstance(what, GeneratorExit) else "cancelled"
            return self.end(event, run_id, outcome, **told)
        return heard(what, run_id=run_id, **told)

    def end(
        self, event: str, run_id: UUID, outcome: str, *, response: Any = None, **told: Any
    ) -> Any:
        """End a run that has not failed, with what a model has said so far."""
        said = [part for part in response.generations if part] if response is not None else []
        result = LLMResult(generations=said[:1] or [[]], llm_output={"outcome": outcome})
        what = {"on_llm": result, "on_retriever": []}.get(event, {"outcome": outcome})
        return getattr(self._tracer, f"{event}_end")(what, run_id=run_id, **told)
