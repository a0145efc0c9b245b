"""Runs one Python program behind a wall and under caps."""

from __future__ import annotations

import threading
from typing import Final

from spex_agents.errors import SettingsError
from spex_agents.loops import Threads
from spex_agents.sandbox.isolation import CODE, Isolation, check_isolation, missing, walls
from spex_agents.sandbox.limits import Outcome, SandboxLimits
from spex_agents.sandbox.process import Job, WallFailed, perform, python
from spex_agents.waiting import in_thread

_PROGRAM = "program.py"
_PROBE_LIMITS = SandboxLimits(seconds=20.0, memory=256 << 20, processes=16)
_PLACES: Final = 32
_RUNS = Threads("spex-sandbox", _PLACES)
"""Runs at a time in this process; more wait for a place. Nothing else waits in these threads."""
_ATTEMPTS = 2
_STANDING: set[str] = set()
"""Walls that have stood. One that did not is tried again: what was wrong may have passed."""


def why_not(wall: str) -> str | None:
    """Why a wall does not stand on this system; None if it does."""
    if wall in _STANDING:
        return None
    if programs := missing(wall):
        return f"there is no program {', '.join(programs)}"
    try:
        probe = Job(command=[*python(), "-c", ""], limits=_PROBE_LIMITS)
        outcome = perform(probe, wall, threading.Event())
    except (OSError, WallFailed, SettingsError) as error:
        return str(error)
    if not outcome.ok:
        return outcome.stderr.strip().rpartition("\n")[2] or f"status {outcome.status}"
    _STANDING.add(wall)
    return None


def chosen(isolation: Isolation) -> str:
    """The wall to use here: "bubblewrap", "namespaces" or "none".

    Raises:
        SettingsError: There is none of that name, or it does not work on this system.
    """
    check_isolation(isolation)
    if isolation == "none":
        return "none"
    faults = []
    for name in walls(isolation):
        if (fault := why_not(name)) is None:
            return name
        faults.append(f"{name}: {fault}")
    raise SettingsError(
        f"isolation={isolation!r}: this system cannot run a program apart from itself "
        f"({'; '.join(faults)}). Install bubblewrap and libseccomp, allow user namespaces, and, as "
        "root, let control groups be written or more than one user be mapped; or, for programs you "
        "trust only, choose isolation='none', which caps time and memory and no more"
    )


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
    job = Job(
        command=[*python(), f"{CODE}/{_PROGRAM}"],
        stdin=stdin.encode("utf-8", "surrogateescape"),
        limits=limits,
        files={_PROGRAM: code},
    )
    return await performed(job, isolation)


async def performed(job: Job, isolation: Isolation) -> Outcome:
    """Run a job in a thread of the sandbox's own, behind a wall that stands.

    Raises:
        SettingsError: This system offers no such isolation.
    """
    check_isolation(isolation)
    stopped = threading.Event()
    return await in_thread(
        _perform, job, isolation, stopped, given_up=stopped.set, executor=_RUNS()
    )


def _perform(job: Job, isolation: Isolation, stopped: threading.Event) -> Outcome:
    for attempt in range(_ATTEMPTS):
        wall = chosen(isolation)
        try:
            return perform(job, wall, stopped)
        except WallFailed as error:  # since it stood: look again which one does
            if wall == "none" or stopped.is_set() or attempt == _ATTEMPTS - 1:
                raise SettingsError(f"isolation={isolation!r}: {wall}: {error}") from error
            _STANDING.discard(wall)
    raise AssertionError
