r"""Formulas through sympy, each in a process of its own that can be killed.

What a model or a person writes may keep sympy busy for ever, or take all memory, and a thread could
not be stopped. A server process, started at first need, loads sympy once and forks a child for each
answer. Children are killed by their own processor time, so that a busy machine changes no answer.
Several run at once for a moment; whoever needs longer waits for a single place, so that nasty
answers wait for each other and nobody else does.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import RLock, Thread

from spex_agents.answers.forms import Form

CPU_SECONDS = 5.0
"""Of processor time for one answer."""
_MOMENT = 0.5  # seconds of the same; what needs longer begins again in the single place
_AT_ONCE = 4
_BYTES = 2 << 30
_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from spex_agents.answers.serving import serve
serve(int(sys.argv[2]))
"""
_TOP = str(Path(__file__).parents[2])


@dataclass(eq=False)
class _Asked:
    answer: str
    seconds: float
    future: Future[Form | None] = field(default_factory=Future)
    slow: bool = False


class _Server:
    """The process, or none, and what has been asked of it."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count()
        self._flying: dict[int, _Asked] = {}
        self._quick: deque[_Asked] = deque()
        self._slow: deque[_Asked] = deque()

    def ask(self, answer: str) -> Future[Form | None]:
        asked = _Asked(answer, CPU_SECONDS)
        with self._lock:
            self._quick.append(asked)
            self._send()
        return asked.future

    def _send(self) -> None:
        slow = sum(one.slow for one in self._flying.values())
        while self._quick and len(self._flying) - slow < _AT_ONCE:
            self._begin(self._quick.popleft())
        if self._slow and not slow:
            self._begin(self._slow.popleft())

    def _begin(self, asked: _Asked) -> None:
        number = next(self._numbers)
        self._flying[number] = asked
        seconds = asked.seconds if asked.slow else min(_MOMENT, asked.seconds)
        line = json.dumps([number, seconds, asked.answer]).encode() + b"\n"
        try:
            process = self._process or self._start()
            assert process.stdin is not None  # noqa: S101 (for the type checker)
            process.stdin.write(line)
            process.stdin.flush()
        except OSError:
            pass  # it has ended: its reader sees that too, and gives up what is under way

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(  # noqa: S603 (a fixed program)
            [sys.executable, "-c", _PROGRAM, _TOP, str(_BYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        Thread(target=self._read, args=[self._process], daemon=True, name="symbolic").start()
        return self._process

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101 (as above)
        for line in process.stdout:
            number, ended, form = json.loads(line)
            with self._lock:
                if (asked := self._flying.pop(number, None)) is not None:
                    self._ended(asked, ended, None if form is None else _form(*form))
                    self._send()
        process.wait()
        process.stdout.close()
        with suppress(OSError):  # what it has not read
            assert process.stdin is not None  # noqa: S101 (as above)
            process.stdin.close()
        with self._lock:
            if self._process is not process:
                return  # it was closed, or is a parent's
            self._process = None
            lost, self._flying = list(self._flying.values()), {}
            for asked in lost:  # once more each, alone: one of them may have brought it down
                self._ended(asked, False, None)
            self._send()

    def _ended(self, asked: _Asked, ended: bool, form: Form | None) -> None:
        if ended or asked.slow or asked.seconds <= _MOMENT:
            asked.future.set_result(form)
        else:
            asked.slow = True
            self._slow.append(asked)

    def close(self) -> None:
        """End it, and whatever it was asked; the next answer starts another."""
        with self._lock:
            process, self._process = self._process, None
            left = [*self._flying.values(), *self._quick, *self._slow]
            self._flying.clear()
            self._quick.clear()
            self._slow.clear()
        for asked in left:
            asked.future.set_result(None)
        if process is not None:
            process.kill()
            process.wait()


def _form(value: str, note: str, base: str, label: str, also: list[str]) -> Form:
    return Form(value, note, base, label, tuple(also))


_server = _Server()


def read(answer: str) -> Future[Form | None]:
    r"""The form of an answer with formulas in it; None if sympy needs more than `CPU_SECONDS`.

    Does not block.

    Example:
        >>> read("1 + x^2").result() == read("x^2 + 1").result()
        True
    """
    return _server.ask(answer)


def _close() -> None:
    _server.close()


def _forked() -> None:
    """In a forked child: the process is the parent's."""
    global _server  # noqa: PLW0603
    _server = _Server()


atexit.register(_close)
os.register_at_fork(after_in_child=_forked)
