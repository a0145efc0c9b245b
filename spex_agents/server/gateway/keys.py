"""API keys: a file that has their hashes, never the keys."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from spex_agents.errors import SettingsError, at_least_one
from spex_agents.server.gateway.errors import ApiError

logger = logging.getLogger(__name__)

PREFIX = "sk-spex-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Whose requests, and what they may cost.

    Attributes:
        name: In logs, metrics and spans, instead of the key.
        concurrency: Searches at a time.
        tokens: Tokens decoded in a window of time, useful or wasted; None for no limit.
        waste: Tokens wasted in a window, beyond which searches no longer run ahead; None for no
            limit.
        window_seconds: Length of that window, which ends now.
        metrics: Whether it is for ``/metrics``, and for nothing else.
        sha256: Of its secret.

    Raises:
        SettingsError: A value is outside its range.
    """

    name: str
    concurrency: int = 16
    tokens: int | None = None
    waste: int | None = None
    window_seconds: float = 3600.0
    metrics: bool = False
    sha256: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        at_least_one(concurrency=self.concurrency)
        if self.tokens is not None:
            at_least_one(tokens=self.tokens)
        if self.waste is not None and self.waste < 0:
            raise SettingsError(f"waste={self.waste!r}: must be at least 0")
        if not self.window_seconds > 0:
            raise SettingsError(f"window_seconds={self.window_seconds!r}: must be above 0")
        if not self.name or not self.name.isprintable() or len(self.name) > 100:
            raise SettingsError(f"name={self.name!r}: must be 1 to 100 printable characters")


class KeyFile:
    """The keys in a file, which is read again whenever it has changed.

    A key has 256 random bits, so its SHA-256 is as good as any slow hash: those slow down guessing
    what people choose, and there is nothing to guess here. Looking one up costs microseconds.

    Args:
        path: The file; it need not be there.

    Example:
        >>> import tempfile
        >>> keys = KeyFile(Path(tempfile.mkdtemp()) / "keys.json")
        >>> secret = keys.create(Key(name="tutors", concurrency=4))
        >>> keys.find(f"Bearer {secret}").name, secret in keys.path.read_text()
        ('tutors', False)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: tuple[int, int] | None = None
        self._keys: dict[str, Key] = {}

    def find(self, authorization: str | None) -> Key:
        """The key that an ``Authorization`` header carries.

        Raises:
            ApiError: None, or one that is not in the file; 401. The file cannot be read; 503.
        """
        scheme, _, secret = (authorization or "").partition(" ")
        key = None
        if scheme.lower() == "bearer":
            try:
                key = self.all().get(sha256_of(secret.strip()))
            except SettingsError as error:
                logger.exception("nobody is let in")
                raise ApiError(
                    503,
                    "the file of keys cannot be read: its owner must mend it",
                    kind="server_error",
                    code="keys_unreadable",
                    retry_after=30,
                ) from error
        if key is None:
            what = "unknown API key" if authorization else "no API key"
            raise ApiError(
                401,
                f"{what}: send 'Authorization: Bearer KEY' with a key of `spex gateway key create`",
                code="invalid_api_key",
            )
        return key

    def holds(self, name: str, sha256: str) -> bool:
        """Whether the key of that name and hash is in the file.

        Raises:
            SettingsError: The file is not one of keys.
        """
        return (key := self.all().get(sha256)) is not None and key.name == name

    def all(self) -> dict[str, Key]:
        """The keys by their hashes.

        Raises:
            SettingsError: The file is not one of keys.
        """
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return {}
        if (version := (status.st_mtime_ns, status.st_ino)) != self._read:
            self._keys = {row["sha256"]: _key(row, self.path) for row in self._rows()}
            self._read = version
        return self._keys

    def create(self, key: Key) -> str:
        """Add a key, and return its secret: nobody can tell it again.

        Raises:
            SettingsError: There is one of that name.
        """
        rows = self._rows()
        if any(row["name"] == key.name for row in rows):
            raise SettingsError(f"name={key.name!r}: there is such a key; revoke it first")
        secret = PREFIX + secrets.token_urlsafe(32)
        made = datetime.now(UTC).isoformat(timespec="seconds")
        self._write([*rows, {**asdict(replace(key, sha256=sha256_of(secret))), "created": made}])
        return secret

    def revoke(self, name: str) -> None:
        """Take a key away; a running gateway refuses it from the next request on.

        Raises:
            SettingsError: There is none of that name.
        """
        rows = self._rows()
        left = [row for row in rows if row["name"] != name]
        if len(left) == len(rows):
            names = ", ".join(row["name"] for row in rows) or "none"
            raise SettingsError(f"name={name!r}: there is no such key; there are: {names}")
        self._write(left)

    def _rows(self) -> list[dict[str, Any]]:
        try:
            rows = json.loads(self.path.read_text(encoding="utf-8"))["keys"]
            return [dict(row) for row in rows if row["sha256"] and row["name"]]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as error:
            raise SettingsError(
                f"keys={str(self.path)!r}: is no file of keys ({error!r}); "
                "make one with spex gateway key create"
            ) from error

    def _write(self, rows: list[dict[str, Any]]) -> None:
        try:
            with NamedTemporaryFile(  # only its owner may read it
                "w", encoding="utf-8", dir=self.path.parent, prefix=".keys-", delete=False
            ) as file:
                json.dump({"keys": rows}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            Path(file.name).replace(self.path)
        except OSError as error:
            raise SettingsError(f"keys={str(self.path)!r}: cannot write: {error}") from error


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _key(row: dict[str, Any], path: Path) -> Key:
    with suppress(KeyError):
        del row["created"]
    try:
        return Key(**row)
    except TypeError as error:
        raise SettingsError(f"keys={str(path)!r}: {error}") from error


class Anyone:
    """No keys: all requests are one key's, whatever they carry. For a machine of one's own.

    Args:
        key: The limits for all of them together.
    """

    def __init__(self, key: Key | None = None) -> None:
        self.key = key or Key(name="anyone", concurrency=256)

    def find(self, authorization: str | None) -> Key:
        return self.key

    def holds(self, name: str, sha256: str) -> bool:
        return True
