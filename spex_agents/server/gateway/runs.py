"""The runs of a gateway's searches: each is a task, whatever its clients do."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, Self

from spex_agents.nodes.listening import LISTENER
from spex_agents.nodes.run import apart, patched
from spex_agents.server.gateway.catalogue import Catalogue
from spex_agents.server.gateway.database import Database
from spex_agents.server.gateway.errors import explain
from spex_agents.server.gateway.graphs import AnyGraph
from spex_agents.server.gateway.hosting import Hosting
from spex_agents.server.gateway.metrics import Metrics
from spex_agents.server.gateway.records import Charge, Records
from spex_agents.server.gateway.search import Search
from spex_agents.speculation.reporting.events import ThoughtEvent
from spex_agents.speculation.reporting.ledger import Ledger
from spex_agents.speculation.reporting.telemetry import span

logger = logging.getLogger(__name__)

OLD = "policy_state"
"""What checkpoints of release 0.1 have, which no graph can go on from any more."""


class Runs:
    """Runs searches to their ends, or until they are cancelled, and then charges and saves them.

    Use it as an async context manager: on the way out every run is ended, and put off.

    Args:
        catalogue: The models.
        database: Where the checkpoints are.
        records: Where what has become of a search is saved, and what it has cost.
        hosting: Limits.
        follow: Tells of a search that another gateway has taken over.

    Attributes:
        leaving: Whether the gateway is unready, being about to stop, but takes requests still.
        draining: Whether the gateway is about to stop: runs that are cancelled are for the next
            process to go on with.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        database: Database,
        records: Records,
        hosting: Hosting,
        *,
        follow: Callable[[Search], None],
    ) -> None:
        self.metrics = Metrics()
        self.leaving = False
        self.draining = False
        self._catalogue = catalogue
        self._database = database
        self._records = records
        self._hosting = hosting
        self._follow = follow
        self._running: dict[asyncio.Task[None], Search] = {}
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.put_off()
        await self._tasks.__aexit__(None, None, None)

    @property
    def searches(self) -> Collection[Search]:
        """Those that run."""
        return self._running.values()

    @property
    def full(self) -> bool:
        return len(self._running) >= self._hosting.searches

    def start(self, search: Search, graph: AnyGraph, *, storage: int | None) -> None:
        """Begin a run of `search`, which has been let in; its key may keep `storage` bytes."""
        search.task = self._tasks.create_task(self._run(search, graph, storage))
        self._running[search.task] = search
        self.metrics.running(len(self._running))
        search.task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        search = self._running.pop(task)
        self.metrics.running(len(self._running))
        if search.lost:
            logger.warning("another gateway has this search", extra={"search": search.id})
            search.leave(followed=not self.draining)
            if not self.draining:
                self._follow(search)

    async def drain(self, others: Collection[asyncio.Task[None]]) -> None:
        """Let what runs end, and those of `others`; runs that do not in time are put off."""
        self.draining = True
        if waited := {*self._running, *others}:
            logger.info("draining", extra={"searches": len(waited)})
            await asyncio.wait(waited, timeout=self._hosting.drain_seconds)
        self.put_off()
        if self._running:
            await asyncio.wait(self._running)

    def put_off(self) -> None:
        """End all runs: their searches are for the next process to go on with."""
        self.draining = True
        for search in self.searches:
            search.cancel()

    async def _run(self, search: Search, graph: AnyGraph, storage: int | None) -> None:
        search.began = began = time.monotonic()
        before = replace(search.spent)
        told = {"search": search.id, "key": search.owner, "model": search.request.model}
        logger.info("search begins", extra={**told, "question": search.request.asked.question})
        try:
            try:
                with span("spex.search", {f"spex.{name}": told[name] for name in told}):
                    async with asyncio.timeout(self._hosting.search_seconds):
                        values = await self._search(search, graph)
            finally:
                search.seconds += time.monotonic() - began
                search.began = None
            search.finish(values)
        except asyncio.CancelledError:
            if not search.lost:
                search.state = "suspended" if search.error is None else "failed"
        except TimeoutError:
            seconds = self._hosting.search_seconds
            search.fail(explain(TimeoutError(f"the search took longer than {seconds:g} s")))
        except Exception as error:
            logger.exception("search failed", extra=told)
            search.fail(explain(error))
        spent = search.spent.since(before)
        charge = Charge(time.time(), spent.useful_tokens, spent.wasted_tokens)
        await self._settle(search, charge, storage)
        state = "lost" if search.lost else search.state
        self.metrics.ended(search, self._catalogue.find(search.request.model).label, state, spent)
        figures = {name: getattr(spent, name) for name in ("useful_tokens", "wasted_tokens")}
        seconds = round(search.seconds, 3)
        event = "search suspended" if state == "suspended" else "search ends"
        logger.info(event, extra={**told, "state": state, "seconds": seconds, **figures})
        if not search.lost:
            search.announce()  # now that its key may begin the next

    async def _search(self, search: Search, graph: AnyGraph) -> dict[str, Any]:
        config: Any = {"configurable": {"thread_id": search.id}}
        asked: dict[str, Any] | None = {
            "question": search.request.asked.question,
            "seed": search.seed,
        }
        saved = await self._database.checkpoint(search.id)
        if saved is not None and OLD in saved:  # it begins anew, and comes to the same
            await self._database.forget_checkpoint(search.id)
            saved = None
        if saved is not None and "subject" in saved:
            search.recall(saved)
            # A run that was killed could not say what it had spent: at least what was saved.
            known = Ledger.of(saved.get("ledger") or {})
            if known.decoded_tokens > search.spent.decoded_tokens:
                search.spent = known
            left = sum(row["tokens"] for row in search.rows["thoughts"])
            search.spent.useful_tokens = max(search.spent.useful_tokens, left)
            asked = None
        hear = self._listener(search)
        # The whole state as the run has it: what the database has may be another gateway's by now.
        run = graph.ainvoke(
            asked, patched(config, {LISTENER: hear}), output_keys=graph.stream_channels_list
        )
        values: dict[str, Any] = await apart(run)
        return values

    def _listener(self, search: Search) -> Callable[[ThoughtEvent], None]:
        """Lets `search` hear what is told of its run, and sees when its first thought is."""
        began: float | None = time.monotonic()

        def hear(event: ThoughtEvent) -> None:
            nonlocal began
            if began is not None and event.get("status") == "accepted":
                policy = self._catalogue.find(search.request.model).label
                self.metrics.first_thought(search, policy, time.monotonic() - began)
                began = None
            search.hear(event)

        return hear

    async def _settle(self, search: Search, charge: Charge, storage: int | None) -> None:
        """Charge a run, and save what has become of its search, unless another gateway has it."""
        jobs = self._database.jobs
        if search.lost:
            self._lose(search)
            return
        record = search.record()
        if search.state == "suspended" and self.draining:
            record = replace(record, state="running")  # the next process goes on with it
        try:
            if not await self._records.settle(record, charge):
                search.lost = True
                self._lose(search)
                return
            if search.state == "done" or not await self._records.runs_of([search.id]):
                await self._database.forget_checkpoint(search.id)
            else:
                await self._database.keep_checkpoint(search.id)
            await (jobs.leave if record.state == "running" else jobs.done)(search.id)
            if storage is not None:
                await self._records.forget_beyond(search.owner, storage)
        except Exception:
            logger.exception("cannot save", extra={"search": search.id, "key": search.owner})
            self._lose(search)  # whose record still says that it runs is gone on with

    def _lose(self, search: Search) -> None:
        """Let go of a search that another gateway has, or will have."""
        self._database.jobs.lose(search.id)
        self._database.saver.drop(search.id)
