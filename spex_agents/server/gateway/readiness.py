"""Whether requests are worth sending: engines, storage, and whether the gateway stays."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from pydantic import BaseModel
from sqlalchemy import text

from spex_agents.engines.base import Engine
from spex_agents.server.gateway.database import Database
from spex_agents.server.gateway.errors import ApiError
from spex_agents.server.gateway.metrics import Metrics

logger = logging.getLogger(__name__)

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
        metrics: Told which engines answer.
    """

    def __init__(
        self,
        engines: Mapping[str, Engine],
        database: Database,
        leaving: Callable[[], bool],
        metrics: Metrics,
    ) -> None:
        self._engines = engines
        self._database = database
        self._leaving = leaving
        self._metrics = metrics
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

    async def ask_engines(self) -> None:
        """Ask each whether it answers; the log tells when one does no more, and when again."""
        checks: dict[str, Callable[[], Awaitable[object]]] = {
            name: getattr(engine, "check", engine.load) for name, engine in self._engines.items()
        }
        found = await asyncio.gather(*(_error_of(check) for check in checks.values()))
        faults = {name: error for name, error in zip(checks, found, strict=True) if error}
        for name in faults.keys() - self._faults.keys():
            said = str(faults[name]) or f"nothing within {ANSWER_SECONDS:g} s"
            logger.warning("engine does not answer", extra={"engine": name, "said": said})
        for name in self._faults.keys() - faults.keys():
            logger.info("engine answers again", extra={"engine": name})
        self._faults = {name: type(error).__name__ for name, error in faults.items()}
        for name in checks:
            self._metrics.up(name, answers=name not in faults)

    async def _ask(self) -> None:
        _, storage = await asyncio.gather(self.ask_engines(), _error_of(self._write))
        self._storage = _storage_word(storage)
        self._asked = time.monotonic()

    async def _write(self) -> None:
        """So that a full disk is noticed; it changes nothing."""
        await self._database.execute(
            text("UPDATE spex_schema_version SET version_num = version_num")
        )


async def _error_of(check: Callable[[], Awaitable[object]]) -> Exception | None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await check()
    except Exception as error:
        return error
    return None


def _storage_word(error: Exception | None) -> str:
    """What is told of storage; a text may have addresses."""
    match error:
        case None:
            return "ok"
        case ApiError():
            return error.detail.code or "storage_broken"
        case TimeoutError():
            return "storage_away"
        case _:
            return type(error).__name__
