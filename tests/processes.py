"""Finds processes by where they write, which children inherit and orphans keep."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def writing_to(place: Path) -> list[int]:
    """Ids of the processes whose standard output or error is that file, or one in there."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            for stream in ("1", "2"):
                with suppress(OSError):
                    file = (entry / "fd" / stream).readlink()
                    if place in (file, file.parent):
                        found.append(int(entry.name))
                        break
    return found


def name_of(process: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def eventually(holds: Callable[[], bool], seconds: float) -> bool:
    """Whether it holds within `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
