"""What keys may use: searches at a time, and tokens in a sliding window."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from spex_agents.server.gateway.database import Database
from spex_agents.server.gateway.errors import ApiError
from spex_agents.server.gateway.keys import Key
from spex_agents.server.gateway.records import Charge, Record
from spex_agents.server.gateway.schema import searches, usage

SOON = 1.0
"""Seconds after which a client may try again where nobody knows when a place falls free."""


_TURN = text("SELECT pg_advisory_xact_lock(1936745848, hashtext(:owner))")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a search that was let in may use.

    Attributes:
        tokens: Tokens decoded; None for no limit.
        may_waste: Whether it may run ahead, for all that its key has wasted, and has left.
    """

    tokens: int | None
    may_waste: bool


class Quotas:
    """Lets searches begin, and holds back from their keys what they may take until they end.

    What a key uses is counted in the database, so for all the gateways that share it. A search
    decides nothing further once it has taken what was granted: its last decision may exceed it.

    Args:
        database: Open.
        clock: Seconds since the epoch.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def admit(self, key: Key, record: Record, *, estimate: int, ahead: int) -> Grant | None:
        """Let the run that `record` names begin, and save it as running; None if it runs already.

        Args:
            key: Whose.
            record: Of the search.
            estimate: Tokens that it may take: as many as are left are held back from its key.
            ahead: The same if it runs ahead; where they are not left, it may not.

        Raises:
            ApiError: A limit of the key is reached; 429.
        """

        async def work(connection: AsyncConnection) -> Grant | None:
            if connection.dialect.name == "postgresql":  # admissions of one key take turns
                await connection.execute(_TURN, {"owner": key.name})
            state = select(searches.c.state).where(searches.c.id == record.id)
            if (await connection.execute(state)).scalar() == "running":
                return None  # another gateway was sooner
            running, reserved = await self._running(connection, key, record.id)
            if running >= key.concurrency:
                raise _refusal(
                    f"{key.name} has {running} searches running, as many as it may",
                    "concurrency_exceeded",
                    SOON,
                )
            charges: list[Charge] = []
            if key.tokens is not None or key.waste is not None:
                charges = await self._charges(connection, key)
            may_waste = _wasted_less(key, charges)
            left = None
            if key.tokens is not None:
                left = self._left(key, key.tokens, charges, reserved)
                may_waste = may_waste and ahead <= left
            held = ahead if may_waste else estimate
            await _save(connection, record, held if left is None else min(held, left))
            return Grant(left, may_waste)

        return await self._database.transact(work)

    async def may_waste(self, key: Key) -> bool:
        """Whether a search of `key` may run ahead, for all that the key has wasted."""
        if key.waste is None:
            return True
        return _wasted_less(key, await self._database.transact(partial(self._charges, key=key)))

    def _left(self, key: Key, tokens: int, charges: list[Charge], reserved: int) -> int:
        used = sum(charge.useful + charge.wasted for charge in charges)
        if used + reserved < tokens:
            return tokens - used - reserved
        seconds = SOON
        for charge in charges if used >= tokens else ():
            used -= charge.useful + charge.wasted
            if used < tokens:
                seconds = charge.at + key.window_seconds - self._clock()
                break
        held = f", and its running searches hold {reserved}" if reserved else ""
        used = sum(charge.useful + charge.wasted for charge in charges)
        raise _refusal(
            f"{key.name} has used {used} of {tokens} tokens in {key.window_seconds:g} s{held}",
            "tokens_exceeded",
            seconds,
        )

    async def _running(self, connection: AsyncConnection, key: Key, but: str) -> tuple[int, int]:
        """How many searches of the key run, and what is held back for them."""
        found = await connection.execute(
            select(func.count(), func.coalesce(func.sum(searches.c.reserved), 0)).where(
                searches.c.owner == key.name,
                searches.c.state == "running",
                searches.c.id != but,
            )
        )
        count, reserved = found.one()
        return count, int(reserved)

    async def _charges(self, connection: AsyncConnection, key: Key) -> list[Charge]:
        """Those of the window that ends now, the oldest first."""
        since = self._clock() - key.window_seconds
        found = await connection.execute(
            select(usage.c.at, usage.c.useful, usage.c.wasted)
            .where(usage.c.owner == key.name, usage.c.at > since)
            .order_by(usage.c.at)
        )
        return [Charge(*row) for row in found]


def _wasted_less(key: Key, charges: Sequence[Charge]) -> bool:
    return key.waste is None or sum(charge.wasted for charge in charges) < key.waste


async def _save(connection: AsyncConnection, record: Record, reserved: int) -> None:
    body = json.dumps(record.body)
    values: dict[str, Any] = {
        "state": "running",
        "body": body,
        "bytes": len(body),
        "run": record.run,
        "reserved": reserved,
    }
    again = await connection.execute(
        update(searches)
        .where(searches.c.id == record.id)
        .values(attempts=searches.c.attempts + 1, **values)
    )
    if not again.rowcount:
        await connection.execute(
            insert(searches).values(
                id=record.id, owner=record.owner, created=record.created, attempts=1, **values
            )
        )


def _refusal(what: str, code: str, retry_after: float) -> ApiError:
    return ApiError(
        429,
        f"{what}: try again in {max(1, round(retry_after + 0.5))} s",
        kind="rate_limit_error",
        code=code,
        retry_after=retry_after,
    )
