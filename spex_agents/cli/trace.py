"""``spex trace``: what a real model writes, recorded for the virtual clock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spex_agents.bench.figures import several
from spex_agents.bench.questions import QUESTIONS
from spex_agents.bench.trace import record
from spex_agents.cli import options
from spex_agents.cli.exits import exit_codes, interruptible
from spex_agents.cli.policies import policy_of
from spex_agents.cli.servers import takes_server
from spex_agents.engines.simulated.trace import dump
from spex_agents.errors import SettingsError
from spex_agents.named import make_engine, measured_config, run_with
from spex_agents.search import Limits
from spex_agents.speculation.config import Speculation

if TYPE_CHECKING:
    from spex_agents.engines.openai.settings import ServerSettings

trace = typer.Typer(help="Record what a model writes, to replay it.", no_args_is_help=True)


@trace.command("record")
@takes_server
def record_trace(
    question: options.Questions = None,
    *,
    out: Annotated[Path, typer.Option(help="File to write, a JSON object a thought.")],
    policy: options.PolicyName = "rebase",
    width: options.Width = None,
    rollouts: options.Rollouts = None,
    depth: options.Depth = 8,
    step_tokens: options.StepTokens = 64,
    seeds: Annotated[int, typer.Option(help="Searches for each question.")] = 1,
    reward: options.RewardName = None,
    engine: options.EngineName = "embedded",
    model: options.Model = None,
    api_key: options.ApiKey = None,
    server: ServerSettings,
) -> None:
    """Record every thought that real searches write, for ``spex bench sim --world FILE``."""
    with exit_codes():
        if not out.parent.is_dir():
            raise SettingsError(f"out={str(out)!r}: there is no directory {str(out.parent)!r}")
        opened = make_engine(engine, model, api_key, server=server)
        config = measured_config(
            opened,
            policy_of(policy, width=width, rollouts=rollouts),
            reward,
            Limits(depth=depth, step_tokens=step_tokens),
            Speculation(),
        )

        async def run() -> str:
            async with opened:
                return dump(
                    await record(
                        config,
                        question or QUESTIONS,
                        seeds=seeds,
                        progress=lambda asked, thoughts: typer.echo(
                            f"{several(thoughts, 'thought')}: {asked}", err=True
                        ),
                    )
                )

        out.write_text(run_with(opened, interruptible(run())), encoding="utf-8")
