"""Caps on a program, and what became of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

from spex_agents.errors import SettingsError, above_zero

Status: TypeAlias = Literal["ok", "failed", "time", "memory", "processes", "output"]
"""ok: exit code 0; failed: another, or a signal; else the cap that ended the program."""

Caps: TypeAlias = Literal["cgroup", "process"]
"""Who holds the caps on all processes together: a control group of the kernel; or limits that the
kernel has for each process, and looks at the sum."""

FEWEST_PROCESSES = 4
"""The wall has two or three itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxLimits:
    """Caps on one program and all that it starts.

    Attributes:
        seconds: From start to end.
        cpu_seconds: Of computing, of all processes together.
        processors: As many of them may compute at a time, on average.
        memory: Bytes of address space of each process, and of memory of any kind that all use
            together: files in memory, shared segments and what is in pipes and sockets included.
        processes: Processes and threads at a time, two of them the wall's (a workspace's: three).
        files: Bytes that it may write to its file system, and to any one file.
        output: Bytes of standard output, and of standard error.

    Raises:
        SettingsError: A cap is not above 0, or there are fewer than 4 processes.

    Example:
        >>> SandboxLimits(seconds=5, memory=256 * 2**20).processes >= 4
        True
    """

    seconds: float = 10.0
    cpu_seconds: int = 10
    processors: float = 1.0
    memory: int = 512 << 20
    processes: int = 32
    files: int = 16 << 20
    output: int = 1 << 20

    def __post_init__(self) -> None:
        above_zero(**asdict(self))
        if self.processes < FEWEST_PROCESSES:
            raise SettingsError(
                f"processes={self.processes!r}: must be at least {FEWEST_PROCESSES}, for the "
                "wall's own count too"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    r"""What became of a program.

    Attributes:
        status: How it ended.
        code: Its exit code; the negative number of the signal that ended it.
        stdout: What it printed, up to the cap.
        stderr: Likewise.
        seconds: From start to end.
        isolation: What kept it apart.
        caps: Who held its caps on all processes together.

    Example:
        >>> from asyncio import run
        >>> from spex_agents import sandbox
        >>> outcome = run(sandbox.run("print(6 * 7)", isolation="none"))
        >>> outcome.ok, outcome.stdout
        (True, '42\n')
    """

    status: Status
    code: int
    stdout: str
    stderr: str
    seconds: float
    isolation: str
    caps: Caps

    @property
    def ok(self) -> bool:
        return self.status == "ok"
