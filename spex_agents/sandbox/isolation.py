"""What keeps a program apart from the system: bubblewrap, or the namespaces it is made of.

Both give it namespaces of its own (users, mounts, processes, network, messages, host name), a root
directory in memory that shows the system's programs and libraries read-only and nothing else, no
capabilities, and no way to make further user namespaces.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from spex_agents.errors import SettingsError

Isolation: TypeAlias = Literal["auto", "bubblewrap", "namespaces", "none"]
"""auto: the first of the next two that works here; none: caps alone, for programs you trust."""

CODE = "/code"
"""Where a program finds its files, read-only."""
WORK = "/work"
"""Its working directory, in memory, writable."""

ENVIRONMENT = {
    "HOME": WORK,
    "LANG": "C.UTF-8",
    "PATH": "/usr/bin:/usr/sbin:/bin:/sbin",
    "TMPDIR": "/tmp",  # noqa: S108 (the program's own)
}
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_NEEDED = ("unshare", "mount", "umount", "pivot_root", "setpriv", "sh")
_PROBE_SECONDS = 20.0

# Arguments: size of the file system in bytes, the host's directory of the program, how many system
# paths follow, these paths, and the command.
_BUILD = rf"""
set -e
size=$1; code=$2; paths=$3; shift 3
echo 0 > /proc/sys/user/max_user_namespaces
mount -t tmpfs -o "size=$size,nr_inodes=4096,mode=755" tmpfs /mnt
cd /mnt
show() {{
  mkdir -p "./$(dirname "$2")"
  if [ -d "$1" ]; then mkdir -p "./$2"; else : > "./$2"; fi
  mount --rbind "$1" "./$2"
  mount -o remount,bind,ro "./$2" 2>/dev/null ||
    mount -o "remount,bind,ro,nosuid,nodev" "./$2" 2>/dev/null ||
    mount -o "remount,bind,ro,nosuid,nodev,noexec" "./$2"
}}
while [ "$paths" -gt 0 ]; do
  if [ -L "$1" ]; then ln -s "$(readlink "$1")" ".$1"; else show "$1" "$1"; fi
  shift; paths=$((paths - 1))
done
show "$code" {CODE}
mkdir -p ./dev ./tmp .{WORK} ./old
for device in {" ".join(_DEVICES)}; do : > ".$device"; mount --bind "$device" ".$device"; done
ln -s old/proc proc # umount looks there
pivot_root . old
cd {WORK}
umount -l /old
rmdir /old
rm /proc
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""


def interpreter() -> str:
    """This interpreter without its virtual environment, whose packages stay outside."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def _system() -> list[str]:
    """The system's programs and libraries, and this interpreter's, where they are."""
    prefix = str(Path(sys.base_prefix).resolve())
    shown = [path for path in _SYSTEM if os.path.lexists(path)]
    return shown if prefix == "/usr" or prefix.startswith("/usr/") else [*shown, prefix]


def _bubblewrap(code: Path, size: int) -> list[str]:
    command = ["bwrap", "--unshare-all", "--unshare-user", "--disable-userns"]
    command += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "sandbox"]
    for path in _system():
        if os.path.islink(path):
            command += ["--symlink", os.readlink(path), path]
        else:
            command += ["--ro-bind", path, path]
    for device in _DEVICES:
        command += ["--dev-bind", device, device]
    command += ["--size", str(size), "--tmpfs", WORK, "--size", str(size), "--tmpfs", "/tmp"]  # noqa: S108
    return [*command, "--ro-bind", str(code), CODE, "--remount-ro", "/", "--chdir", WORK, "--"]


def _namespaces(code: Path, size: int) -> list[str]:
    command = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork"]
    command += ["--kill-child", "--net", "--ipc", "--uts", "--cgroup"]
    shown = _system()
    return [*command, "sh", "-c", _BUILD, "sh", str(size), str(code), str(len(shown)), *shown]


_WALLS: Mapping[str, tuple[Sequence[str], Callable[[Path, int], list[str]]]] = {
    "bubblewrap": (("bwrap",), _bubblewrap),
    "namespaces": (_NEEDED, _namespaces),
}


def check_isolation(isolation: str) -> Isolation:
    """Return an isolation that there is, whether or not it works here.

    Raises:
        SettingsError: There is none of that name.
    """
    if isolation not in get_args(Isolation):
        raise SettingsError(
            f"isolation={isolation!r}: must be one of {', '.join(get_args(Isolation))}"
        )
    return isolation  # type: ignore[return-value]


def chosen(isolation: Isolation) -> Literal["bubblewrap", "namespaces", "none"]:
    """The isolation to use here.

    Raises:
        SettingsError: There is none of that name, or it does not work on this system.
    """
    check_isolation(isolation)
    if isolation == "none":
        return "none"
    faults = []
    for name in _WALLS if isolation == "auto" else (isolation,):
        if (fault := why_not(name)) is None:
            return name  # type: ignore[return-value]
        faults.append(f"{name}: {fault}")
    raise SettingsError(
        f"isolation={isolation!r}: this system cannot run a program apart from itself "
        f"({'; '.join(faults)}). Install bubblewrap and allow user namespaces, or, for programs "
        "you trust only, choose isolation='none', which caps time and memory and no more"
    )


def walled(isolation: str, code: Path, size: int, command: Sequence[str]) -> list[str]:
    """`command`, to be run behind a wall; in place where there is none.

    Args:
        isolation: One that `chosen` has returned.
        code: Directory of the host that the program sees as `CODE`.
        size: Bytes that it may write to its file system.
        command: What to run.
    """
    if isolation not in _WALLS:
        return [*command]
    program, *options = _WALLS[isolation][1](code, size)
    return [shutil.which(program) or program, *options, *command]


@cache
def why_not(name: str) -> str | None:
    """Why a wall does not stand on this system; None if it does. Tried once a process."""
    needed, _ = _WALLS[name]
    if missing := [program for program in needed if shutil.which(program) is None]:
        return f"there is no program {', '.join(missing)}"
    try:
        subprocess.run(  # noqa: S603 (a fixed command)
            walled(name, Path("/usr"), 1 << 20, [interpreter(), "-I", "-S", "-c", ""]),
            check=True,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            start_new_session=True,
        )
    except subprocess.CalledProcessError as error:
        said: list[str] = error.stderr.strip().splitlines()
        return said[-1] if said else f"exit code {error.returncode}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None
