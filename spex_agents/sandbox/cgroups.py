"""A control group for each run: what all its processes use together, held by the kernel.

The groups are below this process's own, so whatever holds it holds them too, but where control
groups v2 want the root: version 2 as root or in a delegated scope (``systemd-run --user --scope -p
Delegate=yes``), version 1 wherever the directories can be written. Sources: cgroups(7), and the
kernel's admin-guide/cgroup-v2 and cgroup-v1.
"""

from __future__ import annotations

import errno
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from spex_agents.sandbox.limits import SandboxLimits, Status

_CONTROLLERS = ("pids", "memory", "cpu")
_NAME = "spex-"
_HOST = f"{_NAME}host"
_PERIOD = 100_000  # microseconds
_GRACE_SECONDS = 30.0
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PAUSE_SECONDS = 0.001


class Unavailable(OSError):
    """This process may make no control groups that hold all caps."""


class _Mount(NamedTuple):
    """Where a hierarchy is, and where this process is in it."""

    version: int
    controllers: frozenset[str]
    top: Path
    own: Path


class Group:
    """The control group of a run, of one directory (version 2) or one for each controller."""

    def __init__(self, places: Mapping[str, Path], version: int) -> None:
        self._places = places
        self._version = version

    @classmethod
    def create(cls, limits: SandboxLimits, process: Path = Path("/proc/self")) -> Group:
        """Make a group, and see that each cap that was written is in force.

        Args:
            limits: The caps.
            process: Whose groups to make it below; another one's for tests.

        Raises:
            Unavailable: It cannot be made here; says why.
        """
        mounts = list(_mounts(process))
        faults = []
        for version, parents in ((2, _unified(mounts)), (1, _each(mounts))):
            try:
                return cls._below(parents(), version, limits)
            except OSError as error:
                faults.append(f"version {version}: {error}")
        raise Unavailable("; ".join(faults))

    @classmethod
    def _below(cls, parents: Mapping[str, Path], version: int, limits: SandboxLimits) -> Group:
        name = f"{_NAME}{os.getpid()}-{secrets.token_hex(6)}"
        group = cls({part: parent / name for part, parent in parents.items()}, version)
        try:
            for parent in sorted(set(parents.values())):
                _sweep(parent)
                (parent / name).mkdir()
            for part, file, value in _settings(version, limits):
                _write(group._places[part] / file, value)
            for part, file, value in _extras(version, limits):
                with suppress(OSError):  # a kernel without swap, or without this file
                    _write(group._places[part] / file, value)
        except BaseException:
            group.remove()
            raise
        return group

    @property
    def joined_by(self) -> list[Path]:
        """Files to write a process's number to, for it and its children to be in the group."""
        return [place / "cgroup.procs" for place in self._directories]

    @property
    def _directories(self) -> list[Path]:
        return sorted(set(self._places.values()))

    def processes(self) -> list[int]:
        return [int(pid) for pid in (self._places["pids"] / "cgroup.procs").read_text().split()]

    def passed(self, limits: SandboxLimits) -> Status | None:
        """The cap that the group has run into, if any."""
        if self._told("memory", ("memory.oom_control", "memory.events"), "oom_kill"):
            return "memory"
        if self._told("pids", ("pids.events", "pids.events"), "max"):
            return "processes"
        return "time" if self.computed() > limits.cpu_seconds else None

    def computed(self) -> float:
        """Seconds of computing so far, of all its processes."""
        if self._version == 2:
            return self._told("cpu", ("", "cpu.stat"), "usage_usec") / 1e6
        if "cpuacct" not in self._places:
            return 0.0
        return int((self._places["cpuacct"] / "cpuacct.usage").read_text()) / 1e9

    def _told(self, part: str, files: tuple[str, str], key: str) -> int:
        with suppress(OSError):
            for line in (self._places[part] / files[self._version - 1]).read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == key:
                    return int(value)
        return 0

    def kill(self) -> None:
        """Kill what is in it, and wait until all is gone."""
        if self._version == 2:
            with suppress(OSError):  # before Linux 5.14
                (self._places["pids"] / "cgroup.kill").write_text("1")
        deadline = time.monotonic() + _GRACE_SECONDS
        while (left := self.processes()) and time.monotonic() < deadline:
            for pid in left:
                with suppress(OSError):
                    handle = os.pidfd_open(pid)  # the number may be another's by now
                    try:
                        if pid in self.processes():
                            signal.pidfd_send_signal(handle, signal.SIGKILL)
                    finally:
                        os.close(handle)
            time.sleep(_PAUSE_SECONDS)

    def remove(self) -> None:
        deadline = time.monotonic() + _GRACE_SECONDS
        for place in self._directories:
            while True:
                try:
                    place.rmdir()
                except FileNotFoundError:
                    pass
                except OSError as error:  # the kernel has not let go of it yet
                    if error.errno == errno.EBUSY and time.monotonic() < deadline:
                        time.sleep(_PAUSE_SECONDS)
                        continue
                break


def _settings(version: int, limits: SandboxLimits) -> list[tuple[str, str, str]]:
    """Controller, file and value of the caps without which a group is none."""
    quota = max(1000, round(limits.processors * _PERIOD))
    memory = str(max(_PAGE, limits.memory // _PAGE * _PAGE))
    if version == 2:
        return [
            ("pids", "pids.max", str(limits.processes)),
            ("memory", "memory.max", memory),
            ("cpu", "cpu.max", f"{quota} {_PERIOD}"),
        ]
    return [
        ("pids", "pids.max", str(limits.processes)),
        ("memory", "memory.limit_in_bytes", memory),
        ("cpu", "cpu.cfs_period_us", str(_PERIOD)),
        ("cpu", "cpu.cfs_quota_us", str(quota)),
    ]


def _extras(version: int, limits: SandboxLimits) -> list[tuple[str, str, str]]:
    """Likewise, of those that not every kernel has: no swap, and what sockets hold."""
    if version == 2:
        return [("memory", "memory.swap.max", "0"), ("memory", "memory.oom.group", "1")]
    memory = limits.memory // _PAGE * _PAGE
    return [
        ("memory", "memory.memsw.limit_in_bytes", str(memory)),
        ("memory", "memory.swappiness", "0"),
        ("memory", "memory.kmem.tcp.limit_in_bytes", str(memory // 16 // _PAGE * _PAGE)),
    ]


def _write(file: Path, value: str) -> None:
    """Write a cap and read it back.

    Raises:
        Unavailable: The kernel did not take it.
    """
    with file.open("r+") as opened:  # fails where there is no such file, and makes none
        opened.write(value)
    if (found := file.read_text().strip()) != value:
        raise Unavailable(f"{file} is {found}, not {value}")


def _sweep(parent: Path) -> None:
    """Remove the empty groups of processes that were killed before they could."""
    for place in parent.glob(f"{_NAME}*-*"):
        pid = place.name.removeprefix(_NAME).partition("-")[0]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            with suppress(OSError):
                place.rmdir()


def _mounts(process: Path) -> Iterator[_Mount]:
    paths = {}
    for line in (process / "cgroup").read_text().splitlines():
        number, names, path = line.split(":", 2)
        paths.update(dict.fromkeys(names.split(",") if names else [number], path))
    for line in (process / "mountinfo").read_text().splitlines():
        fields, _, kind = line.partition(" - ")
        _, _, _, root, top, *_ = fields.split()
        name, _, options = kind.split()[:3]
        if name == "cgroup2":
            own = _within(Path(top), root, paths.get("0", "/"))
            with suppress(OSError):
                there = (Path(top) / "cgroup.controllers").read_text().split()
                yield _Mount(2, frozenset(there), Path(top), own)
        elif name == "cgroup":
            controllers = frozenset(options.split(",")) & paths.keys()
            if controllers:
                path = paths[min(controllers)]
                yield _Mount(1, controllers, Path(top), _within(Path(top), root, path))


def _within(top: Path, root: str, path: str) -> Path:
    """Where a group is below a mount that may show a part of its hierarchy only."""
    inside = path.removeprefix(root.rstrip("/")) if path.startswith(root) else ""
    own = top / inside.strip("/")
    return own if own.is_dir() else top


def _each(mounts: Sequence[_Mount]) -> Callable[[], Mapping[str, Path]]:
    def find() -> Mapping[str, Path]:
        places = {
            name: mount.own for mount in mounts if mount.version == 1 for name in mount.controllers
        }
        if missing := [name for name in _CONTROLLERS if name not in places]:
            raise Unavailable(f"there is no controller {', '.join(missing)}")
        return {name: places[name] for name in (*_CONTROLLERS, "cpuacct") if name in places}

    return find


def _unified(mounts: Sequence[_Mount]) -> Callable[[], Mapping[str, Path]]:
    def find() -> Mapping[str, Path]:
        for mount in mounts:
            if mount.version == 2 and mount.controllers.issuperset(_CONTROLLERS):
                real_root = not (mount.top / "cgroup.events").exists()
                own = mount.own.parent if mount.own.name == _HOST else mount.own
                parent = mount.top if real_root and os.geteuid() == 0 else own
                _delegate(parent)
                return dict.fromkeys(_CONTROLLERS, parent)
        raise Unavailable(f"there are no controllers {', '.join(_CONTROLLERS)}")

    return find


def _delegate(parent: Path) -> None:
    """Let the groups below `parent` have controllers.

    A group with controllers below it may have no process itself: those that are in it move to one
    below, which changes nothing for them.
    """
    file = parent / "cgroup.subtree_control"
    wanted = [name for name in _CONTROLLERS if name not in file.read_text().split()]
    if not wanted:
        return
    if not os.access(file, os.W_OK):
        raise Unavailable(f"{parent} is not this user's")
    switched = " ".join(f"+{name}" for name in wanted)
    try:
        file.write_text(switched)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        leaf = parent / _HOST
        leaf.mkdir(exist_ok=True)
        for pid in (parent / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(pid)
        file.write_text(switched)
