"""``spex bench never-slower``."""

from __future__ import annotations

from json import dumps
from typing import TYPE_CHECKING, Annotated

import typer

from spex_agents.cli import options
from spex_agents.cli.exits import exit_codes
from spex_agents.cli.options import SEARCH, WORLD
from spex_agents.cli.policies import policy_of
from spex_agents.search.registry import POLICIES

if TYPE_CHECKING:
    from spex_agents.bench.never_slower import Promise


def never_slower(
    *,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join(POLICIES)}, or module:class for one of yours; repeatable. All but "
            "yours if not given.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    world: Annotated[
        list[str] | None,
        typer.Option(
            help="One of the table's; repeatable. All if not given.",
            show_default=False,
            rich_help_panel=WORLD,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Searches of each row.", rich_help_panel=SEARCH)] = 10,
    json: options.Json = False,
) -> None:
    """On the virtual clock: every policy where requests, rewards or decisions cost, off and on.

    The worst seed should be no slower than 0.97, the median no slower than 1.
    """
    with exit_codes():
        from spex_agents.bench.never_slower import WORLDS, measure  # noqa: PLC0415 (--help)
        from spex_agents.bench.report import (  # noqa: PLC0415 (as above)
            calibration_table,
            promise_table,
            show,
        )

        rows, said = measure(
            policy or list(POLICIES),
            world or list(WORLDS),
            seeds=seeds,
            make=policy_of,
            progress=_tell,
        )
        if json:
            reports = [row.report() for row in rows]
            typer.echo(dumps({"rows": reports, "calibration": [one.report() for one in said]}))
        else:
            show(promise_table(rows))
            show(calibration_table(said))


def _tell(row: Promise) -> None:
    typer.echo(
        f"{row.world}, {row.policy}: {row.median:.2f} times as fast, at least {row.worst:.2f}",
        err=True,
    )
