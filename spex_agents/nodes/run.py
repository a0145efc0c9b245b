"""The session of one run of a search graph: opened at first need, closed with the run.

A run is one call of the compiled graph, as a root or inside another graph. All of them pass through
`astream` or `stream`, so that is where a ``with`` statement around the run holds its session: it
closes when the run ends, fails, is cancelled or interrupted, and when its reader goes away.
A callback is told of the first four as well and closes it too, a moment sooner: so in a trace all
has ended below a search that has ended. But errors of callbacks are swallowed, and nobody waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import replace
from typing import Any, Final, TypeAlias, TypeVar
from uuid import uuid4

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp

from spex_agents.errors import SessionClosed
from spex_agents.nodes.calls import Calls, SearchRun
from spex_agents.nodes.context import in_context
from spex_agents.nodes.listening import beating, named, tell_ledger
from spex_agents.nodes.state import ROWS, Subject, demanded_in, policy_state_of, tree_of, unsaved
from spex_agents.search.policy import Expand, Finish
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.reporting.events import Listener
from spex_agents.speculation.reporting.ledger import Ledger
from spex_agents.speculation.running.jobs import CLOSE_SECONDS
from spex_agents.speculation.session import Session
from spex_agents.waiting import until_ended

logger = logging.getLogger(__name__)

T = TypeVar("T")

Thread: TypeAlias = tuple[Any, str, int]
"""One search of a thread: the thread's name, the question and the seed."""

Spent: TypeAlias = dict[Thread, Ledger]

THREADS: Final = 1000
"""Threads whose last run may be gone on from with all that it has spent; the oldest go first."""

RUN: Final = "__spex_run"  # keys with two underscores stay out of checkpoints and traces
CONVERSATION: Final = "__spex_conversation"

END_SECONDS: Final = 3 * CLOSE_SECONDS
"""Time for a cancelled run to end: its session may take `CLOSE_SECONDS` for its calls alone."""

STEPS: Final = 2**31
"""A recursion limit out of reach, for a search bounds itself."""


class Run:
    """Holds the session that the nodes of one run share.

    The graph's state is the truth: a session that does not agree with it is replaced by a new one
    that begins from the state, which costs what had been begun early and changes nothing else.

    Args:
        config: What the search is made of.
        spent: What the searches of threads have spent in all their runs, saved or not.

    Attributes:
        traced: Hears of the run as traces do; None where there is no graph.
    """

    def __init__(self, config: SearchConfig, spent: Spent | None = None) -> None:
        self.traced: SearchRun | None = None
        self._config = config
        self._spent: Spent = {} if spent is None else spent
        self._thread: Thread | None = None
        self._before = Ledger()
        """What the search had spent when its session was opened."""
        self._session: Session | None = None
        self._calls: Calls | None = None
        self._closed = False
        self._chosen: dict[str, Any] = {}
        self._failed: Exception | None = None
        self._attempt: tuple[object, Mapping[str, Any]] | None = None

    async def __aenter__(self) -> Run:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Run {'closed' if self._closed else self._session}>"

    def search(self, subject: Subject) -> SearchConfig:
        """What a search on `subject` is made of.

        Raises:
            SettingsError: What its run has chosen does not fit.
        """
        return in_context(self._config, subject.get("context", {}))

    def _agrees(self, session: Session, state: Mapping[str, Any]) -> bool:
        return state["subject"].get("context", {}) == self._chosen and _agree(session, state)

    async def session(
        self, state: Mapping[str, Any], config: RunnableConfig, listener: Listener | None
    ) -> Session:
        """The session that stands where `state` does.

        Args:
            state: The graph's.
            config: Of the node that asks: what a session that it opens makes its calls in.
            listener: Told what happens in a session that it opens.

        Raises:
            SessionClosed: The run has ended.
        """
        if self._session is not None and not self._agrees(self._session, state):
            await self._leave()
        if self._closed:
            raise SessionClosed("this run of the graph has ended: its nodes begin nothing more")
        if self._session is None:
            demanded = demanded_in(state)
            self._recall(state, config)
            self._calls = Calls(config, self.traced.id if self.traced else None)
            search = uuid4().hex
            self._chosen = state["subject"].get("context", {})
            self._session = self._calls.context().run(
                Session,
                self.search(state["subject"]),
                tree_of(state),
                run=search,
                decision=Expand(demanded) if demanded else Finish(),
                stopped=state.get("stopped"),
                timed=bool(state.get("timed")),
                before=self._before,
                listener=named(listener, search, config, inside=True),
            )
            self._session.state = policy_state_of(state)
        return self._session

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """Let who waits for the search hear that it goes on, and an error carry the best so far."""
        try:
            async with beating(lambda: self._session):
                yield
        except Exception as error:
            if self._session is not None:
                await self._session.tell_best(error)
            raise

    def _recall(self, state: Mapping[str, Any], config: RunnableConfig) -> None:
        """Go on from what the runs before this one have spent."""
        subject = state["subject"]
        name = config.get("configurable", {}).get("thread_id")
        self._thread = None if name is None else (name, subject["question"], subject["seed"])
        rows = state.get("thoughts", ())
        before = state.get("ledger") or {"useful_tokens": sum(row["tokens"] for row in rows)}
        self._before = Ledger.of(before)
        spent = self._spent.pop(self._thread, None) if self._thread is not None else None
        if spent is not None and state.get("ledger", {}) is not None:
            # What is not in the checkpoint will be written again: it was in vain.
            spent.keep(self._before)
            if spent.decoded_tokens >= self._before.decoded_tokens:
                self._before = spent

    def spent(self, session: Session) -> Ledger:
        """What the search has spent in all its runs so far."""
        spent = replace(self._before)
        spent.go_on(session.ledger)
        return spent

    def attempt(self, state: Mapping[str, Any], standing: Mapping[str, Any]) -> None:
        """Note how far the step that began at `state` has come."""
        self._attempt = _position(state), standing

    def attempted(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """Where a step that begins at `state` stands: further, if it is one that was cut short."""
        if self._attempt is None or self._attempt[0] != _position(state):
            return state
        return self._attempt[1]

    def fail_next(self, error: Exception) -> None:
        """Let the next step of the graph raise `error`, so that this one can write what it has.

        What asks for a person (an interrupt) belongs to the step that asks, which will ask again.
        """
        if not isinstance(error, GraphBubbleUp):
            self._failed = error

    def fail_again(self) -> None:
        """Raise what the last step has failed with, once."""
        error, self._failed = self._failed, None
        if error is not None:
            raise error

    async def settle(self) -> None:
        """Close the session, if there is one, and tell what has become of all that it had begun."""
        session, calls = self._session, self._calls
        if session is None or calls is None:
            return
        try:
            await session.close()
        finally:
            tell_ledger(session)
            self._keep(self.spent(session))
            await calls.end(session.tree)

    def _keep(self, spent: Ledger) -> None:
        """Keep for the thread's next run what has been spent, for no checkpoint has all of it."""
        if self._thread is not None:
            self._spent.pop(self._thread, None)
            self._spent[self._thread] = spent
            if len(self._spent) > THREADS:
                del self._spent[next(iter(self._spent))]

    async def close(self) -> None:
        """End the run's session, if it has one, and refuse others."""
        self._closed = True
        await self._leave()

    async def _leave(self) -> None:
        await self.settle()
        self._session = self._calls = None


def _position(state: Mapping[str, Any]) -> object:
    return state["subject"], state["decided"], *(len(state.get(key, ())) for key in ROWS)


def _agree(session: Session, state: Mapping[str, Any]) -> bool:
    """Whether a session stands where `state` does.

    It may have gone on with what is demanded there, for a node that then failed.
    """
    subject = state["subject"]
    ahead = set(unsaved(session.tree.thoughts, state.get("thoughts", ())))
    ahead |= set(unsaved(session.tree.rewards, state.get("rewards", ())))
    return (
        session.tree.question == subject["question"]
        and session.tree.seed == subject["seed"]
        and len(session.tree.thoughts) >= len(state.get("thoughts", ()))
        and len(session.tree.rewards) >= len(state.get("rewards", ()))
        and ahead <= set(demanded_in(state))
        and session.state == policy_state_of(state)
    )


def run_of(config: RunnableConfig) -> Run | None:
    """The run that a node is part of; None outside a `SearchGraph`."""
    found = config.get("configurable", {}).get(RUN)
    return found if isinstance(found, Run) else None


async def apart(work: Awaitable[T], context: Context | None = None) -> T:
    """Await `work` in a task of its own, which is cancelled once and then left to end.

    A graph that is cancelled again while it ends loses hold of its nodes, which then run on to
    their end; and the cancel scopes of AnyIO (so of Starlette and FastAPI) cancel at every step.
    Runs of a `SearchGraph` are safe from that; a run of a graph around one is if it is awaited
    here.

    Args:
        work: A coroutine, or anything else to await.
        context: What it runs in; a copy of the caller's by default.

    Example:
        >>> async def answer(graph, question):
        ...     return await apart(graph.ainvoke({"question": question}))
    """

    async def call() -> T:
        return await work

    task = asyncio.create_task(call(), context=context)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        try:
            await until_ended(task, seconds=END_SECONDS)
        finally:
            if not task.done():
                logger.warning("a run of the graph did not end in %s s", END_SECONDS)
            elif not task.cancelled():
                task.exception()  # the cancellation is what the caller hears of
        raise
    return task.result()


def patched(config: RunnableConfig | None, own: Mapping[str, object]) -> RunnableConfig:
    """`config` with values under keys of our own, where its nodes find them."""
    config = config or {}
    return {**config, "configurable": {**config.get("configurable", {}), **own}}
