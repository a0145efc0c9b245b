"""The processors that this process may use."""

from __future__ import annotations

import os
from pathlib import Path


def processors(root: Path = Path("/")) -> int:
    """How many processors this process may use: its affinity, and no more than its quota.

    Args:
        root: Where ``proc`` and ``sys`` are. A container or a service is held to a quota by the
            Linux control groups that it is in, of version 1 or 2, however deeply they are nested.

    Example:
        >>> processors() >= 1
        True
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS or Windows
        count = os.cpu_count() or 1
    return max(1, min([count, *(round(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> list[float]:
    """Processors' worth of time that each of the process's control groups allows."""
    quotas = []
    for place in _groups(root):
        try:
            # Version 2: "max 100000" or "150000 100000"; version 1: -1 is no quota.
            if (told := place / "cpu.max").exists():
                quota, period = told.read_text().split()
            else:
                quota = (place / "cpu.cfs_quota_us").read_text()
                period = (place / "cpu.cfs_period_us").read_text()
            if quota != "max" and int(quota) > 0:
                quotas.append(int(quota) / int(period))
        except (OSError, ValueError):  # the topmost has none
            continue
    return quotas


def _groups(root: Path) -> list[Path]:
    """The directories of the process's control groups, and of those that these are in."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    places = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounted = root / "sys/fs/cgroup"
        for top in (mounted / controllers, mounted / "cpu") if controllers else (mounted,):
            group = top / name.lstrip("/")
            places += [group, *group.parents[: len(group.parts) - len(top.parts)]]
    return places
