"""All searches of a gateway: who may begin one, who runs it, and what becomes of it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from dataclasses import replace
from typing import Any, Self, cast
from uuid import uuid4
from weakref import WeakValueDictionary

from spex_agents.cli.choices import REWARDS, make_reward
from spex_agents.errors import SettingsError
from spex_agents.nodes.graph import create_tot_graph
from spex_agents.nodes.run import LISTENER, SearchGraph, patched
from spex_agents.search.limits import Limits
from spex_agents.search.registry import make_policy
from spex_agents.server.gateway.catalogue import Catalogue
from spex_agents.server.gateway.database import Database
from spex_agents.server.gateway.errors import ApiError, explain
from spex_agents.server.gateway.keys import Key
from spex_agents.server.gateway.metrics import Metrics, since
from spex_agents.server.gateway.quotas import Charge, Quotas
from spex_agents.server.gateway.requests import ChatRequest, asked_in
from spex_agents.server.gateway.search import ENDED, Search, tree_rows
from spex_agents.server.gateway.settings import Hosting
from spex_agents.speculation.telemetry import span
from spex_agents.speculation.termination import ExactStop, MaxTokens

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 3600.0


class Searches:
    """Begins searches and owns their runs: each is a task of its own, whatever its clients do.

    Use it as an async context manager: on the way in it goes on with what had not ended; on the way
    out every run is ended, and is gone on with next time.

    Args:
        catalogue: The models.
        database: Where searches outlive the process.
        hosting: Limits.
    """

    def __init__(self, catalogue: Catalogue, database: Database, hosting: Hosting) -> None:
        self.catalogue = catalogue
        self.database = database
        self.hosting = hosting
        self.quotas = Quotas(searches=hosting.searches)
        self.metrics = Metrics(lambda: self.running)
        self.draining = False
        self._alive: WeakValueDictionary[str, Search] = WeakValueDictionary()
        self._runs: dict[asyncio.Task[None], Search] = {}
        self._beginning = asyncio.Lock()
        self._tasks = asyncio.TaskGroup()
        self._sweeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        for owner, charge in await self.database.charges():
            self.quotas.charge(owner, charge)
        await self._tasks.__aenter__()
        self._sweeper = self._tasks.create_task(self._sweep())
        for record in await self.database.running():
            search = self._alive.setdefault(record.id, Search.from_record(record))
            search.background = True  # its clients' connections ended with the last process
            try:
                graph = self._graph(search.request, share=search.owner)
            except (ApiError, SettingsError) as error:  # an engine or a limit is not there any more
                search.fail(explain(error))
                await self.database.save(search.record())
                continue
            self.quotas.running[search.owner] += 1
            search.become("running")
            self._start(search, graph)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.draining = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for search in self._runs.values():
            search.cancel()
        await self._tasks.__aexit__(None, None, None)

    @property
    def running(self) -> int:
        return len(self._runs)

    async def begin(
        self, key: Key, request: ChatRequest, *, idempotency: str | None, background: bool = False
    ) -> Search:
        """Begin a search, or go on with the one of the same key and Idempotency-Key.

        Raises:
            ApiError: It is refused: the request is not valid, a limit is reached, or the gateway
                is about to stop.
        """
        fingerprint = _sha256(request.model_dump_json(exclude={"stream", "stream_options"}))
        identity = uuid4().hex
        if idempotency is not None:
            identity = _sha256(f"{len(key.name)}/{key.name}/{idempotency}")[:32]
        graph = self._graph(request, share=key.name if self.quotas.may_waste(key) else None)
        known = self._alive.get(identity)
        if known is not None and known.task is not None and known.task.cancelling():
            await asyncio.wait([known.task])  # it is being suspended just now
        async with self._beginning:
            search = None
            if idempotency is not None and (search := await self._find(identity)) is not None:
                if search.fingerprint != fingerprint:
                    raise ApiError(
                        422,
                        f"Idempotency-Key {idempotency!r} belongs to another request; "
                        "take a new one for this",
                        code="idempotency_mismatch",
                    )
                if search.state in ("running", "done"):
                    return search
            if self.draining:
                raise stopping()
            try:
                self.quotas.admit(key)
            except ApiError as error:
                self.metrics.refused(key.name, error.detail.code)
                raise
            try:
                if search is None:
                    search = Search(
                        id=identity,
                        owner=key.name,
                        created=time.time(),
                        request=request,
                        fingerprint=fingerprint,
                    )
                    self._alive[identity] = search
                search.background = background
                search.error = None
                search.become("running")
                await self.database.save(search.record())
            except BaseException:
                self.quotas.release(key.name)
                raise
            self._start(search, graph)
            return search

    async def find(self, key: Key, identity: str) -> Search:
        """A search of `key`'s.

        Raises:
            ApiError: It has none of that id; 404.
        """
        search = await self._find(identity)
        if search is None or search.owner != key.name:
            raise ApiError(404, f"id={identity!r}: no such search", param="id")
        return search

    async def tree(self, search: Search) -> list[dict[str, Any]]:
        """The committed thoughts of a search, of a running one up to its last checkpoint."""
        rows = search.rows
        if search.state not in ENDED:
            rows = await self._checkpoint(search) or {}
        return tree_rows(rows)

    async def latest(self, key: Key, limit: int) -> list[Search]:
        """The searches of `key`, the latest first."""
        records = await self.database.of_owner(key.name, limit)
        return [self._alive.get(record.id) or Search.from_record(record) for record in records]

    async def forget(self, key: Key, identity: str) -> None:
        """End a search of `key`'s if it runs, and forget it.

        Raises:
            ApiError: It has none of that id; 404.
        """
        search = await self.find(key, identity)
        if search.task is not None and not search.task.done():
            search.cancel()
            await asyncio.wait([search.task])
        self._alive.pop(identity, None)
        await self.database.forget(identity)

    async def drain(self) -> None:
        """Begin nothing more, and let what runs end; what does not in time is put off."""
        self.draining = True
        if self._runs:
            logger.info("draining", extra={"searches": len(self._runs)})
            await asyncio.wait(self._runs, timeout=self.hosting.drain_seconds)
        for search in self._runs.values():
            search.cancel()
        if self._runs:
            await asyncio.wait(self._runs)

    # A run.

    def _start(self, search: Search, graph: SearchGraph) -> None:
        search.task = self._tasks.create_task(self._run(search, graph))
        self._runs[search.task] = search
        search.task.add_done_callback(self._runs.pop)

    async def _run(self, search: Search, graph: SearchGraph) -> None:
        began = time.monotonic()
        before = replace(search.spent)
        told = {"search": search.id, "key": search.owner, "model": search.request.model}
        logger.info("search begins", extra={**told, "question": search.question})
        try:
            try:
                with span("spex.search", {f"spex.{name}": told[name] for name in told}):
                    async with asyncio.timeout(self.hosting.search_seconds):
                        values = await self._search(search, graph)
            finally:
                search.seconds += time.monotonic() - began
            search.finish(values)
        except asyncio.CancelledError:
            search.become("suspended")
        except TimeoutError:
            seconds = self.hosting.search_seconds
            search.fail(explain(TimeoutError(f"the search took longer than {seconds:g} s")))
        except Exception as error:
            logger.exception("search failed", extra=told)
            search.fail(explain(error))
        finally:
            self.quotas.release(search.owner)
        spent = since(before, search.spent)
        self.metrics.ended(search, self.catalogue.find(search.request.model).policy, spent)
        figures = {name: getattr(spent, name) for name in ("useful_tokens", "wasted_tokens")}
        seconds = round(search.seconds, 3)
        logger.info(
            "search ends", extra={**told, "state": search.state, "seconds": seconds, **figures}
        )
        await self._settle(search, Charge(time.time(), spent.useful_tokens, spent.wasted_tokens))

    async def _search(self, search: Search, graph: SearchGraph) -> dict[str, Any]:
        config: Any = {"configurable": {"thread_id": search.id}}
        asked: dict[str, Any] | None = {
            "question": search.question,
            "seed": _seed(search.request),
        }
        if (saved := await self._checkpoint(search)) is not None and "subject" in saved:
            search.recall(saved)
            # A run that was killed could not say what it had spent: at least what it has left.
            left = sum(row["tokens"] for row in search.rows["thoughts"])
            search.spent.useful_tokens = max(search.spent.useful_tokens, left)
            asked = None
        await graph.ainvoke(asked, patched(config, LISTENER, search.hear))
        values: dict[str, Any] = (await graph.aget_state(config)).values
        return values

    async def _settle(self, search: Search, charge: Charge) -> None:
        """Charge a run, and save what has become of its search."""
        self.quotas.charge(search.owner, charge)
        record = search.record()
        if search.state == "suspended" and self.draining:
            record = replace(record, state="running")  # the next process goes on with it
        try:
            await self.database.charge(search.owner, charge)
            await self.database.save(record)
            if search.state == "done":
                await self.database.saver.adelete_thread(search.id)
        except Exception:
            logger.exception("cannot save", extra={"search": search.id, "key": search.owner})

    async def _checkpoint(self, search: Search) -> dict[str, Any] | None:
        saved = await self.database.saver.aget_tuple({"configurable": {"thread_id": search.id}})
        return None if saved is None else saved.checkpoint["channel_values"]

    async def _find(self, identity: str) -> Search | None:
        if (search := self._alive.get(identity)) is not None:
            return search
        if (record := await self.database.find(identity)) is None:
            return None
        search = Search.from_record(record)
        if search.state == "suspended" and (saved := await self._checkpoint(search)) is not None:
            search.recall(saved)
        return self._alive.setdefault(identity, search)

    async def _sweep(self) -> None:
        while True:
            try:
                await self.database.forget_before(time.time() - self.hosting.keep_seconds)
            except Exception:
                logger.exception("cannot forget old searches")
            await asyncio.sleep(SWEEP_SECONDS)

    # What a request comes to.

    def _graph(self, request: ChatRequest, *, share: str | None) -> SearchGraph:
        """The compiled search, which runs ahead in the share of a key, or not at all.

        Raises:
            ApiError: The request is not valid.
        """
        hosting, asked = self.hosting, request.spex
        model = self.catalogue.find(request.model)
        sizes = {**model.size, **_given(width=asked.width, rollouts=asked.rollouts)}
        _check_most(hosting, depth=asked.depth, **sizes)
        if asked.reward is not None and asked.reward not in REWARDS:  # a module's name least of all
            raise ApiError(
                400,
                f"reward={asked.reward!r}: must be one of {', '.join(REWARDS)}",
                param="spex.reward",
            )
        speculation = None
        if share is not None and asked.speculation is not False:
            speculation = replace(hosting.speculation, share=share)
        tokens = request.max_completion_tokens or request.max_tokens or hosting.most_tokens
        try:
            limits = Limits(
                **_given(
                    depth=asked.depth or min(Limits().depth, hosting.most_depth),
                    step_tokens=asked.step_tokens,
                    path_tokens=asked.path_tokens,
                )
            )
            sampling = replace(
                hosting.sampling,
                **_given(temperature=request.temperature, top_p=request.top_p),
            )
            engine: Any = model.engine
            graph = create_tot_graph(
                engine,
                policy=make_policy(model.policy, **sizes),
                reward=make_reward(
                    asked.reward or hosting.reward, engine, sampling=sampling, limits=limits
                ),
                limits=limits,
                sampling=sampling,
                template=asked_in(request.messages).template,
                vote=asked.vote or "weighted",
                stop=ExactStop() | MaxTokens(min(tokens, hosting.most_tokens)),
                speculation=speculation,
            )
        except SettingsError as error:
            raise explain(error, names=_PLACES) from error
        return cast(SearchGraph, graph.compile(checkpointer=self.database.saver))


_PLACES = {
    **{name: f"spex.{name}" for name in ("width", "rollouts", "depth", "reward", "vote")},
    **{name: f"spex.{name}" for name in ("step_tokens", "path_tokens")},
    **{name: name for name in ("temperature", "top_p")},
}


def stopping() -> ApiError:
    """What clients are told while the gateway is about to stop."""
    return ApiError(
        503,
        "the gateway is about to stop: send the request again, with the same Idempotency-Key to "
        "go on where it was",
        kind="server_error",
        code="stopping",
        retry_after=5.0,
    )


def _check_most(hosting: Hosting, **asked: int | None) -> None:
    for name, value in asked.items():
        most = hosting.most_depth if name == "depth" else hosting.most_width
        if value is not None and value > most:
            raise ApiError(
                400, f"{name}={value}: must be at most {most} here", param=f"spex.{name}"
            )


def _seed(request: ChatRequest) -> int:
    return request.spex.seed if request.spex.seed is not None else request.seed or 0


def _given(**settings: Any) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
