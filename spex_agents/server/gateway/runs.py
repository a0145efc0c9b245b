"""The runs of a gateway's searches: each is a task, whatever its clients do."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Self

from spex_agents.nodes.run import LISTENER, apart, patched
from spex_agents.server.gateway.catalogue import Catalogue
from spex_agents.server.gateway.database import Database
from spex_agents.server.gateway.errors import explain
from spex_agents.server.gateway.graphs import AnyGraph
from spex_agents.server.gateway.metrics import Metrics, since
from spex_agents.server.gateway.quotas import Charge, Quotas
from spex_agents.server.gateway.search import Search
from spex_agents.server.gateway.settings import Hosting
from spex_agents.speculation.reporting.telemetry import span

logger = logging.getLogger(__name__)


class Runs:
    """Runs searches to their ends, or until they are cancelled, and then charges and saves them.

    Use it as an async context manager: on the way out every run is ended, and put off.

    Args:
        catalogue: The models.
        database: Where searches outlive the process.
        hosting: Limits.
        quotas: Where what a run has cost is charged, and its place given back.

    Attributes:
        draining: Whether the gateway is about to stop: runs that are cancelled are for the next
            process to go on with.
    """

    def __init__(
        self, catalogue: Catalogue, database: Database, hosting: Hosting, quotas: Quotas
    ) -> None:
        self.metrics = Metrics(lambda: len(self._running))
        self.draining = False
        self._catalogue = catalogue
        self._database = database
        self._hosting = hosting
        self._quotas = quotas
        self._running: dict[asyncio.Task[None], Search] = {}
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.draining = True
        for search in self.searches:
            search.cancel()
        await self._tasks.__aexit__(None, None, None)

    @property
    def searches(self) -> Collection[Search]:
        """Those that run."""
        return self._running.values()

    def start(self, search: Search, graph: AnyGraph) -> None:
        """Begin a run of `search`, for which there must be a place in the quotas."""
        search.task = self._tasks.create_task(self._run(search, graph))
        self._running[search.task] = search
        search.task.add_done_callback(self._running.pop)

    async def drain(self) -> None:
        """Let what runs end; what does not in time is put off."""
        self.draining = True
        if self._running:
            logger.info("draining", extra={"searches": len(self._running)})
            await asyncio.wait(self._running, timeout=self._hosting.drain_seconds)
        for search in self.searches:
            search.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def _run(self, search: Search, graph: AnyGraph) -> None:
        began = time.monotonic()
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
            search.finish(values)
        except asyncio.CancelledError:
            search.become("suspended" if search.error is None else "failed")
        except TimeoutError:
            seconds = self._hosting.search_seconds
            search.fail(explain(TimeoutError(f"the search took longer than {seconds:g} s")))
        except Exception as error:
            logger.exception("search failed", extra=told)
            search.fail(explain(error))
        finally:
            self._quotas.release(search.owner)
        spent = since(before, search.spent)
        self.metrics.ended(search, self._catalogue.find(search.request.model).label, spent)
        figures = {name: getattr(spent, name) for name in ("useful_tokens", "wasted_tokens")}
        seconds = round(search.seconds, 3)
        logger.info(
            "search ends", extra={**told, "state": search.state, "seconds": seconds, **figures}
        )
        await self._settle(search, Charge(time.time(), spent.useful_tokens, spent.wasted_tokens))

    async def _search(self, search: Search, graph: AnyGraph) -> dict[str, Any]:
        config: Any = {"configurable": {"thread_id": search.id}}
        asked: dict[str, Any] | None = {
            "question": search.request.asked.question,
            "seed": search.request.search_seed,
        }
        if (saved := await self._database.checkpoint(search.id)) is not None and "subject" in saved:
            search.recall(saved)
            # A run that was killed could not say what it had spent: at least what it has left.
            left = sum(row["tokens"] for row in search.rows["thoughts"])
            search.spent.useful_tokens = max(search.spent.useful_tokens, left)
            asked = None
        await apart(graph.ainvoke(asked, patched(config, {LISTENER: search.hear})))
        values: dict[str, Any] = (await graph.aget_state(config)).values
        return values

    async def _settle(self, search: Search, charge: Charge) -> None:
        """Charge a run, and save what has become of its search."""
        self._quotas.charge(search.owner, charge)
        record = search.record()
        if search.state == "suspended" and self.draining:
            record = replace(record, state="running")  # the next process goes on with it
        try:
            await self._database.charge(search.owner, charge)
            await self._database.save(record)
            if search.state == "done":
                await self._database.forget_checkpoint(search.id)
        except Exception:
            logger.exception("cannot save", extra={"search": search.id, "key": search.owner})
