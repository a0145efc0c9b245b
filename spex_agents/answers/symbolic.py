r"""Mathematics through math-verify, in a process of its own that can be killed.

What a model or a person writes may keep sympy busy for ever, or take all memory, and a thread could
not be stopped. The process is started at first need, answers one question after another, and ends
with this one. It is killed by its own processor time, so that a busy machine changes no answer.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from threading import Lock
from typing import Any

CPU_SECONDS = 5.0
_WALL_SECONDS = 120.0  # for a process that gets no time, or was stopped
_BYTES = 2 << 30

_PROGRAM = """
import json, logging, resource, signal, sys
logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that it has no time limit
from math_verify import parse, verify
signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end ends the input
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)

def read(text):
    return parse(f"${text.strip('$ ')}$", parsing_timeout=None)

def form(text):
    parsed = read(text)
    return None if not parsed or isinstance(parsed[0], str) else str(parsed[0])

def equal(given, known):
    given = read(given)
    return [verify(read(one), given, timeout_seconds=None) for one in known]

for line in sys.stdin:
    name, seconds, args = json.loads(line)
    signal.setitimer(signal.ITIMER_PROF, seconds)  # at its end the process is killed
    try:
        found = {"form": form, "equal": equal}[name](*args)
    except MemoryError:
        break
    except Exception:
        found = None
    signal.setitimer(signal.ITIMER_PROF, 0)
    print(json.dumps(found), flush=True)
"""


def form(mathematics: str, *, seconds: float | None = None) -> str | None:
    r"""What sympy makes of LaTeX or plain mathematics; None if nothing, or not within `seconds`.

    Blocks: call it off the event loop.

    Args:
        mathematics: One expression.
        seconds: Of processor time; None for `CPU_SECONDS`.

    Example:
        >>> form(r"1 + x^2"), form("x_{" * 60 + "1" + "}" * 60, seconds=0.1)
        ('x**2 + 1', None)
    """
    found = _process.ask("form", seconds, mathematics)
    return found if isinstance(found, str) else None


def equal(given: str, known: Sequence[str], *, seconds: float | None = None) -> tuple[bool, ...]:
    r"""Which of `known` math-verify takes for equal to `given`; none if it needs longer.

    Blocks: call it off the event loop.

    Args:
        given: One expression.
        known: Those to compare it with.
        seconds: Of processor time, for all of them; None for `CPU_SECONDS`.

    Example:
        >>> equal("2x + 1", ["1 + 2x", "2x - 1"])
        (True, False)
    """
    found = _process.ask("equal", seconds, given, list(known))
    return tuple(found) if isinstance(found, list) else (False,) * len(known)


class _Process:
    """The process, or none; one question at a time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: subprocess.Popen[bytes] | None = None

    def ask(self, name: str, seconds: float | None, *args: Any) -> Any:
        """The answer, or None if there is none in time."""
        with self._lock:
            if self._running is not None and self._running.poll() is not None:
                self._stop()  # it was killed from outside
            process = self._running or self._start()
            line = None
            try:
                assert process.stdin is not None  # noqa: S101 (for the type checker)
                process.stdin.write(
                    json.dumps([name, seconds or CPU_SECONDS, args]).encode() + b"\n"
                )
                process.stdin.flush()
                line = self._line(process)
            except BrokenPipeError:
                pass  # it ended: as if it had not answered
            finally:
                if not line:
                    self._stop()
            return json.loads(line) if line else None

    def _line(self, process: subprocess.Popen[bytes]) -> bytes:
        """The next line it writes; empty if it ends, or does not write in time."""
        assert process.stdout is not None  # noqa: S101 (as above)
        ready, _, _ = select.select([process.stdout], [], [], _WALL_SECONDS)
        return process.stdout.readline() if ready else b""

    def _start(self) -> subprocess.Popen[bytes]:
        self._running = subprocess.Popen(  # noqa: S603 (a fixed program)
            [sys.executable, "-c", _PROGRAM, str(_BYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        return self._running

    def _stop(self) -> None:
        process, self._running = self._running, None
        if process is not None:
            process.kill()
            process.communicate()

    def close(self) -> None:
        """End it; the next question starts another."""
        with self._lock:
            self._stop()

    def forget(self) -> None:
        """In a forked child: the process is the parent's."""
        self._lock, self._running = Lock(), None


_process = _Process()
atexit.register(_process.close)
os.register_at_fork(after_in_child=_process.forget)
