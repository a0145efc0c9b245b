"""One SGLang server that does not outlive its launcher: ``python -m spex_agents.server.worker``.

The kernel kills this process when its parent dies, whatever the parent died of; SGLang's own
processes, which import this module first of all, when this one does.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
from multiprocessing import parent_process

LAUNCHER = "SPEX_LAUNCHER_PID"
PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent`, which started it, dies. Linux only."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel was told
        os._exit(1)


if __name__ == "__main__":
    if launcher := os.environ.get(LAUNCHER):
        die_with(int(launcher))
    runpy.run_module("sglang.launch_server", run_name="__main__")
elif __name__ == "__mp_main__" and (server := parent_process()) is not None and server.pid:
    die_with(server.pid)
