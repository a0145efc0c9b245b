"""``spex bench scaling``."""

from __future__ import annotations

from json import dumps
from typing import TYPE_CHECKING, Annotated

import typer

from spex_agents.bench.case import Case, depth_cap
from spex_agents.cli import options
from spex_agents.cli.exits import exit_codes
from spex_agents.cli.options import SEARCH, WORLD
from spex_agents.cli.policies import sized_policies
from spex_agents.search.registry import POLICIES

if TYPE_CHECKING:
    from spex_agents.bench.scaling import ScalingRow


def scaling(
    *,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join(POLICIES)}, or module:class for one of yours; repeatable. rstar and "
            "rebase if not given.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    width: options.Width = None,
    rollouts: Annotated[
        int | None,
        typer.Option(help="Of rstar: 10.", show_default=False, rich_help_panel=SEARCH),
    ] = None,
    workers: Annotated[
        list[int] | None,
        typer.Option(
            help="Servers; repeatable. 1, 2, 4 ... 64 if not given.",
            show_default=False,
            rich_help_panel=WORLD,
        ),
    ] = None,
    routing: Annotated[
        list[str] | None,
        typer.Option(
            help="prefix (as a cache-aware router) or least-load; repeatable. Both if not given.",
            show_default=False,
            rich_help_panel=WORLD,
        ),
    ] = None,
    queries: Annotated[
        int,
        typer.Option(help="Searches at a time for each worker.", rich_help_panel=SEARCH),
    ] = 8,
    seeds: Annotated[
        int,
        typer.Option(
            help="Runs on one worker; on n of them one n-th as many, at least one.",
            rich_help_panel=SEARCH,
        ),
    ] = 4,
    preset: options.Preset = "paper-7b",
    json: options.Json = False,
) -> None:
    """On the virtual clock: one to many servers with caches of their own, behind a router."""
    with exit_codes():
        from spex_agents.bench.report import scaling_table, show  # noqa: PLC0415 (--help)
        from spex_agents.bench.scaling import scaling as measure  # noqa: PLC0415 (as above)

        names = policy or ["rstar", "rebase"]
        policies = sized_policies(
            names, width=width, rollouts=rollouts or (10 if "rstar" in names else None)
        )
        cases = [
            Case(preset=preset, name=name, policy=chosen, depth=depth_cap(name), seeds=seeds)
            for name, chosen in zip(names, policies, strict=True)
        ]
        rows = list(
            measure(
                cases,
                workers=workers or [1, 2, 4, 8, 16, 32, 64],
                routings=routing or ["prefix", "least-load"],  # type: ignore[arg-type]
                queries=queries,
                progress=_tell,
            )
        )
        if json:
            typer.echo(dumps({"preset": preset, "rows": [row.report() for row in rows]}))
        else:
            show(scaling_table(rows, preset))


def _tell(row: ScalingRow) -> None:
    typer.echo(f"{row.policy}, {row.routing}, {row.workers} workers: {row.on_s:.1f} s", err=True)
