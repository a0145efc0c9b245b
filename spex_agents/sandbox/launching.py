"""The way to the wall: into the control group, to another user, and what that user may see.

A wall that root builds is built by another user, who owns nothing: should a program find a way out,
it is nobody there, and limits that the kernel has for users hold it, which they do not for root.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from spex_agents.sandbox.isolation import Scene, walled

_MANY = range(0x70000000, 0x70010000)
"""Users that no distribution gives to anybody; where they are not mapped, those of systemd for
services whose users come and go."""
_FEW = range(61184, 65519)

_MOUNTED = Path("/mnt")
"""Where another user finds the directory of its run, if the way to it is closed to that user."""

# Arguments: the control group's files, --, the working directory's kind (none, overlay, copy), for
# the latter two the run's directory, the layers' directory, their names, further options, the size
# and the owner of what is written; how many binds follow (from, to); the command.
_LAUNCH = r"""
set -eu
while [ "$1" != -- ]; do echo 0 > "$1"; shift; done
kind=$2; shift 2
if [ "$kind" != none ]; then
  place=$1; layers=$2; names=$3; options=$4; size=$5; owner=$6; shift 6
  mount -t tmpfs -o "size=$size,mode=755" tmpfs "$place/top"
  mkdir "$place/top/upper" "$place/top/work" "$place/top/merged"
  chown "$owner" "$place/top/upper" "$place/top/merged"
  if [ "$kind" = overlay ]; then
    cd "$layers"
    mount -t overlay overlay "$place/top/merged" \
      -o "lowerdir=$names,upperdir=$place/top/upper,workdir=$place/top/work$options"
    cd /
  else
    cp -a "$layers/$names/." "$place/top/merged"
  fi
fi
count=$1; shift
while [ "$count" -gt 0 ]; do mount --rbind "$1" "$2"; shift 2; count=$((count - 1)); done
case $kind in
  none) exec "$@" ;;
  overlay) written=upper ;;
  copy) written=merged ;;
esac
"$@"
cp -a "$place/top/$written/." "$place/written"
"""


class Layers(NamedTuple):
    """The files of a workspace, to be its working directory.

    Attributes:
        directory: Of the host, where they are.
        names: Of the layers in it, the top one first.
        overlay: Whether to lay them over each other; else there is one layer, which is copied.
        size: Bytes that may be written, those that are copied included.
        user: Who owns them.
    """

    directory: Path
    names: Sequence[str]
    overlay: bool
    size: int
    user: int


def other_user() -> int | None:
    """A user to run as, where this process is root: one of its own for each call; else None.

    Root of a user namespace that is somebody else outside is left as it is where no other user is
    mapped: there it is not root.

    Raises:
        PermissionError: This is the system's root, and there is no other user.
    """
    if os.geteuid() != 0:
        return None
    maps = [_ranges(Path("/proc/self", name)) for name in ("uid_map", "gid_map")]
    for wanted in (_MANY, _FEW):
        if all(any(_within(wanted, one) for one, _ in ranges) for ranges in maps):
            return secrets.choice(wanted)
    if any(inside.start == 0 and outside == 0 for inside, outside in maps[0]):
        raise PermissionError("root, and no other user is mapped here")
    return None


def _ranges(file: Path) -> list[tuple[range, int]]:
    rows = [map(int, line.split()) for line in file.read_text().splitlines()]
    return [(range(inside, inside + count), outside) for inside, outside, count in rows]


def _within(inner: range, outer: range) -> bool:
    return outer.start <= inner.start and inner.stop <= outer.stop


def launched(
    wall: str,
    scene: Scene,
    place: Path,
    command: Sequence[str],
    *,
    groups: Sequence[Path],
    user: int | None,
    layers: Layers | None = None,
) -> list[str]:
    """`command` behind a wall, and all that comes before it.

    Args:
        wall: As of `walled`.
        scene: What the program sees.
        place: A directory for this run alone, `user`'s.
        command: What to run behind the wall.
        groups: Files of the control group, for the first process to join by.
        user: Whom to become before the wall; None to stay who one is.
        layers: The working directory, where it is not empty.
    """
    closed = user is not None and not _open_to_all(place.parent)
    found = _MOUNTED if closed else place
    binds: list[str] = []
    shown: dict[str, Path] = {}
    for number, (path, source) in enumerate(scene.shown.items()):
        shown[path] = source
        if source.is_relative_to(place):
            shown[path] = found / source.relative_to(place)
        elif user is not None and (source.is_relative_to(_MOUNTED) or not _open_to_all(source)):
            staged = place / str(number)
            staged.mkdir() if source.is_dir() else staged.touch()
            binds += [str(source), str(staged)]
            shown[path] = found / staged.name
    scene = scene._replace(shown=shown)
    become = [] if wall == "none" else ["setpriv", "--pdeathsig", "KILL", "--no-new-privs"]
    if user is not None:
        become += [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    work = ["none"]
    if layers is not None:
        scene = scene._replace(work=found / "top" / "merged")
        for name in ("top", "written"):
            (place / name).mkdir()
        options = "" if user is not None else ",userxattr"
        owner = "0:0" if user is None else f"{user}:{user}"  # of the namespace, where one is made
        work = ["overlay" if layers.overlay else "copy", str(place), str(layers.directory)]
        work += [":".join(layers.names), options, str(layers.size), owner]
    binds += [str(place), str(_MOUNTED)] if closed else []
    behind = walled(wall, scene, found, command)
    if not (groups or binds or layers or user is not None):
        return behind
    apart = []
    if binds or layers is not None:
        apart = ["unshare", "--mount", "--propagation", "private"]
        apart += [] if user is not None else ["--user", "--map-root-user"]
    launch = ["/bin/sh", "-c", _LAUNCH, "sh", *map(str, groups), "--", *work]
    return [*apart, *launch, str(len(binds) // 2), *binds, *become, *behind]


def _open_to_all(path: Path) -> bool:
    """Whether every user may read a file, or list a directory, and come to it."""
    need = stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0)
    resolved = path.resolve()
    return resolved.stat().st_mode & need == need and all(
        parent.stat().st_mode & stat.S_IXOTH for parent in resolved.parents
    )
