"""What keeps a program apart from the system: bubblewrap, or the namespaces it is made of.

Both give it namespaces of its own (users, mounts, processes, network, messages, host name), a root
directory in memory that shows the system's programs and libraries read-only and nothing else, no
capabilities, and no way to make further user namespaces.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args

from spex_agents.errors import SettingsError

Isolation: TypeAlias = Literal["auto", "bubblewrap", "namespaces", "none"]
"""auto: the first of the next two that works here; none: caps alone, for programs you trust: it
reads and writes what its user may, reaches the network, and signals other processes."""

CODE = "/code"
"""Where a program finds its files, read-only."""
WORK = "/sandbox"
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


class Scene(NamedTuple):
    """What a program sees beside the system.

    Attributes:
        shown: Files and directories of the host, read-only, by where it sees them.
        size: Bytes that it may write to its file system.
        work: A directory of the host that is its working directory; else an empty one in memory.
    """

    shown: Mapping[str, Path]
    size: int
    work: Path | None = None


# Arguments: size of the file system in bytes, the directory to make the root in, the host's working
# directory, how many links follow (where, where to), how many directories (host's, where), the
# command.
_BUILD = rf"""
set -e
size=$1; root=$2; work=$3; shift 3
echo 0 > /proc/sys/user/max_user_namespaces
mount -t tmpfs -o "size=$size,nr_inodes=4096,mode=755" tmpfs "$root"
cd "$root"
mkdir -p ./dev ./tmp .{WORK} ./old
count=$1; shift
while [ "$count" -gt 0 ]; do
  mkdir -p "./$(dirname "$1")"; ln -s "$2" ".$1"; shift 2; count=$((count - 1))
done
show() {{
  mkdir -p "./$(dirname "$2")"
  if [ -d "$1" ]; then mkdir -p "./$2"; else : > "./$2"; fi
  mount --rbind "$1" "./$2"
  mount -o remount,bind,ro "./$2" 2>/dev/null ||
    mount -o "remount,bind,ro,nosuid,nodev" "./$2" 2>/dev/null ||
    mount -o "remount,bind,ro,nosuid,nodev,noexec" "./$2"
}}
count=$1; shift
while [ "$count" -gt 0 ]; do show "$1" "$2"; shift 2; count=$((count - 1)); done
if [ -n "$work" ]; then mount --rbind "$work" .{WORK}; fi
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


def system() -> tuple[list[str], list[str]]:
    """Links, and directories, of the system's programs and libraries, and this interpreter's."""
    prefix = str(Path(sys.base_prefix).resolve())
    there = [path for path in _SYSTEM if os.path.lexists(path)]
    there += [] if prefix == "/usr" or prefix.startswith("/usr/") else [prefix]
    links = [path for path in there if os.path.islink(path)]
    return links, [path for path in there if path not in links]


def _bubblewrap(scene: Scene, _: Path) -> list[str]:
    command = ["bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--as-pid-1"]
    command += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "sandbox"]
    command += ["--uid", "1000", "--gid", "1000"]
    for path in system()[0]:
        command += ["--symlink", os.readlink(path), path]
    for device in _DEVICES:
        command += ["--dev-bind", device, device]
    size = str(scene.size)
    command += ["--size", size, "--tmpfs", "/tmp"]  # noqa: S108
    for path, source in scene.shown.items():
        command += ["--ro-bind", str(source), path]
    work = ["--size", size, "--tmpfs", WORK]
    command += work if scene.work is None else ["--bind", str(scene.work), WORK]
    return [*command, "--remount-ro", "/", "--chdir", WORK, "--"]


def _namespaces(scene: Scene, place: Path) -> list[str]:
    command = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork"]
    command += ["--kill-child", "--net", "--ipc", "--uts", "--cgroup"]
    links = [part for path in system()[0] for part in (path, os.readlink(path))]
    shown = [part for path, source in scene.shown.items() for part in (str(source), path)]
    command += ["sh", "-c", _BUILD, "sh", str(scene.size), str(place / "root")]
    command += ["" if scene.work is None else str(scene.work)]
    return [*command, str(len(links) // 2), *links, str(len(shown) // 2), *shown]


_WALLS: Mapping[str, tuple[Sequence[str], Callable[[Scene, Path], list[str]]]] = {
    "bubblewrap": (("bwrap", "setpriv", "unshare"), _bubblewrap),
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


def walls(isolation: Isolation) -> Sequence[str]:
    """The walls to try for an isolation, the first one first."""
    return list(_WALLS) if isolation == "auto" else [isolation]


def missing(wall: str) -> list[str]:
    """Programs that a wall needs and this system has not."""
    needed, _ = _WALLS[wall]
    return [program for program in needed if shutil.which(program) is None]


def walled(wall: str, scene: Scene, place: Path, command: Sequence[str]) -> list[str]:
    """`command`, to be run behind a wall; in place where there is none.

    Args:
        wall: One of `walls`, or "none".
        scene: What the command sees.
        place: A directory of the host for this run, in which `root` is an empty directory.
        command: What to run.
    """
    if wall not in _WALLS:
        return [*command]
    program, *options = _WALLS[wall][1](scene, place)
    return [shutil.which(program) or program, *options, *command]
