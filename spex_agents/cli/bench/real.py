"""``spex bench real``."""

from __future__ import annotations

from functools import partial
from json import dumps
from typing import TYPE_CHECKING, Annotated

import typer

from spex_agents.bench.case import label
from spex_agents.bench.questions import QUESTIONS
from spex_agents.cli import options
from spex_agents.cli.exits import exit_codes, interruptible
from spex_agents.cli.policies import policy_of
from spex_agents.cli.servers import takes_server
from spex_agents.named import make_engine, measured_config, run_with
from spex_agents.search import Limits
from spex_agents.speculation.config import SearchConfig, Speculation

if TYPE_CHECKING:
    from spex_agents.bench.drafts import DraftComparison
    from spex_agents.bench.real import Comparison, Pair
    from spex_agents.engines.openai.settings import ServerSettings
    from spex_agents.named import AnyEngine


@takes_server
def real(
    question: options.Questions = None,
    *,
    policy: options.PolicyName = "rstar",
    width: options.Width = None,
    rollouts: options.Rollouts = None,
    depth: options.Depth = 8,
    step_tokens: options.StepTokens = 64,
    pairs: Annotated[
        int, typer.Option(help="Searches off and on, in alternating order.", min=1)
    ] = 5,
    reward: options.RewardName = None,
    aggregate: options.AggregateName = "last",
    engine: options.EngineName = "embedded",
    model: options.Model = None,
    api_key: options.ApiKey = None,
    draft_tokens: Annotated[
        int,
        typer.Option(
            help="Of the embedded engine: compare speculation of tokens, of thoughts, neither and "
            "both, with so many tokens drafted for a step; 0 leaves tokens out.",
            rich_help_panel=options.SPECULATION,
        ),
    ] = 0,
    threshold: options.Threshold = Speculation().threshold,
    waste: options.Waste = Speculation().waste,
    draws: options.Draws = Speculation().draws,
    json: options.Json = False,
    server: ServerSettings,
) -> None:
    """On a running engine, in real seconds: off and on in turn.

    Only an engine whose throughput grows with its batch can gain; a small model on two cores
    hardly does.
    """
    with exit_codes():
        from spex_agents.bench.drafts import compare_drafts  # noqa: PLC0415 (--help)
        from spex_agents.bench.real import compare  # noqa: PLC0415 (as above)
        from spex_agents.bench.report import draft_tables, real_table, show  # noqa: PLC0415

        chosen = policy_of(policy, width=width, rollouts=rollouts)
        name = label(policy, chosen)
        limits = Limits(depth=depth, step_tokens=step_tokens)
        ahead = Speculation(threshold=threshold, waste=waste, draws=draws)
        asked = question or QUESTIONS

        def config_of(opened: AnyEngine) -> SearchConfig:
            return measured_config(opened, chosen, reward, limits, ahead, aggregate=aggregate)

        plain = make_engine(engine, model, api_key, server=server)
        config = config_of(plain)

        async def thoughts() -> Comparison:
            async with plain:
                return await compare(config, asked, label=name, pairs=pairs, progress=_tell)

        async def thoughts_and_tokens() -> DraftComparison:
            async with (
                plain,
                make_engine(
                    engine, model, api_key, draft_tokens=draft_tokens, server=server
                ) as drafting,
            ):
                return await compare_drafts(
                    config,
                    config_of(drafting),
                    asked,
                    label=name,
                    rounds=pairs,
                    progress=partial(typer.echo, err=True),
                )

        if draft_tokens:
            both = run_with(plain, interruptible(thoughts_and_tokens()))
            report, tables = both.report(), draft_tables(both)
        else:
            one = run_with(plain, interruptible(thoughts()))
            report, tables = one.report(), [real_table(one)]
        if json:
            typer.echo(dumps(report))
        else:
            for table in tables:
                show(table)


def _tell(pair: Pair) -> None:
    typer.echo(f"off {pair.off_s:.1f} s, on {pair.on_s:.1f} s", err=True)
