"""What a run says while it lasts, and what it takes."""

from __future__ import annotations

import os
import selectors
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

from spex_agents.sandbox.cgroups import Group
from spex_agents.sandbox.limits import SandboxLimits, Status

_LOOK_SECONDS = 0.02
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


class Watch:
    """The pipes of a run, from when it has begun.

    Args:
        process: The first one, outside the wall.
        status: Where the first one inside tells how the program ends.
        stdin: What the program is given.
        limits: Its caps.
        group: Its control group.
        deadline: When its time is over, of the monotonic clock.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        status: int,
        *,
        stdin: bytes,
        limits: SandboxLimits,
        group: Group | None,
        deadline: float,
    ) -> None:
        self.written = (bytearray(), bytearray())
        self.told = bytearray()
        self._process = process
        self._status = status
        self._left = memoryview(stdin)
        self._limits = limits
        self._group = group
        self._deadline = deadline

    def watch(self, stopped: threading.Event) -> Status | None:
        """Feed it and read what it prints until it ends; say which cap it has passed, if any."""
        process = self._process
        over: Status | None = None
        with selectors.DefaultSelector() as selector:
            for stream, kept in zip((process.stdout, process.stderr), self.written, strict=True):
                assert stream is not None  # noqa: S101 (both are pipes)
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ, kept)
            os.set_blocking(self._status, False)
            selector.register(self._status, selectors.EVENT_READ, self.told)
            assert process.stdin is not None  # noqa: S101 (as above)
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE, None)
            while over is None and not stopped.is_set():
                ended = process.poll() is not None
                for key, _ in selector.select(0 if ended else _LOOK_SECONDS):
                    if key.data is None:
                        more = self._feed(key.fd)
                    else:
                        more = _read(key.fd, key.data, self._limits.output)
                    if not more:
                        selector.unregister(key.fileobj)
                        if key.data is None:
                            process.stdin.close()
                    if any(len(kept) >= self._limits.output for kept in self.written):
                        over = "output"
                if ended:
                    break
                over = over or self.passed()
                if monotonic() > self._deadline:
                    over = over or "time"
        return over

    def passed(self) -> Status | None:
        """The cap that all processes together have passed, if any."""
        if self._group is not None:
            return self._group.passed(self._limits)
        return _over(self._process.pid, self._limits)

    def _feed(self, pipe: int) -> bool:
        """Write what there is room for; False once nothing is left, or nobody reads."""
        try:
            while self._left:
                self._left = self._left[os.write(pipe, self._left) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            pass
        return False


def _read(pipe: int, kept: bytearray, most: int) -> bool:
    """Take what there is to read; False at the end of it."""
    while len(kept) < most:
        try:
            part = os.read(pipe, min(1 << 16, most - len(kept)))
        except BlockingIOError:
            return True
        if not part:
            return False
        kept += part
    return True


def _over(pid: int, limits: SandboxLimits) -> Status | None:
    """Likewise, counted process by process: where no control group does it."""
    memory = tasks = computed = 0
    for process in below(pid):
        with suppress(OSError):
            tasks += len(os.listdir(f"/proc/{process}/task"))
            memory += int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
            figures = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            computed += sum(map(int, figures[11:15]))  # of its ended children too
        if tasks >= limits.processes - 2:  # the kernel lets it have one more at most
            return "processes"
    if computed > limits.cpu_seconds * _TICKS:
        return "time"
    return "memory" if memory > limits.memory else None


def below(pid: int) -> Iterator[int]:
    """All processes that descend from `pid`; in a process namespace none can leave its parents."""
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                yield int(child)
                yield from below(int(child))
