"""How layers of directories make the files of one: as overlayfs lays them over each other.

The top one counts; a device of number 0 hides what is below it, and so does an opaque directory.
Links are not followed: programs that nobody has read have made them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


def kind_is(path: Path, kind: Callable[[int], bool]) -> bool:
    """Whether what is at a path is of a kind: `stat.S_ISDIR`, `stat.S_ISREG` and so on."""
    return kind(path.lstat().st_mode)


def find(layers: Sequence[Path], parts: Sequence[str]) -> Path | None:
    """Where what a path names is; None if it names nothing.

    Args:
        layers: Directories, the top one first.
        parts: The path's, from the directory that they make.
    """
    for directory in _stack(layers, parts[:-1]):
        place = directory / parts[-1]
        if os.path.lexists(place):
            return None if kind_is(place, stat.S_ISCHR) else place
    return None


def walk(layers: Sequence[Path], parts: tuple[str, ...] = ()) -> Iterator[tuple[Path, Path]]:
    """Each path, and where what it names is; directories before what they hold."""
    found: dict[str, Path] = {}
    for directory in _stack(layers, parts):
        for place in directory.iterdir():
            found.setdefault(place.name, place)
    for name in sorted(found):
        if not kind_is(found[name], stat.S_ISCHR):
            yield Path(*parts, name), found[name]
            if kind_is(found[name], stat.S_ISDIR):
                yield from walk(layers, (*parts, name))


def _stack(layers: Sequence[Path], parts: Sequence[str]) -> list[Path]:
    """The directories that make up one, the top one first."""
    stack = list(layers)
    for part in parts:
        below = []
        for directory in stack:
            place = directory / part
            if not os.path.lexists(place):
                continue
            if not kind_is(place, stat.S_ISDIR):
                break
            below.append(place)
            if _opaque(place):
                break
        stack = below
    return stack


def _opaque(directory: Path) -> bool:
    for name in _OPAQUE:
        try:
            if os.getxattr(directory, name) == b"y":
                return True
        except OSError:
            continue
    return False
