"""Writes files of runs, for `spex view`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from json import dump
from pathlib import Path
from typing import IO, Any

from spex_agents.errors import SettingsError


@contextmanager
def writable(file: Path, option: str) -> Iterator[IO[str]]:
    """A text file to write.

    Raises:
        SettingsError: It cannot be.
    """
    try:
        opened = file.open("w", encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{option}={str(file)!r}: cannot be written: {error}") from error
    with opened:
        yield opened


@contextmanager
def replaced(file: Path, option: str) -> Iterator[IO[str]]:
    """A text file to write that stands in the place of `file` once all of it is written.

    Raises:
        SettingsError: It cannot be written.
    """
    whole = file.resolve()
    if whole.exists() and not whole.is_file():  # a pipe, or a directory
        with writable(file, option) as opened:
            yield opened
        return
    part = whole.with_name(f"{whole.name}.part")
    try:
        with writable(part, option) as opened:
            yield opened
        part.replace(whole)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def pair_in(directory: Path) -> Iterator[tuple[IO[str], IO[str]]]:
    """The files `off.json` and `on.json` of a directory, which is made if it is not there.

    Raises:
        SettingsError: It or they cannot be written.
    """
    try:
        directory.mkdir(exist_ok=True)
    except OSError as error:
        raise SettingsError(f"record={str(directory)!r}: cannot be made: {error}") from error
    with (
        writable(directory / "off.json", "record") as off,
        writable(directory / "on.json", "record") as on,
    ):
        yield off, on


def write_pair(
    files: tuple[IO[str], IO[str]], off: Mapping[str, Any], on: Mapping[str, Any]
) -> None:
    """Write the same search without speculation and with it."""
    for file, run in zip(files, (off, on), strict=True):
        dump(run, file)
