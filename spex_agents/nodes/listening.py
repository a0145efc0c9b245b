"""Who hears of a search while it runs: the stream of its graph, and LangGraph's idle timeouts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import Any, Final, cast

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.runtime import Runtime, get_runtime

from spex_agents.speculation.reporting.events import LedgerEvent, Listener, ThoughtEvent
from spex_agents.speculation.session import Session

LISTENER: Final = "__spex_listener"
TOOL_CALL: Final = "__spex_tool_call"

BEAT_SECONDS: Final = 0.25
"""How often it is looked whether a search goes on."""


def listener_of(config: RunnableConfig) -> Listener | None:
    """What passes the events of a node's session on to the stream of its run.

    Example:
        >>> listener_of({}) is None  # called by hand, nobody listens
        True
    """
    if (listener := config.get("configurable", {}).get(LISTENER)) is not None:
        return listener  # type: ignore[no-any-return]
    try:
        writer = get_stream_writer()
    except (KeyError, RuntimeError):  # called by hand, outside a graph
        return None
    # The writer looks up whose stream it is, and a session's events come from outside the node.
    context = copy_context()
    return lambda event: context.run(writer, event)


def named(
    listener: Listener | None, search: str, config: RunnableConfig, *, inside: bool
) -> Listener | None:
    """Tells events with the search's id, and with where in a graph it runs.

    Args:
        listener: Told of them, if anybody is.
        search: The id.
        config: That of a node.
        inside: The node is one of the search's own graph, so that what is around that is told.
    """
    if listener is None:
        return None
    configured = config.get("configurable", {})
    space = str(configured.get("checkpoint_ns", ""))
    where: Any = {"search": search, "origin": space.rpartition("|")[0] if inside else space}
    if call := configured.get(TOOL_CALL):
        where["tool_call"] = call

    def tell(event: ThoughtEvent) -> None:
        listener({**event, **where})

    return tell


def tell_ledger(session: Session) -> None:
    """Tell what a closed session has spent; once, and then nothing more."""
    if session.memo.listener is not None:
        tell = cast(
            Callable[[LedgerEvent], None], session.memo.listener
        )  # a stream takes any event
        session.memo.listener = None
        tell({"type": "ledger", "ledger": session.ledger.report()})


@asynccontextmanager
async def beating(session: Callable[[], Session | None]) -> AsyncIterator[None]:
    """Tell the idle timeout of the node around the body whenever its search has come further.

    Callbacks and events are such signs too, but not where ``refresh_on="heartbeat"``; and an engine
    that writes a long thought sends none. A search that does not go on is idle.

    Args:
        session: The search's, once there is one.
    """
    try:
        runtime: Runtime[Any] | None = get_runtime()
    except (KeyError, RuntimeError):  # called by hand, outside a graph
        runtime = None
    if runtime is None or runtime.heartbeat is Runtime().heartbeat:  # nobody waits for it
        yield
        return
    beat = runtime.heartbeat

    async def watch() -> None:
        seen: object = None
        while True:
            if (now := _progress(session())) != seen:
                seen = now
                beat()
            await asyncio.sleep(BEAT_SECONDS)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])


def _progress(session: Session | None) -> object:
    if session is None:
        return None
    ledger = session.ledger
    return ledger.thought_calls, ledger.reward_calls, ledger.calls, session.memo.spent()
