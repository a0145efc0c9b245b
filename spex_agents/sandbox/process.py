"""One run: a directory and a control group for it, its processes, and what ends them."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import monotonic

from spex_agents.sandbox.cgroups import Group, Unavailable
from spex_agents.sandbox.isolation import CODE, ENVIRONMENT, Scene, interpreter, system
from spex_agents.sandbox.launching import Layers, launched, other_user
from spex_agents.sandbox.limits import Outcome, SandboxLimits
from spex_agents.sandbox.seccomp import refusals
from spex_agents.sandbox.watching import Watch, below

_INSIDE = Path(__file__).with_name("inside.py").read_text(encoding="utf-8")
_GRACE_SECONDS = 30.0  # for the kernel to end what was killed
_OPEN_FILES = 256
_FEW_OPEN_FILES = 64  # where nothing counts what is in pipes and sockets


_SLACK = 4
"""Processes by which the kernel's limit for a user is wider than the group's, which tells."""


class WallFailed(Exception):
    """The wall, or what comes before it, did not come to start the program; says why."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to run.

    Attributes:
        command: Behind the wall.
        stdin: What it reads.
        limits: Its caps.
        files: Texts that it sees, read-only, by their names in `CODE`.
        shown: What it sees of the host beside that, read-only, by where.
        environment: Variables of its own.
        layers: Its working directory, where it is not empty.
        keep: Called with the directory of what it has written to that, if it ended by itself.
    """

    command: Sequence[str]
    stdin: bytes = b""
    limits: SandboxLimits
    files: Mapping[str, str] = field(default_factory=dict)
    shown: Mapping[str, Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    layers: Layers | None = None
    keep: Callable[[Path], object] | None = None


def python() -> list[str]:
    """The interpreter, without anything but the standard library."""
    return [interpreter(), "-I", "-S", "-B"]


@contextmanager
def _place(user: int | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="spex-", ignore_cleanup_errors=True) as name:
        place = Path(name)
        for part in ("root", "code"):
            (place / part).mkdir()
            if user is not None:
                os.chown(place / part, user, user)
        if user is not None:
            os.chown(place, user, user)
        yield place


@contextmanager
def _grouped(limits: SandboxLimits, *, needed: bool) -> Iterator[Group | None]:
    """A control group; None where there can be none and other limits will do.

    Raises:
        WallFailed: It is needed.
    """
    try:
        group = Group.create(limits)
    except Unavailable as error:
        if needed:
            raise WallFailed(
                f"nothing holds what all processes use together: there is no control group "
                f"({error}), and limits of the kernel's do not hold root"
            ) from error
        yield None
        return
    try:
        yield group
    finally:
        group.kill()
        group.remove()


def perform(job: Job, wall: str, stopped: threading.Event) -> Outcome:
    """Run a job behind a wall to its end, or until it is stopped.

    Raises:
        WallFailed: It was not begun.
    """
    user, needed = None, False
    if wall != "none":
        try:
            user = job.layers.user if job.layers and os.geteuid() == 0 else other_user()
        except PermissionError:
            needed = True
    with _grouped(job.limits, needed=needed) as group, _place(user) as place:
        for name, text in job.files.items():
            file = place / "code" / name
            file.write_text(text, encoding="utf-8", errors="surrogateescape")
            file.chmod(0o444)
        return _begin(job, wall, stopped, group=group, user=user, place=place)


def _begin(
    job: Job,
    wall: str,
    stopped: threading.Event,
    *,
    group: Group | None,
    user: int | None,
    place: Path,
) -> Outcome:
    limits = job.limits
    code, command = str(place / "code"), list(job.command)
    shown = {path: Path(path) for path in system()[1]} | dict(job.shown)
    environment = {**ENVIRONMENT, **job.environment}
    if wall == "none":
        command = [part.replace(CODE, code) for part in command]
        environment |= {"HOME": str(place), "TMPDIR": str(place)}
    else:
        shown[CODE] = place / "code"
    refused = "" if wall == "none" else refusals(hoards=group is not None).hex()
    counted = limits.processes + (_SLACK if group is not None else -1)
    if wall == "none" or not _counts_by_namespace():
        counted = 0
    files = _OPEN_FILES if group is not None else _FEW_OPEN_FILES
    caps = [limits.cpu_seconds, limits.memory, counted, limits.files, files]
    status, told = os.pipe()
    try:
        inside = [*python(), "-c", _INSIDE, str(told), refused, *map(str, caps), *command]
        whole = launched(
            wall,
            Scene(shown, limits.files),
            place,
            inside,
            groups=group.joined_by if group is not None else (),
            user=user,
            layers=job.layers,
        )
        begun = monotonic()
        process = subprocess.Popen(  # noqa: S603 (behind a wall: what this module is for)
            whole,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=place if wall == "none" else "/",
            env=environment,
            pass_fds=[told],
            start_new_session=True,
        )
        os.close(told)
        told = -1
        run = Watch(
            process,
            status,
            stdin=job.stdin,
            limits=limits,
            group=group,
            deadline=begun + limits.seconds,
        )
        try:
            over = run.watch(stopped)
        finally:
            _kill(process, group, wall)
    finally:
        os.close(status)
        if told >= 0:
            os.close(told)
    seconds = monotonic() - begun
    out, err = (bytes(part).decode("utf-8", "replace") for part in run.written)
    begin, _, ended = bytes(run.told).decode().partition("\n")
    if group is not None:
        over = over or run.passed()
    if not begin and over is None and not stopped.is_set():
        raise WallFailed(err.strip().rpartition("\n")[2] or f"exit code {process.returncode}")
    returned = int(ended) if ended.strip() else -signal.SIGKILL
    if over is None and returned == -signal.SIGXCPU:
        over = "time"
    if job.keep is not None and over is None and ended.strip() and process.returncode == 0:
        job.keep(place / "written")
    return Outcome(
        status=over or ("failed" if returned else "ok"),
        code=returned,
        stdout=out,
        stderr=err,
        seconds=seconds,
        isolation=wall,
        caps="process" if group is None else "cgroup",
    )


def _kill(process: subprocess.Popen[bytes], group: Group | None, wall: str) -> None:
    """Kill what is left, and wait until it is gone.

    The first process of the namespace takes all others with it, and ends after them.
    """
    handles = []
    if group is None:
        for pid in list(islice(below(process.pid), None if wall == "none" else 8)):
            with suppress(OSError):
                handles.append(os.pidfd_open(pid))
                if wall == "none":
                    signal.pidfd_send_signal(handles[-1], signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if group is not None:
        group.kill()
    process.wait()
    deadline = monotonic() + _GRACE_SECONDS
    for handle in handles:
        select.select([handle], [], [], max(0.0, deadline - monotonic()))
        os.close(handle)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()


def _counts_by_namespace() -> bool:
    major, minor = (int(part.split("-")[0]) for part in os.uname().release.split(".")[:2])
    return (major, minor) >= (5, 14)
