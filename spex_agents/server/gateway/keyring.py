"""The keys that a running gateway lets in: read from its database, and read again all the time."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Self

from sqlalchemy import select, update

from spex_agents.server.gateway.database import Database
from spex_agents.server.gateway.errors import ApiError, storage_error
from spex_agents.server.gateway.keys import Key, sha256_of, stored
from spex_agents.server.gateway.repeating import repeat
from spex_agents.server.gateway.schema import keys as table

logger = logging.getLogger(__name__)

READ_SECONDS = 0.5
"""How long a revoked key may still be let in."""

FRESH_SECONDS = 0.1
"""How often unknown keys may make the gateway read, however many come."""

STALE_SECONDS = 10.0
"""How old keys may be, while their database does not answer, before nobody is let in."""

ANYONE = Key(name="anyone", concurrency=256, storage=None)


class Keyring:
    """Knows all keys by their hashes, so that looking one up costs microseconds.

    Use it as an async context manager: within, keys are read twice a second.

    Args:
        database: Open.
        required: Whether a key is needed even if there is none; else without any key all requests
            are one key's, whatever they carry: for a machine of one's own.
        anyone: The limits for all of these together.
    """

    def __init__(self, database: Database, *, required: bool, anyone: Key = ANYONE) -> None:
        self.required = required
        self._database = database
        self._anyone = anyone
        self._keys: dict[str, Key] = {}
        self._used: dict[str, float] = {}
        self._any = False
        self._read = 0.0
        self._failing = False
        self._reading = asyncio.Lock()
        self._upkeep: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.read()
        if self.required and not self._any:
            logger.warning("no key yet: requests are refused until `spex gateway key create NAME`")
        self._upkeep = asyncio.create_task(
            repeat(self._keep, seconds=READ_SECONDS, failed="cannot read the keys")
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.wait([self._upkeep])

    @property
    def open(self) -> bool:
        """Whether anybody is let in."""
        return not self.required and not self._any

    async def find(self, authorization: str | None) -> Key:
        """The key that an ``Authorization`` header carries.

        Raises:
            ApiError: None, or one that is not known; 401. The keys cannot be read; 503.
        """
        now = time.monotonic()
        if self._failing and now - self._read > STALE_SECONDS:
            raise storage_error("storage_away")
        if self.open:
            return self._anyone
        scheme, _, secret = (authorization or "").partition(" ")
        key = None
        if scheme.lower() == "bearer":
            known = sha256_of(secret.strip())
            key = self._keys.get(known)
            if key is None:  # it may have just been made
                await self._read_once(now)
                key = self._keys.get(known)
        expired = key is not None and key.expires is not None and key.expires <= time.time()
        if key is None or expired:
            what = "unknown API key" if authorization else "no API key"
            raise ApiError(
                401,
                f"{'expired API key' if expired else what}: send 'Authorization: Bearer KEY' with "
                "a key of `spex gateway key create`",
                code="invalid_api_key",
            )
        self._used[key.sha256] = time.time()
        return key

    def of(self, name: str, sha256: str) -> Key | None:
        """The key of that name and hash; None if it is not let in."""
        if self.open:
            return self._anyone
        key = self._keys.get(sha256)
        return key if key is not None and key.name == name else None

    async def read(self) -> None:
        """Read the keys."""
        try:
            rows = (await self._database.execute(select(table))).all()
        except ApiError:
            self._failing = True  # that it takes its time, where many wait, is no failure
            raise
        self._failing = False
        known = [stored(row) for row in rows]
        self._keys = {one.key.sha256: one.key for one in known if one.revoked is None}
        self._any = bool(known)  # one that was revoked does not open the door to all
        self._read = time.monotonic()

    async def _read_once(self, asked: float) -> None:
        async with self._reading:
            if self._read < asked:
                await asyncio.sleep(self._read + FRESH_SECONDS - asked)
                try:
                    await self.read()
                except ApiError:
                    logger.exception("cannot read the keys")

    async def _write_used(self) -> None:
        if not self._used:
            return
        used, self._used = self._used, {}
        for sha256, moment in used.items():
            await self._database.execute(
                update(table).where(table.c.sha256 == sha256).values(used=moment)
            )

    async def _keep(self) -> None:
        await self.read()
        await self._write_used()
