"""Runs one Python program behind a wall and under caps."""

from __future__ import annotations

import os
import select
import selectors
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import IO, Literal, TypeAlias

from spex_agents.errors import above_zero
from spex_agents.sandbox.isolation import (
    CODE,
    ENVIRONMENT,
    Isolation,
    chosen,
    interpreter,
    walled,
)
from spex_agents.sandbox.seccomp import refusals
from spex_agents.waiting import in_thread

Status: TypeAlias = Literal["ok", "failed", "time", "memory", "processes", "output"]
"""ok: exit code 0; failed: another, or a signal; else the cap that ended the program."""

_LOOK_SECONDS = 0.02
_GRACE_SECONDS = 30.0  # for the kernel to end what was killed
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROGRAM = "program.py"

# Sets the caps and the filter (PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP), and stays as the first process
# of the namespace, which signals treat like no other and which has to wait for orphans; the program
# is its child. The kernel counts processes by user namespace from Linux 5.14 on; before, it would
# count all of the user's.
_CAPPED = """
import ctypes, os, resource as r, struct, sys
cpu, memory, processes, size = map(int, sys.argv[1:5])
refused, *command = sys.argv[5:]
caps = {r.RLIMIT_CPU: cpu, r.RLIMIT_AS: memory, r.RLIMIT_FSIZE: size, r.RLIMIT_CORE: 0,
        r.RLIMIT_NOFILE: 256}
if processes and hasattr(r, "RLIMIT_NPROC"):
    caps[r.RLIMIT_NPROC] = processes
for cap, value in caps.items():
    hard = r.getrlimit(cap)[1]
    value = value if hard == r.RLIM_INFINITY else min(value, hard)
    r.setrlimit(cap, (value, value + (cap == r.RLIMIT_CPU and value != hard)))  # SIGXCPU, SIGKILL
os.nice(10)
if refused:
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    steps = ctypes.create_string_buffer(bytes.fromhex(refused))
    whole = ctypes.create_string_buffer(
        struct.pack("HP", len(refused) // 16, ctypes.addressof(steps)))
    if prctl(38, 1, 0, 0, 0) or prctl(22, 2, ctypes.addressof(whole), 0, 0):
        os._exit(os.write(2, b"the kernel takes no filter of system calls") and 126)
if (program := os.fork()) == 0:
    os.execv(command[0], command)
while (ended := os.wait())[0] != program:
    pass
code = os.waitstatus_to_exitcode(ended[1])
os._exit(128 - code if code < 0 else code)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxLimits:
    """Caps on one program and all that it starts.

    Attributes:
        seconds: From start to end.
        cpu_seconds: Of computing, of each process.
        memory: Bytes of address space of each process, and of memory in use by all together.
        processes: Processes and threads at a time.
        files: Bytes that it may write to its file system, and to any one file.
        output: Bytes of standard output, and of standard error.

    Raises:
        SettingsError: A cap is not above 0.
    """

    seconds: float = 10.0
    cpu_seconds: int = 10
    memory: int = 512 << 20
    processes: int = 32
    files: int = 16 << 20
    output: int = 1 << 20

    def __post_init__(self) -> None:
        above_zero(**asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a program.

    Attributes:
        status: How it ended.
        code: Its exit code; the negative number of the signal that ended it.
        stdout: What it printed, up to the cap.
        stderr: Likewise.
        seconds: From start to end.
        isolation: What kept it apart.
    """

    status: Status
    code: int
    stdout: str
    stderr: str
    seconds: float
    isolation: str

    @property
    def ok(self) -> bool:
        return self.status == "ok"


async def run(
    code: str,
    stdin: str = "",
    limits: SandboxLimits = SandboxLimits(),
    *,
    isolation: Isolation = "auto",
) -> Outcome:
    r"""Run a Python program in an interpreter of its own, with the standard library alone.

    Cancelling the awaiting task kills the program, and waits until it is gone.

    Args:
        code: The program.
        stdin: What it reads from standard input.
        limits: Its caps.
        isolation: What keeps it apart; "none" must be asked for.

    Raises:
        SettingsError: This system offers no such isolation.

    Example:
        >>> import asyncio
        >>> asyncio.run(run("print(6 * 7)")).stdout
        '42\n'
    """
    wall = chosen(isolation)
    stopped = threading.Event()
    return await in_thread(_run, code, stdin, limits, wall, stopped, given_up=stopped.set)


def _run(
    code: str, stdin: str, limits: SandboxLimits, wall: str, stopped: threading.Event
) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="spex-") as name, tempfile.TemporaryFile() as given:
        place = Path(name)
        program = place / _PROGRAM
        program.write_text(code, encoding="utf-8", errors="surrogateescape")
        given.write(stdin.encode("utf-8", "surrogateescape"))
        given.seek(0)
        seen = str(program) if wall == "none" else f"{CODE}/{_PROGRAM}"
        counted = 0 if wall == "none" or not _counts_by_namespace() else limits.processes
        caps = [limits.cpu_seconds, limits.memory, counted, limits.files]
        refused = "" if wall == "none" else refusals().hex()
        python = [interpreter(), "-I", "-S", "-B"]
        command = [*python, "-c", _CAPPED, *map(str, caps), refused, *python, seen]
        begun = monotonic()
        process = subprocess.Popen(  # noqa: S603 (behind a wall: what this module is for)
            walled(wall, place, limits.files, command),
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=place if wall == "none" else "/",
            env=ENVIRONMENT | ({"HOME": name, "TMPDIR": name} if wall == "none" else {}),
            start_new_session=True,
        )
        try:
            over, written = _watch(process, limits, begun + limits.seconds, stopped)
        finally:
            _kill(process, wall)
        returned = process.returncode
        returned = 128 - returned if returned > 128 else returned  # a signal, as told by _CAPPED
        if over is None and returned == -signal.SIGXCPU:
            over = "time"
        out, err = (bytes(part).decode("utf-8", "replace") for part in written)
        return Outcome(
            status=over or ("failed" if returned else "ok"),
            code=returned,
            stdout=out,
            stderr=err,
            seconds=monotonic() - begun,
            isolation=wall,
        )


def _watch(
    process: subprocess.Popen[bytes],
    limits: SandboxLimits,
    deadline: float,
    stopped: threading.Event,
) -> tuple[Status | None, tuple[bytearray, bytearray]]:
    """Read what the program prints until it ends, and say which cap it has passed, if any."""
    written = (bytearray(), bytearray())
    over: Status | None = None
    with selectors.DefaultSelector() as selector:
        for stream, kept in zip((process.stdout, process.stderr), written, strict=True):
            assert stream is not None  # noqa: S101 (both are pipes)
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ, kept)
        while over is None and not stopped.is_set():
            ended = process.poll() is not None
            for key, _ in selector.select(0 if ended else _LOOK_SECONDS):
                if not _read(key.fileobj, key.data, limits.output):  # type: ignore[arg-type]
                    selector.unregister(key.fileobj)
                if len(key.data) >= limits.output:
                    over = "output"
            if ended:
                break
            over = over or _over(process.pid, limits)
            if monotonic() > deadline:
                over = over or "time"
    return over, written


def _read(stream: IO[bytes], kept: bytearray, most: int) -> bool:
    """Take what there is to read; False at the end of it."""
    while len(kept) < most:
        try:
            part = os.read(stream.fileno(), min(1 << 16, most - len(kept)))
        except BlockingIOError:
            return True
        if not part:
            return False
        kept += part
    return True


def _over(pid: int, limits: SandboxLimits) -> Status | None:
    """The cap that all processes below `pid` together have passed, if any."""
    memory = tasks = 0
    for process in _below(pid):
        with suppress(OSError):
            tasks += len(os.listdir(f"/proc/{process}/task"))
            memory += int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
        if tasks > limits.processes:  # at once: they may multiply faster than they are counted
            return "processes"
    return "memory" if memory > limits.memory else None


def _below(pid: int) -> Iterator[int]:
    """All processes that descend from `pid`; in a process namespace none can leave its parents."""
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                yield int(child)
                yield from _below(int(child))


def _kill(process: subprocess.Popen[bytes], wall: str) -> None:
    """Kill what is left, and wait until it is gone.

    The child of a wall's program is the first process of the namespace: it takes all others with
    it, and ends after them.
    """
    left = list(islice(_below(process.pid), None if wall == "none" else 1))
    with suppress(OSError, IndexError):
        first = os.pidfd_open(left[0])
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        select.select([first], [], [], _GRACE_SECONDS)
        os.close(first)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _counts_by_namespace() -> bool:
    major, minor = (int(part.split("-")[0]) for part in os.uname().release.split(".")[:2])
    return (major, minor) >= (5, 14)
