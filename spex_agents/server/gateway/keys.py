"""API keys: the database has their hashes, never the keys."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import ColumnElement, Engine, Row, func, insert, select, update

from spex_agents.errors import SettingsError, above_zero, at_least_one, at_least_zero
from spex_agents.server.gateway.database import sync_engine
from spex_agents.server.gateway.schema import keys as table
from spex_agents.server.gateway.schema import usage

PREFIX = "sk-spex-"
_SHOWN = len(PREFIX) + 6

STORAGE, LEAST_STORAGE = 256_000_000, 1_000_000
"""Bytes of a key's searches: usually, and at least: a large search alone may take as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Whose requests, and what they may cost.

    Several keys may have one name, to be changed one after the other: searches, and what is used,
    are the name's.

    Attributes:
        name: Its owner's: in logs, metrics and spans, instead of the key.
        concurrency: Searches at a time.
        tokens: Tokens decoded in a window of time, useful or wasted; None for no limit.
        waste: Tokens wasted in a window, beyond which searches no longer run ahead; None for no
            limit.
        window_seconds: Length of that window, which ends now.
        storage: Bytes of its searches that are kept: the oldest are forgotten beyond; None for no
            limit.
        metrics: Whether it is for ``/metrics``, and for nothing else.
        expires: Seconds since the epoch; None for never.
        sha256: Of its secret.
        prefix: How its secret begins, to know it by.

    Raises:
        SettingsError: A value is outside its range.
    """

    name: str
    concurrency: int = 16
    tokens: int | None = None
    waste: int | None = None
    window_seconds: float = 3600.0
    storage: int | None = STORAGE
    metrics: bool = False
    expires: float | None = None
    sha256: str = ""
    prefix: str = ""

    def __post_init__(self) -> None:
        at_least_one(concurrency=self.concurrency)
        for limit in ("tokens", "storage"):
            if (value := getattr(self, limit)) is not None:
                at_least_one(**{limit: value})
        if self.waste is not None:
            at_least_zero(waste=self.waste)
        above_zero(window_seconds=self.window_seconds)
        if not self.name or not self.name.isprintable() or len(self.name) > 100:
            raise SettingsError(f"name={self.name!r}: must be 1 to 100 printable characters")


@dataclass(frozen=True, slots=True)
class Stored:
    """A key in the database; moments are seconds since the epoch."""

    key: Key
    created: float
    revoked: float | None
    used: float | None


class KeyStore:
    """The keys in a gateway's database, for its owner's commands; the gateway may run meanwhile.

    A key has 256 random bits, so its SHA-256 is as good as any slow hash: those slow down guessing
    what people choose, and there is nothing to guess here.

    Args:
        database: A SQLite file, or a PostgreSQL URL; made if need be.

    Raises:
        SettingsError: It cannot be opened.

    Example:
        >>> import tempfile
        >>> keys = KeyStore(str(Path(tempfile.mkdtemp()) / "gateway.sqlite"))
        >>> secret = keys.create(Key(name="tutors", concurrency=4))
        >>> [stored.key.name for stored in keys.all()], len(keys.revoke("tutors"))
        (['tutors'], 1)
    """

    def __init__(self, database: str) -> None:
        self.database = database
        self._engine: Engine = sync_engine(database)

    def create(self, key: Key) -> str:
        """Add a key, and return its secret: nobody can tell it again.

        Raises:
            SettingsError: It may keep too little to hold a search.
        """
        _check_storage(key)
        secret = PREFIX + secrets.token_urlsafe(32)
        self._add(replace(key, sha256=sha256_of(secret), prefix=secret[:_SHOWN]), time.time())
        return secret

    def limit(self, which: str, **limits: Any) -> list[Stored]:
        """Change limits of the keys of a name, or of the one that begins so; return them.

        A running gateway heeds them within a second.

        Args:
            which: Their name, or the beginning of one.
            limits: By the names that `Key` has for them.

        Raises:
            SettingsError: There is none, no limit is given, or one is outside its range.
        """
        if not limits:
            raise SettingsError(f"name={which!r}: give a limit to change: tokens=, waste= ...")
        with self._engine.begin() as connection:
            rows = connection.execute(select(table).where(*_are(which))).all()
            changed = [replace(one, key=replace(one.key, **limits)) for one in map(stored, rows)]
            for one in changed:
                _check_storage(one.key)
                connection.execute(
                    update(table).where(table.c.sha256 == one.key.sha256).values(**limits)
                )
        return changed or self._refuse(which)

    def revoke(self, which: str) -> list[Stored]:
        """Take away the keys of a name, or the one that begins so; return them.

        A running gateway refuses them within a second.

        Raises:
            SettingsError: There is none.
        """
        with self._engine.begin() as connection:
            done = connection.execute(
                update(table).where(*_are(which)).values(revoked=time.time()).returning(table)
            ).all()
        return [stored(row) for row in done] or self._refuse(which)

    def all(self) -> list[Stored]:
        """The keys that have not been revoked, by name and age."""
        with self._engine.begin() as connection:
            rows = connection.execute(
                select(table)
                .where(table.c.revoked.is_(None))
                .order_by(table.c.name, table.c.created)
            ).all()
        return [stored(row) for row in rows]

    def used(self, key: Key) -> int:
        """Tokens, useful and wasted, that the key's name has used in the window that ends now."""
        since = time.time() - key.window_seconds
        tokens = func.coalesce(func.sum(usage.c.useful + usage.c.wasted), 0)
        asked = select(tokens).where(usage.c.owner == key.name, usage.c.at > since)
        with self._engine.begin() as connection:
            return int(connection.execute(asked).scalar_one())

    def take_in(self, path: Path) -> int:
        """Import a file of keys, as earlier releases kept them; return how many were new.

        Raises:
            SettingsError: It is no such file.
        """
        known = {row.key.sha256 for row in self.all()}
        new = [(key, made) for key, made in _in_file(path) if key.sha256 not in known]
        for key, made in new:
            self._add(key, made)
        return len(new)

    def _refuse(self, which: str) -> NoReturn:
        names = ", ".join(sorted({stored.key.name for stored in self.all()})) or "none"
        raise SettingsError(f"name={which!r}: there is no such key; there are: {names}")

    def _add(self, key: Key, created: float) -> None:
        with self._engine.begin() as connection:
            connection.execute(insert(table).values(created=created, **asdict(key)))


def stored(row: Row[Any]) -> Stored:
    """A row of the table."""
    values = dict(row._mapping)
    moments = [values.pop(name) for name in ("created", "revoked", "used")]
    return Stored(Key(**values), *moments)


def _are(which: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """The keys of a name, or the one that begins so, that have not been revoked."""
    beginning = which[:_SHOWN] if which.startswith(PREFIX) else which
    return (table.c.name == which) | (table.c.prefix == beginning), table.c.revoked.is_(None)


def _check_storage(key: Key) -> None:
    if key.storage is not None and key.storage < LEAST_STORAGE:
        raise SettingsError(
            f"storage={key.storage}: must be at least {LEAST_STORAGE} bytes, so that a search "
            f"fits; leave it out for {STORAGE}"
        )


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _in_file(path: Path) -> Sequence[tuple[Key, float]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["keys"]
        found = []
        for row in rows:
            values = dict(row)
            made = values.pop("created", None)
            moment = time.time() if made is None else datetime.fromisoformat(made).timestamp()
            known_by = f"sha256:{values['sha256'][:8]}"  # its beginning is nowhere
            found.append((Key(**{**values, "prefix": known_by}), moment))
            if len(found[-1][0].sha256) != 64:
                raise ValueError("sha256")
    except OSError as error:
        raise SettingsError(f"file={str(path)!r}: cannot read: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"file={str(path)!r}: is no file of keys ({error!r})") from error
    return found
