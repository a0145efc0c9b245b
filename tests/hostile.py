"""Programs that take what is not theirs, each bounded in itself: nothing here is endless.

What no wall stops ends after some seconds, some hundred processes and some hundred megabytes.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from spex_agents.sandbox import Isolation, SandboxLimits
from spex_agents.sandbox.cgroups import Group

MEMORY = 128 << 20
LIMITS = SandboxLimits(seconds=20.0, cpu_seconds=3, memory=MEMORY, processes=16, files=64 << 20)

LINGER = 15
"""Seconds until processes end that nobody kills."""

SEVEN = "import os\nfor _ in range(6):\n    if os.fork() == 0:\n        break\n"
HOLD = "import time; time.sleep(3); print('had all')"

PROGRAMS = {
    "children": """
import os, time
for _ in range(300):
    try:
        if os.fork() == 0:
            time.sleep({linger}); os._exit(0)
    except OSError:
        time.sleep(0.001)
time.sleep({linger})
""",
    "fork bomb": """
import os, time
end = time.monotonic() + {linger}; forks = 0
while forks < 8 and time.monotonic() < end:
    try:
        os.fork(); forks += 1
    except OSError:
        pass
time.sleep({linger})
""",
    "threads": """
import threading, time
for _ in range(200):
    threading.Thread(target=time.sleep, args=({linger},)).start()
""",
    "orphans": """
import os, time
for _ in range(200):
    try:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep({linger})
            os._exit(0)
    except OSError:
        time.sleep(0.001)
time.sleep({linger})
""",
    "memory of many": f"{SEVEN}x = b'x' * (60 << 20)\n{HOLD}",
    "files in memory": f"""
import os
files = [os.memfd_create("x") for _ in range(40)]
for file in files:
    os.write(file, b"x" * (10 << 20))
{HOLD}""",
    "shared segments": f"""
import ctypes
libc = ctypes.CDLL(None); libc.shmat.restype = ctypes.c_void_p
for _ in range(40):
    segment = libc.shmget(0, 10 << 20, 0o1600)
    assert segment >= 0
    there = libc.shmat(segment, 0, 0)
    ctypes.memset(there, 1, 10 << 20)
    libc.shmdt(ctypes.c_void_p(there))
{HOLD}""",
    "shared mappings": f"""
import mmap
maps = []
for _ in range(40):
    maps.append(mmap.mmap(-1, 10 << 20)); maps[-1].write(b"x" * (10 << 20))
{HOLD}""",
    "socket pairs": f"""
import socket
{SEVEN}kept = []; sent = 0
for _ in range(28 if {{few}} else 110):
    for one in socket.socketpair():
        kept.append(one); one.setblocking(False)
        try:
            while sent < 60 << 20:
                sent += one.send(b"x" * 65536)
        except OSError:
            pass
{HOLD}""",
    "pipes": f"""
import fcntl, os
{SEVEN}for _ in range(28 if {{few}} else 110):
    _, end = os.pipe(); os.set_blocking(end, False)
    try:
        fcntl.fcntl(end, 1031, 1 << 20)
    except OSError:
        pass
    try:
        while True:
            os.write(end, b"x" * 4096)
    except OSError:
        pass
{HOLD}""",
    "messages": f"""
import ctypes
libc = ctypes.CDLL(None); sent = 0
text = ctypes.create_string_buffer(b"\\1" + bytes(7) + b"x" * 8000)
for _ in range(4000):
    queue = libc.msgget(0, 0o1600)
    assert queue >= 0
    while sent < 400 << 20 and libc.msgsnd(queue, text, 8000, 0o4000) == 0:
        sent += 8000
{HOLD}""",
    "datagrams": f"""
import socket
{SEVEN}kept = []
for _ in range(28 if {{few}} else 110):
    to, by = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
    kept += [to, by]
    try:
        to.bind(("127.0.0.1", 0))
        for _ in range(20):
            by.sendto(b"x" * 60000, to.getsockname())
    except OSError:
        pass
{HOLD}""",
    "big files": f"""
for place in ("/tmp", "/sandbox", "/dev/shm"):
    for number in range(40):
        try:
            open(f"{{{{place}}}}/{{mark}}{{{{number}}}}", "wb").write(b"x" * (4 << 20))
        except OSError:
            pass
{HOLD}""",
    "many files": f"""
for number in range(200_000):
    try:
        open(f"/tmp/{{{{number}}}}", "w").close()
    except OSError:
        break
{HOLD}""",
    "computing of many": f"{SEVEN}import time\nend = time.monotonic() + 15\n"
    "while time.monotonic() < end: pass",
}

PROCESSES, MEMORY_OF_ALL, TIME = "processes", "memory", "time"
EXPECTED: dict[str, tuple[str, ...]] = {
    "children": (PROCESSES,),
    "fork bomb": (PROCESSES,),
    "threads": (PROCESSES, "failed"),  # or its own exception is sooner
    "orphans": (PROCESSES,),
    "memory of many": (MEMORY_OF_ALL,),
    "files in memory": (MEMORY_OF_ALL,),
    "shared segments": (MEMORY_OF_ALL,),
    "socket pairs": (MEMORY_OF_ALL,),
    "computing of many": (TIME,),
}
"""How each ends under a control group; the others are held by caps that let them go on."""


MARK = f"hostile-{os.getpid()}-"
"""Begins the names of files that a program makes where other processes make theirs, too."""


def program(name: str, *, few: bool) -> str:
    """One of the table; `few` where a process may open few files."""
    text = PROGRAMS[name].replace("{few}", str(few)).replace("{mark}", MARK)
    text = text.replace("{linger}", str(LINGER))
    return text.replace("{{", "{").replace("}}", "}")


@dataclass(kw_only=True)
class Seen:
    """What was seen of the host while a program ran.

    Attributes:
        processes: Most that descended from this one.
        memory: Most bytes in a control group.
        files: New names in the directories that everybody may write to.
    """

    processes: int = 0
    memory: int = 0
    files: list[str] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        return asdict(self)


@contextmanager
def watched() -> Iterator[Seen]:
    """Watches the host from a thread until the block ends."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as own:
        Path(own).chmod(0o755)  # a run's own user passes through it
        before, tempfile.tempdir = tempfile.tempdir, own
        try:
            with _watched(Path(own)) as seen:
                yield seen
        finally:
            tempfile.tempdir = before


@contextmanager
def _watched(own: Path) -> Iterator[Seen]:
    seen, over = Seen(), threading.Event()
    removed, before = Group.remove, _files(own)
    others = set(_below(os.getpid()))  # of other tests

    def remove(group: Group) -> None:
        for file in ("memory.max_usage_in_bytes", "memory.peak"):
            with suppress(OSError, KeyError):
                seen.memory = max(seen.memory, int((group._places["memory"] / file).read_text()))
        removed(group)

    def look() -> None:
        while not over.wait(0.01):
            seen.processes = max(seen.processes, len(set(_below(os.getpid())) - others))

    looking = threading.Thread(target=look)
    Group.remove = remove  # type: ignore[method-assign,assignment]
    looking.start()
    try:
        yield seen
    finally:
        over.set()
        looking.join()
        Group.remove = removed  # type: ignore[method-assign]
        seen.files = sorted(_files(own) - before)


def _files(own: Path) -> set[str]:
    """Names of what the runs could leave: below their directory, and in shared memory."""
    shared = Path("/dev/shm").glob(f"{MARK}*")  # noqa: S108
    return {str(path) for path in (*own.iterdir(), *shared)}


def _below(pid: int) -> list[int]:
    """All processes that descend from this one."""
    found: list[int] = []
    with suppress(OSError):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, children.read_text().split()):
                found += [child, *_below(child)]
    return found


def remaining() -> list[int]:
    return _below(os.getpid())


def groups() -> list[Path]:
    """Control groups of this process's runs."""
    # Those of other processes come and go meanwhile, which `os.walk` does not mind.
    below = (Path(place) / name for place, names, _ in os.walk("/sys/fs/cgroup") for name in names)
    return [place for place in below if place.name.startswith(f"spex-{os.getpid()}-")]


async def tried(name: str, isolation: Isolation) -> dict[str, Any]:
    """Run one of the table, and say how it ended and what was seen meanwhile."""
    from spex_agents.sandbox import run  # noqa: PLC0415 (patched in another user's process)

    before = set(remaining())  # other tests' own
    few = (await run("", isolation=isolation)).caps == "process"
    with watched() as seen:
        outcome = await run(program(name, few=few), limits=LIMITS, isolation=isolation)
    return {**asdict(outcome), **seen.report(), "left": sorted(set(remaining()) - before)}


def main() -> None:
    """Run some of the table as another user: ``hostile.py UID WALL NAME ...`` as root."""
    import asyncio  # noqa: PLC0415

    from spex_agents.sandbox import isolation, process, seccomp  # noqa: PLC0415

    user, wall, *names = sys.argv[1:]
    plain = "/usr/bin/python3"  # for root's own interpreter may be where nobody else may look
    isolation.interpreter = process.interpreter = lambda: plain  # type: ignore[attr-defined]
    sys.base_prefix = "/usr"
    for hoards in (True, False):
        seccomp.refusals(hoards=hoards)  # likewise its modules
    os.setgroups([])
    os.setresgid(*[int(user)] * 3)
    os.setresuid(*[int(user)] * 3)
    for name in names:
        print(json.dumps(asyncio.run(tried(name, wall))), flush=True)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
