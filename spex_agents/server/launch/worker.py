"""A server that dies with its launcher: ``python -m spex_agents.server.launch.worker MODULE ...``.

The kernel kills this process when its parent dies, whatever the parent died of; SGLang's own
processes, which import this module first of all, when theirs does.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
from contextlib import suppress

LAUNCHER = "SPEX_LAUNCHER_PID"
PR_SET_PDEATHSIG = 1


def die_with_parent(*, launcher: int | None = None) -> None:
    """Have the kernel kill this process when its parent dies. Linux only.

    Args:
        launcher: The parent that there was; None if it is of this process's group.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = os.getppid()  # another one by now, if it died before the kernel was told
    lives = parent == launcher
    if launcher is None:
        with suppress(ProcessLookupError):
            lives = os.getpgid(parent) == os.getpgrp()
    if not lives:
        os._exit(1)


if __name__ == "__main__":
    if pid := os.environ.get(LAUNCHER):
        die_with_parent(launcher=int(pid))
    runpy.run_module(sys.argv.pop(1), run_name="__main__")
elif __name__ == "__mp_main__":
    die_with_parent()
