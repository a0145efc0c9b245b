"""Exit codes: 0 answered, 1 no answer, 2 bad input, 3 something failed, 130 interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from typer.main import get_command

from spex_agents.bench.figures import several
from spex_agents.cli.words import as_typed
from spex_agents.errors import SettingsError, SpexError

if TYPE_CHECKING:
    from spex_agents.speculation.result import Result


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
        typer.echo("interrupted", err=True)
        raise typer.Exit(130) from error


def _best(result: Result) -> str:
    """In one line what a search had come to, that an error has ended."""
    answer = "no answer" if result.answer is None else " ".join(result.answer.split())
    tokens = sum(thought.tokens for thought in result.tree.thoughts.values())
    return f"{answer} ({several(len(result.tree), 'thought')}, {several(tokens, 'token')})"
