"""Rows kept as they come, so that a run that was ended goes on where it stopped."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from spex_agents.errors import SettingsError


class Journal:
    """The rows of one run: in memory, and in a file if there is one, which no other run has then.

    Attributes:
        rows: All rows so far, those of earlier runs first.
    """

    def __init__(self, file: Path | None, settings: Mapping[str, object]) -> None:
        """Read what the file holds already, and begin it if that is nothing.

        Args:
            file: A JSON object in each line, the settings first; None for memory only.
            settings: What the rows depend on: plain data.

        Raises:
            SettingsError: The file cannot be read or written, another run has it, it is none of
                these, or was begun with other settings.
        """
        self.file = file
        self.rows: list[dict[str, Any]] = []
        if file is None:
            return
        self._held = _hold(file)
        try:
            self._read(file, json.loads(json.dumps({"settings": dict(settings)})))
        except BaseException:
            self.close()
            raise

    def _read(self, file: Path, stated: dict[str, Any]) -> None:
        try:
            kept = _whole_lines(file)
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"rows={str(file)!r}: cannot be read: {error}") from error
        if not kept:
            self._append(stated)
            return
        try:
            first, *self.rows = [json.loads(line) for line in kept]
            before = dict(first["settings"])
        except (ValueError, TypeError, KeyError) as error:
            raise SettingsError(
                f"rows={str(file)!r}: holds no rows of a comparison; name another file"
            ) from error
        if differ := list(_differences(before, stated["settings"])):
            raise SettingsError(
                f"rows={str(file)!r}: was begun with other settings: {'; '.join(differ)}. Take "
                "those again, or another file"
            )

    def add(self, row: Mapping[str, object]) -> None:
        """Keep a row, on disk before this returns."""
        self.rows.append(dict(row))
        if self.file is not None:
            self._append(row)

    def close(self) -> None:
        """Let other runs have the file."""
        if self.file is not None:
            self._held.close()

    def _append(self, row: Mapping[str, object]) -> None:
        assert self.file is not None  # noqa: S101 (checked by the callers)
        with _or_settings_error(self.file):
            self._held.write(json.dumps(row) + "\n")
            self._held.flush()
            os.fsync(self._held.fileno())


def _hold(file: Path) -> IO[str]:
    """Open a file to add to it; until it is closed, or its process ends, no other run can."""
    with _or_settings_error(file):
        held = file.open("a", encoding="utf-8")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            held.close()
            raise SettingsError(
                f"rows={str(file)!r}: another run is adding to it; let that end, or name another "
                "file"
            ) from error
    return held


@contextmanager
def _or_settings_error(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(f"rows={str(file)!r}: cannot be written: {error.strerror}") from error


def _whole_lines(file: Path) -> list[str]:
    """The lines of a file; what a killed run has left of one is taken out of it."""
    if not file.exists():
        return []
    text = file.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        os.truncate(file, len(whole))
    return whole.decode("utf-8").splitlines()


def _differences(before: object, now: object, name: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            inner = f"{name}.{key}" if name else key
            yield from _differences(before.get(key), now.get(key), inner)
    elif before != now:
        yield f"{name} was {json.dumps(before)}, is {json.dumps(now)}"
