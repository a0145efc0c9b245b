"""What a gateway does for its searches unasked: goes on with them, ends and forgets them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Self
from uuid import uuid4

from spex_agents.server.gateway.database import Database
from spex_agents.server.gateway.errors import ApiError, deleted, explain
from spex_agents.server.gateway.graphs import Plans
from spex_agents.server.gateway.hosting import Hosting
from spex_agents.server.gateway.keyring import Keyring
from spex_agents.server.gateway.known import KnownSearches
from spex_agents.server.gateway.quotas import Quotas
from spex_agents.server.gateway.records import Charge, Records
from spex_agents.server.gateway.repeating import repeat
from spex_agents.server.gateway.runs import Runs
from spex_agents.server.gateway.search import Search

SWEEP_SECONDS = 3600.0
REVOKE_SECONDS = 0.5
"""How often it is asked whose keys are gone."""


class Upkeep:
    """Goes on with searches that have no process, and ends those that nobody may have any more.

    Use it as an async context manager, for as long as `runs` is one.

    Args:
        plans: What searches ask for.
        database: Where the checkpoints and the jobs are.
        records: Where the searches are.
        hosting: Limits.
        keys: Whose searches may run.
        quotas: What they may cost.
        known: The searches that the gateway has.
        runs: Those that it runs.
    """

    def __init__(
        self,
        *,
        plans: Plans,
        database: Database,
        records: Records,
        hosting: Hosting,
        keys: Keyring,
        quotas: Quotas,
        known: KnownSearches,
        runs: Runs,
    ) -> None:
        self._plans = plans
        self._database = database
        self._records = records
        self._hosting = hosting
        self._keys = keys
        self._quotas = quotas
        self._known = known
        self._runs = runs
        self._jobs = database.jobs
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            await self._offer_left()
            for work, seconds, failed in self._duties():
                duty = repeat(work, seconds=seconds, failed=failed)
                stack.callback(tasks.create_task(duty).cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def _duties(self) -> Iterator[tuple[Callable[[], Awaitable[None]], float, str]]:
        """What there is to do, how often, and what is said if it fails."""
        often = self._jobs.seconds
        yield self._go_on, often, "cannot look for searches to go on with"
        yield self._database.saver.save_due, often, "cannot save what searches have come to"
        yield self._end_revoked, REVOKE_SECONDS, "cannot end the searches of revoked keys"
        yield self._forget_old, SWEEP_SECONDS, "cannot forget old searches"
        if self._jobs.shared:
            yield self._jobs.beat, often, "cannot say that this gateway is there"
            yield self._end_lost, often, "cannot ask whose the searches are"
            yield self._offer_left, 5 * often, "cannot look for searches that are nobody's"

    async def _offer_left(self) -> None:
        """Offer searches that run by their records: their gateway may have died too soon to."""
        await self._jobs.offer(await self._records.running())

    async def _go_on(self) -> None:
        """Go on with what the last process left, or a gateway that has died, as there is room."""
        if self._runs.leaving or self._runs.draining:
            await self._jobs.give_back()
            return
        room = self._hosting.searches - len(self._runs.searches)
        if room > 0:
            left = await self._jobs.next(room)
            try:
                while left:
                    await self._go_on_with(left[0])
                    del left[0]
            finally:
                for identity in left:
                    self._jobs.try_again(identity)

    async def _go_on_with(self, identity: str) -> None:
        """Go on with a search, if there is still who and what for."""
        record = await self._records.find(identity)
        search = None
        if record is not None and record.state == "running":
            search = await self._known.read(record)
        if record is None or search is None:
            if record is None:
                await self._database.forget_checkpoint(identity)
            await self._jobs.done(identity)
            return
        search = self._known.alive.setdefault(identity, search)
        nobody = not search.background and not search.idempotent
        search.background = True  # its clients' connections ended with the last process
        key = plan = None
        try:
            if record.attempts >= self._jobs.most_attempts:
                raise _deadly(record.attempts)
            if (key := self._keys.of(search.owner, search.key)) is None:
                raise _revoked(search)
            plan = self._plans.of(search.request)
        except ApiError as error:  # an engine or a limit is not there any more
            search.fail(explain(error))
        may_waste = key is not None and await self._quotas.may_waste(key)
        share = search.owner if may_waste else None
        search.run, search.lost = uuid4().hex, False
        if not await self._records.claim(record, search.run):  # it has ended meanwhile
            await self._jobs.done(identity)
            return
        if plan is None or key is None or nobody:
            if plan is not None:
                search.state = "suspended"
            await self._records.settle(search.record(), Charge(time.time(), 0, 0))
            await self._jobs.done(identity)
            search.announce()
            return
        granted = record.reserved or None
        graph = plan.graph(share=share, tokens=granted)
        search.limit, search.most = plan.limit(granted), plan.most
        self._runs.start(search, graph, storage=key.storage)

    async def _end_lost(self) -> None:
        """End what another gateway has forgotten, or taken over."""
        running = [(search, search.run) for search in self._runs.searches]
        runs = await self._records.runs_of([search.id for search, _ in running])
        for search, run in running:
            if search.id not in runs:
                self._known.alive.pop(search.id, None)
                search.cancel(deleted())
            elif runs[search.id] != run == search.run:
                search.lose()

    async def _end_revoked(self) -> None:
        for search in self._runs.searches:
            if self._keys.of(search.owner, search.key) is None:
                search.cancel(_revoked(search))

    async def _forget_old(self) -> None:
        await self._records.forget_before(time.time() - self._hosting.keep_seconds)


def _revoked(search: Search) -> ApiError:
    return ApiError(
        401,
        f"the key {search.owner!r} was revoked: its searches have ended",
        code="key_revoked",
    )


def _deadly(attempts: int) -> ApiError:
    return ApiError(
        500,
        f"the gateway has died {attempts} times with this search running: it is not tried again",
        kind="server_error",
        code="search_killed",
    )
