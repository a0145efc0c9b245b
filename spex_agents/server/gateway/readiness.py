"""Whether requests are worth sending: engines, storage, and whether the gateway stays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from pydantic import BaseModel
from sqlalchemy import text

from spex_agents.engines.base import Engine
from spex_agents.server.gateway.database import Database
from spex_agents.server.gateway.errors import ApiError

ANSWER_SECONDS = 3.0
FRESH_SECONDS = 1.0
"""How old what is told may be: whoever asks costs no engine anything."""


class Readiness(BaseModel):
    """Of a gateway: ready if it stays, can save, and has an engine that answers."""

    status: Literal["ok", "unready"]
    reasons: list[str] = []
    engines: dict[str, Literal["ok", "unready"]] = {}
    storage: str = "ok"


class Checks:
    """Asks engines and storage, at most once a second, whoever asks how often.

    Args:
        engines: By their names.
        database: Open.
        leaving: Whether the gateway is about to stop.
    """

    def __init__(
        self, engines: Mapping[str, Engine], database: Database, leaving: Callable[[], bool]
    ) -> None:
        self._engines = engines
        self._database = database
        self._leaving = leaving
        self._asking = asyncio.Lock()
        self._asked = -FRESH_SECONDS
        self._faults: dict[str, str] = {}
        self._storage = "ok"

    async def readiness(self) -> Readiness:
        """What there is to tell."""
        async with self._asking:
            if time.monotonic() - self._asked >= FRESH_SECONDS:
                await self._ask()
        reasons = ["draining"] if self._leaving() else []
        if self._storage != "ok":
            reasons.append(f"storage: {self._storage}")
        if len(self._faults) == len(self._engines):
            reasons += [f"{name}: {fault}" for name, fault in self._faults.items()]
        return Readiness(
            status="unready" if reasons else "ok",
            reasons=reasons,
            engines={name: "unready" if name in self._faults else "ok" for name in self._engines},
            storage=self._storage,
        )

    async def _ask(self) -> None:
        checks: dict[str, Callable[[], Awaitable[object]]] = {
            name: getattr(engine, "check", engine.load) for name, engine in self._engines.items()
        }
        *found, storage = await asyncio.gather(
            *(_fault(check) for check in checks.values()),
            _fault(self._write, late="storage_away"),
        )
        self._faults = {name: fault for name, fault in zip(checks, found, strict=True) if fault}
        self._storage = storage or "ok"
        self._asked = time.monotonic()

    async def _write(self) -> None:
        """So that a full disk is noticed; it changes nothing."""
        await self._database.execute(
            text("UPDATE spex_schema_version SET version_num = version_num")
        )


async def _fault(check: Callable[[], Awaitable[object]], late: str = "TimeoutError") -> str | None:
    """The name of what is wrong, or `late`; a text may have addresses."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await check()
    except ApiError as error:
        return error.detail.code
    except TimeoutError:
        return late
    except Exception as error:
        return type(error).__name__
    return None
