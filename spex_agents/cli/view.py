"""``spex view``: a page with one run, or two beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spex_agents.cli.exits import exit_codes
from spex_agents.errors import SettingsError


def view(
    runs: Annotated[
        list[Path],
        typer.Argument(help="One or two files of `spex solve --record`.", metavar="RUN [OTHER]"),
    ],
    *,
    out: Annotated[Path, typer.Option(help="The page, one HTML file.")],
) -> None:
    """Write a page with the tree, the timeline and the ledger of a run, or of two to compare."""
    with exit_codes():
        from spex_agents.cli.recordings import writable  # noqa: PLC0415 (--help needs none of it)
        from spex_agents.view import read_recording, run_page  # noqa: PLC0415

        if len(runs) > 2:
            raise SettingsError(f"{len(runs)} runs: give one, or two to compare")
        page = run_page([read_recording(run) for run in runs])
        with writable(out, "out") as file:
            file.write(page.html)
