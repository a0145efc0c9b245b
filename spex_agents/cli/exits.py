"""Exit codes: 0 answered, 1 no answer, 2 bad input, 3 something failed, 130 interrupted."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer
from typer.main import get_command

from spex_agents.bench.figures import several
from spex_agents.cli.words import as_typed
from spex_agents.errors import SettingsError, SpexError

if TYPE_CHECKING:
    from spex_agents.speculation.result import Result

T = TypeVar("T")

INTERRUPTED = 130
CURSOR = "\x1b[?25h"
"""Shows it again, where a live view has hidden it."""


@contextmanager
def exit_codes(line: typer.Typer | None = None) -> Iterator[None]:
    """Turn what is known to go wrong into one line and an exit code.

    Args:
        line: The command line whose options the error is told in; ``spex`` by default.
    """
    try:
        yield
    except SpexError as error:
        from spex_agents.cli import app  # noqa: PLC0415 (which is made of commands that use this)

        typer.echo(f"error: {as_typed(str(error), get_command(line or app))}", err=True)
        if error.partial is not None and len(error.partial.tree):
            typer.echo(f"best so far: {_best(error.partial)}", err=True)
        raise typer.Exit(2 if isinstance(error, SettingsError) else 3) from error
    except KeyboardInterrupt as error:
        _at_the_next(partial(_end_at_once, b""))  # threads may still be waited for
        typer.echo("interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from error


async def interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Await `work`, which Ctrl-C cancels, so that it ends what it has begun elsewhere.

    Pressed once more, Ctrl-C ends the process: what is waited for may never come.

    Args:
        work: What `asyncio.run` or the like has for its main task.
    """
    cancel = signal.getsignal(signal.SIGINT)  # which asyncio has set
    if not callable(cancel):
        return await work

    def once(number: int, frame: FrameType | None) -> None:
        _at_the_next(partial(_end_at_once, b"interrupted\n"))
        cancel(number, frame)

    _at_the_next(once)
    try:
        return await work
    finally:
        if signal.getsignal(signal.SIGINT) is once:
            signal.signal(signal.SIGINT, cancel)


def end_interrupted() -> NoReturn:
    """End now that all is closed, not once threads have ended: another Ctrl-C would kill these."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(INTERRUPTED)


def _at_the_next(handle: Callable[[int, FrameType | None], None]) -> None:
    """Handle the next Ctrl-C so; only the main thread is told of any."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, handle)


def _end_at_once(line: bytes, number: int, frame: FrameType | None) -> None:
    shown = CURSOR.encode() if sys.stderr.isatty() else b""
    os.write(sys.stderr.fileno(), shown + line)
    os._exit(INTERRUPTED)


def _best(result: Result) -> str:
    """In one line what a search had come to, that an error has ended."""
    answer = "no answer" if result.answer is None else " ".join(result.answer.split())
    tokens = sum(thought.tokens for thought in result.tree.thoughts.values())
    return f"{answer} ({several(len(result.tree), 'thought')}, {several(tokens, 'token')})"
