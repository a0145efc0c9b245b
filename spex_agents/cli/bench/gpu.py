"""``spex bench gpu``."""

from __future__ import annotations

import asyncio
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer

from spex_agents.cli import options
from spex_agents.cli.exits import exit_codes, interruptible
from spex_agents.cli.options import ENGINE, SEARCH
from spex_agents.errors import SettingsError


def gpu(
    *,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Model to serve: a directory, or a name on the model hub.",
            show_default=False,
            rich_help_panel=ENGINE,
        ),
    ] = None,
    reward: Annotated[
        str | None,
        typer.Option(
            help="Reward model beside it, on the same GPU.",
            show_default=False,
            rich_help_panel=ENGINE,
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="Address of a policy that SGLang serves already.",
            show_default=False,
            rich_help_panel=ENGINE,
        ),
    ] = None,
    reward_engine: Annotated[
        str | None,
        typer.Option(
            help="Of a reward model that it serves.", show_default=False, rich_help_panel=ENGINE
        ),
    ] = None,
    profile: Annotated[
        str,
        typer.Option(
            help="How the reward model wants a path written; one of `rewards.PROFILES`.",
            rich_help_panel=ENGINE,
        ),
    ] = "skywork-o1-open-prm",
    queries: Annotated[
        list[int] | None,
        typer.Option(
            help="Searches at the same time; repeatable. 1, 8 and 64 if not given.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    pairs: Annotated[int, typer.Option(help="Off and on, so often.", rich_help_panel=SEARCH)] = 2,
    rollouts: Annotated[int, typer.Option(help="Of rStar.", rich_help_panel=SEARCH)] = 10,
    width: Annotated[int, typer.Option(help="Of REBASE.", rich_help_panel=SEARCH)] = 16,
    depth: options.Depth = 8,
    step_tokens: options.StepTokens = 64,
    vocabulary: Annotated[
        int, typer.Option(help="Tokens that the sampler draws from.", rich_help_panel=ENGINE)
    ] = 151_936,
    minutes: Annotated[
        float,
        typer.Option(help="Begin no search that would go beyond.", rich_help_panel=SEARCH),
    ] = 15,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would be done.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the JSON there, after each result.", show_default=False),
    ] = None,
    json: options.Json = False,
) -> None:
    """A quarter of an hour on a GPU: searches off and on, seeds, two GPUs where there are two.

    Serves the models, measures, and ends them. It runs on a CPU as well, with a small model.
    """
    with exit_codes():
        from spex_agents.bench.gpu import (  # noqa: PLC0415 (--help)
            QUERIES,
            GpuRun,
            measure,
        )
        from spex_agents.bench.machine import two_gpus  # noqa: PLC0415 (as above)
        from spex_agents.bench.report import gpu_table, show  # noqa: PLC0415 (as above)
        from spex_agents.rewards.asking.profiles import PROFILES  # noqa: PLC0415 (as above)
        from spex_agents.search import Limits  # noqa: PLC0415 (as above)

        if out is not None and not out.parent.is_dir():
            raise SettingsError(f"out={str(out)!r}: there is no directory {out.parent}")
        if profile not in PROFILES:
            raise SettingsError(f"profile={profile!r}: must be one of {', '.join(PROFILES)}")
        run = GpuRun(
            policy=policy,
            reward=reward,
            profile=PROFILES[profile],
            engine=engine,
            reward_engine=reward_engine,
            queries=tuple(queries or QUERIES),
            pairs=pairs,
            rollouts=rollouts,
            width=width,
            vocabulary=vocabulary,
            limits=Limits(depth=depth, step_tokens=step_tokens),
            minutes=minutes,
            two=policy is not None and two_gpus(),
        )
        if plan:
            typer.echo(dumps(run.plan()) if json else "\n".join(run.plan()))
            return

        so_far: dict[str, Any] = {}

        def keep(report: dict[str, Any]) -> None:
            so_far.update(report)
            if out is not None:
                out.write_text(dumps(report, indent=1) + "\n")

        try:
            keep(
                asyncio.run(
                    interruptible(measure(run, lambda line: typer.echo(line, err=True), keep))
                )
            )
        finally:  # a server that fails under the largest load costs that load alone
            if so_far and json:
                typer.echo(dumps(so_far))
            elif so_far:
                show(gpu_table(so_far))
