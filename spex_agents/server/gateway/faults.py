"""Storage that fails, by its name: full, locked, away or broken."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

FAULTS = {
    "storage_full": "its disk is full",
    "storage_locked": "it is locked",
    "storage_read_only": "it cannot be written to",
    "storage_away": "it does not answer",
    "storage_broken": "it is broken",
}
"""What is said of storage that fails, by code."""

_SQLITE = {
    sqlite3.SQLITE_FULL: "storage_full",
    sqlite3.SQLITE_BUSY: "storage_locked",
    sqlite3.SQLITE_LOCKED: "storage_locked",
    sqlite3.SQLITE_READONLY: "storage_read_only",
    sqlite3.SQLITE_PERM: "storage_read_only",
    sqlite3.SQLITE_CANTOPEN: "storage_away",
}
_POSTGRES = {"53100": "storage_full", "55P03": "storage_locked", "25006": "storage_read_only"}


def storage_fault(error: BaseException) -> str | None:
    """The code of a failure of storage; None if `error` is something else.

    Example:
        >>> fault = sqlite3.OperationalError("database or disk is full")
        >>> fault.sqlite_errorcode = sqlite3.SQLITE_FULL
        >>> storage_fault(fault)
        'storage_full'
    """
    cause: Any = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        number = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        return _SQLITE.get(number, "storage_broken")
    if isinstance(cause, PoolTimeout):
        return "storage_away"
    if type(cause).__module__.startswith("psycopg"):
        if (state := getattr(cause, "sqlstate", None)) is None:
            return "storage_away"
        return _POSTGRES.get(
            state, "storage_away" if state[:2] in ("08", "57") else "storage_broken"
        )
    return None
