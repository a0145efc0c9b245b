"""The program of the process that `symbolic` asks: it forks a child for each answer."""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import time

from spex_agents.answers.algebra import algebra
from spex_agents.answers.reader import read

_WALL_SECONDS = 120.0  # for a child that gets no time, or was stopped


def serve(most: int) -> None:
    """Answer the lines of the standard input until it ends.

    A line is ``[number, seconds, answer]``, and its reply ``[number, whether it ended, form]``.

    Args:
        most: Bytes that a child may take.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends the input
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    algebra("value", "1 + x")  # loads what is loaded late, before anything is forked
    children: dict[int, tuple[int, int, float]] = {}
    unread = b""
    with selectors.DefaultSelector() as ready:
        ready.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select(1.0):
                if key.fd == 0:
                    if not (new := os.read(0, 1 << 16)):
                        for pid, *_ in children.values():
                            os.kill(pid, signal.SIGKILL)
                        return
                    *lines, unread = (unread + new).split(b"\n")
                    for line in lines:
                        number, seconds, answer = json.loads(line)
                        pipe, pid = _begin(seconds, answer, [0, *children])
                        children[pipe] = (pid, number, time.monotonic())
                        ready.register(pipe, selectors.EVENT_READ)
                else:
                    ready.unregister(key.fd)
                    pid, number, _ = children.pop(key.fd)
                    _end(key.fd, pid, number)
            for pid, _, begun in children.values():
                if time.monotonic() - begun > _WALL_SECONDS:
                    os.kill(pid, signal.SIGKILL)


def _begin(seconds: float, answer: str, others: list[int]) -> tuple[int, int]:
    """Fork a child that writes the form of `answer` to a pipe."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            for other in (reading, *others):
                os.close(other)
            signal.setitimer(signal.ITIMER_PROF, seconds)  # at its end the process is killed
            found = json.dumps(read(answer, algebra))
            os.write(writing, found.encode() if len(found) < 4000 else b"null")
            os._exit(0)
        except MemoryError:
            os._exit(1)
        except Exception:  # whatever sympy raises: this answer has no form
            os.write(writing, b"null")
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    return reading, pid


def _end(pipe: int, pid: int, number: int) -> None:
    found = os.read(pipe, 1 << 12)
    os.close(pipe)
    os.waitpid(pid, 0)
    reply = [number, bool(found), json.loads(found) if found else None]
    os.write(1, json.dumps(reply).encode() + b"\n")
