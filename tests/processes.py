"""The command line as a process, and processes by where they write: orphans keep that."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SPEX = (sys.executable, "-c", "from spex_agents.cli import main; main()")
"""To be followed by the arguments of ``spex``."""

PATIENCE = 240.0
"""Seconds after which what should have come never will, however slow the machine."""


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


def eventually(holds: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Whether it holds within `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
