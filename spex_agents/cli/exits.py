"""Exit codes: 0 answered, 1 no answer, 2 bad input, 3 something failed, 130 interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from spex_agents.errors import SettingsError, SpexError


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn what is known to go wrong into one line and an exit code."""
    try:
        yield
    except SpexError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, SettingsError) else 3) from error
    except KeyboardInterrupt as error:
        typer.echo("interrupted", err=True)
        raise typer.Exit(130) from error
