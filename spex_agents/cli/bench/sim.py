"""``spex bench sim``."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from json import dumps
from typing import Annotated

import typer

from spex_agents.answers.registry import make_rule
from spex_agents.bench.case import Case, depth_cap
from spex_agents.bench.figures import several
from spex_agents.bench.searches import recorded
from spex_agents.bench.sim import Row, sweep
from spex_agents.bench.targets import TARGETS
from spex_agents.bench.trace import shipped_trace
from spex_agents.cli import options
from spex_agents.cli.exits import exit_codes
from spex_agents.cli.options import SEARCH, SPECULATION, WORLD
from spex_agents.cli.policies import sized_policies, with_models
from spex_agents.cli.recordings import pair_in, write_pair
from spex_agents.engines.simulated.trace import TraceWorld
from spex_agents.engines.simulated.world import World
from spex_agents.search.registry import POLICIES
from spex_agents.speculation.config import Speculation


def sim(
    *,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join(POLICIES)}, or module:class for one of yours; repeatable.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    width: options.Width = None,
    rollouts: options.Rollouts = None,
    models: Annotated[
        int,
        typer.Option(
            help="Models that write, of a policy that can ask for several (ab-mcts); the others "
            "take 2, 1/2, 3, 1/3 ... times as long for a token.",
            rich_help_panel=SEARCH,
        ),
    ] = 1,
    depth: Annotated[
        int | None,
        typer.Option(
            help="Thoughts in a path, at most: 10, of rstar 5.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    queries: Annotated[
        list[int] | None,
        typer.Option(
            help="Searches at a time (1); repeatable.", show_default=False, rich_help_panel=SEARCH
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each case.", rich_help_panel=SEARCH)] = 20,
    termination: options.Termination = "none",
    reward_latency: Annotated[
        list[float] | None,
        typer.Option(
            help="Seconds a reward takes (0.05); repeatable.",
            show_default=False,
            rich_help_panel=WORLD,
        ),
    ] = None,
    reward_spread: Annotated[
        float, typer.Option(help="Sigma of its log-normal spread.", rich_help_panel=WORLD)
    ] = 0.0,
    preset: options.Preset = "paper-7b",
    replicas: Annotated[
        int,
        typer.Option(help="Devices that share the requests evenly.", rich_help_panel=WORLD),
    ] = 1,
    acceptance_length: Annotated[
        float,
        typer.Option(
            help="Tokens a step yields by token-level speculative decoding, 1 (none) to 5.",
            rich_help_panel=WORLD,
        ),
    ] = 1.0,
    world: Annotated[
        str,
        typer.Option(
            help="Who writes the thoughts: synthetic, trace (recorded from a small model, comes "
            "with the package), or the file of a trace.",
            rich_help_panel=WORLD,
        ),
    ] = "synthetic",
    forecast: Annotated[
        str, typer.Option(help="replay, or paper: SPEX's rule.", rich_help_panel=SPECULATION)
    ] = "replay",
    threshold: options.Threshold = Speculation().threshold,
    waste: options.Waste = Speculation().waste,
    draws: options.Draws = Speculation().draws,
    allocation: Annotated[
        str, typer.Option(help="benefit, or paper: SPEX's.", rich_help_panel=SPECULATION)
    ] = "benefit",
    capacity: Annotated[
        str,
        typer.Option(
            help="Requests in flight at which nothing more is begun early: a number, slots (as "
            "many as the hardware runs) or online (to be found).",
            rich_help_panel=SPECULATION,
        ),
    ] = "slots",
    json: options.Json = False,
    record: options.RecordPair = None,
) -> None:
    """On the virtual clock: off, on, and with perfect foresight.

    A row for each policy, number of queries and reward latency. Without these, --width, --rollouts
    and --depth: a row for each of the project's targets.
    """
    with exit_codes():
        from spex_agents.bench.report import show, sim_table  # noqa: PLC0415 (--help needs none)

        rule = make_rule(termination)
        names = policy or ["rebase"]
        policies = sized_policies(names, width=width, rollouts=rollouts)
        if models != 1:
            policies = [with_models(each, models) for each in policies]
        base = Case(
            preset=preset,
            name=names[0],
            policy=policies[0],
            depth=10 if depth is None else depth,
            seeds=seeds,
            reward_spread=reward_spread,
            speculation=Speculation(
                forecast=forecast,  # type: ignore[arg-type]
                threshold=threshold,
                waste=waste,
                draws=draws,
            ),
            capacity=int(capacity) if capacity.isdecimal() else capacity,  # type: ignore[arg-type]
            allocation=allocation,  # type: ignore[arg-type]
            termination=rule,
            world=_world(world),
            replicas=replicas,
            acceptance_length=acceptance_length,
        )
        targets = []
        if any((policy, queries, reward_latency)) or {width, rollouts, depth} != {None}:
            cases = [
                replace(
                    base,
                    name=name,
                    policy=chosen,
                    depth=depth_cap(name) if depth is None else depth,
                    queries=together,
                    reward_latency=latency,
                )
                for (name, chosen), latency, together in product(
                    zip(names, policies, strict=True), reward_latency or [0.05], queries or [1]
                )
            ]
        else:
            targets = list(TARGETS)
            cases = [target.case(base) for target in targets]
        if record is not None:
            with pair_in(record) as files:
                write_pair(files, recorded(cases[0], None), recorded(cases[0], cases[0].ahead()))
        rows = sweep(cases, _tell)
        if json:
            reports = [row.report() for row in rows]
            for report, target in zip(reports, targets, strict=False):
                report |= {"goal_speedup": target.speedup, "goal_oracle_share": target.share}
            settings = {
                "preset": preset,
                "world": world,
                "forecast": forecast,
                "threshold": threshold,
                "waste": waste,
                "draws": draws,
                "allocation": allocation,
                "capacity": capacity,
                "termination": rows[0].termination,
                "lossy": rows[0].lossy,
                "acceptance_length": acceptance_length,
                "reward_spread": reward_spread,
                "models": models,
            }
            typer.echo(dumps({**settings, "rows": reports}))
        else:
            show(sim_table(rows, [target.goal() for target in targets]))


def _world(name: str) -> World | None:
    match name:
        case "synthetic":
            return None
        case "trace":
            return shipped_trace()
        case file:
            return TraceWorld.load(file)


def _tell(row: Row) -> None:
    typer.echo(
        f"{row.search}, {several(row.queries, 'query', 'queries')}, "
        f"reward {row.reward_latency:g} s: {row.speedup:.2f} times as fast",
        err=True,
    )
