"""``spex bench predictor``."""

from __future__ import annotations

from json import dumps

import typer

from spex_agents.cli import options
from spex_agents.cli.exits import exit_codes


def predictor(*, json: options.Json = False) -> None:
    """What foreseeing costs on trees of about a thousand thoughts, in milliseconds."""
    with exit_codes():
        from spex_agents.bench.predictor import SEARCHES, measure  # noqa: PLC0415 (--help)
        from spex_agents.bench.report import cost_table, show  # noqa: PLC0415 (as above)

        costs = []
        for search, policy, depth in SEARCHES:
            costs.append(measure(search, policy, depth))
            typer.echo(f"{search}: {costs[-1].events} forecasts", err=True)
        if json:
            typer.echo(dumps({"rows": [cost.report() for cost in costs]}))
        else:
            show(cost_table(costs))
