"""``spex solve`` and ``spex demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spex_agents.answers.registry import make_rule
from spex_agents.answers.votes import check_vote
from spex_agents.cli import options
from spex_agents.cli.exits import exit_codes
from spex_agents.cli.policies import policy_of
from spex_agents.cli.servers import takes_server
from spex_agents.engines.base import Sampling
from spex_agents.engines.prompts import PromptTemplate
from spex_agents.named import make_engine, make_engines, make_reward
from spex_agents.search.limits import Limits
from spex_agents.search.registry import over_models
from spex_agents.speculation.config import Failures, SearchConfig, Speculation
from spex_agents.speculation.questions import check_question

if TYPE_CHECKING:
    from spex_agents.engines.openai.settings import ServerSettings


@takes_server
def solve(
    question: Annotated[str, typer.Argument(help="What to answer.")],
    *,
    policy: options.PolicyName = "rebase",
    width: options.Width = None,
    rollouts: options.Rollouts = None,
    reward: options.RewardName = None,
    aggregate: options.AggregateName = "last",
    vote: options.VoteName = "weighted",
    weight: options.WeightName = "last",
    merge: Annotated[
        str | None,
        typer.Option(
            help="Score candidates of the same text, or of the same answer, once: text, answer.",
            rich_help_panel=options.SEARCH,
        ),
    ] = None,
    termination: options.Termination = "exact",
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="End at the first path that fails, rather than go on without it.",
            rich_help_panel=options.SEARCH,
        ),
    ] = False,
    depth: options.Depth = Limits().depth,
    step_tokens: options.StepTokens = Limits().step_tokens,
    path_tokens: options.PathTokens = Limits().path_tokens,
    shots: options.Shots = None,
    seed: options.Seed = 0,
    speculation: Annotated[
        bool,
        typer.Option(help="Begin likely thoughts early, or not.", rich_help_panel=options.SEARCH),
    ] = True,
    engine: options.EngineName = "embedded",
    model: options.Model = None,
    api_key: options.ApiKey = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            help="Another model that writes: NAME=ENGINE or NAME=ENGINE=MODEL, as often as there "
            "are more. For policies over several models (ab-mcts, ab-mcts-m).",
            show_default=False,
            rich_help_panel=options.ENGINE,
        ),
    ] = None,
    temperature: options.Temperature = Sampling().temperature,
    top_p: options.TopP = Sampling().top_p,
    top_k: options.TopK = Sampling().top_k,
    json: options.Json = False,
    record: Annotated[
        Path | None,
        typer.Option(help="Write all that happens to this file, for `spex view`."),
    ] = None,
    server: ServerSettings,
) -> None:
    """Search for the answer of a question."""
    with exit_codes():
        from spex_agents.problems.files import read_examples  # noqa: PLC0415 (--help)

        check_question(question)
        chosen = policy_of(policy, width=width, rollouts=rollouts)
        limits = Limits(step_tokens=step_tokens, path_tokens=path_tokens, depth=depth)
        sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k)
        opened = make_engine(engine, model, api_key, server=server)
        others = make_engines(also or (), engine)
        config = SearchConfig(
            engine=opened,
            policy=over_models(chosen, others),
            engines=others,
            reward=make_reward(
                reward, opened, sampling=sampling, limits=limits, aggregate=aggregate
            ),
            limits=limits,
            sampling=sampling,
            template=PromptTemplate(examples=() if shots is None else read_examples(shots)),
            vote=check_vote(vote),
            weight=weight,  # type: ignore[arg-type]
            merge=merge,  # type: ignore[arg-type]
            termination=make_rule(termination),
            failures=None if strict else Failures(),
            speculation=Speculation.usual(opened, *others.values()) if speculation else None,
        )
        from spex_agents.cli.run import run  # noqa: PLC0415 (--help needs no terminal pictures)

        answered = run(config, opened, policy, question, seed=seed, json=json, record=record)
    raise typer.Exit(0 if answered else 1)


def demo(
    seed: options.Seed = 0,
    check_seconds: Annotated[
        float, typer.Option(help="How long the unit tests of a step take.", min=0)
    ] = 1.0,
    record: options.RecordPair = None,
) -> None:
    """The same search without and with speculation: a small model in this process, real checks."""
    with exit_codes():
        from spex_agents.cli.run import show_demo  # noqa: PLC0415 (as above)

        show_demo(seed, check_seconds, record)
