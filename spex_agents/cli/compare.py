"""``spex compare``: policies on a problem set, by right answers, tokens and seconds."""

from __future__ import annotations

import json as json_format
import sys
from contextlib import ExitStack, closing, redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spex_agents.answers.votes import check_vote
from spex_agents.cli import options
from spex_agents.cli.exits import exit_codes, interruptible
from spex_agents.cli.options import SEARCH
from spex_agents.cli.policies import named_policies
from spex_agents.cli.servers import takes_server
from spex_agents.engines.base import Sampling
from spex_agents.errors import SettingsError
from spex_agents.named import make_engine, make_reward, run_with
from spex_agents.problems.sets import SETS
from spex_agents.search.limits import Limits
from spex_agents.search.registry import POLICIES
from spex_agents.speculation.config import SearchConfig, Speculation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from spex_agents.bench.tally import Line
    from spex_agents.engines.openai.settings import ServerSettings
    from spex_agents.problems import ProblemSet
    from spex_agents.search import Policy

OUTPUT = "Output"


@takes_server
def compare_command(
    *,
    problems: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(SETS)}, or a JSONL file: question and answer; numbers and "
            "target; or prompt, tests and entry_point in each line.",
            rich_help_panel=SEARCH,
        ),
    ],
    limit: Annotated[
        int | None,
        typer.Option(
            help="So many problems, drawn by the seed; all by default.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join(POLICIES)}, with sizes of its own as in rebase:width=8, or "
            "module:class for one of yours; repeatable. All ready ones by default.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    width: options.Width = None,
    rollouts: options.Rollouts = None,
    depth: options.Depth = Limits().depth,
    step_tokens: options.StepTokens = Limits().step_tokens,
    path_tokens: options.PathTokens = Limits().path_tokens,
    reward: Annotated[
        str | None,
        typer.Option(
            help="As of spex solve; by default the set's own, if it has one.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    vote: options.VoteName = "weighted",
    shots: options.Shots = None,
    seed: options.Seed = 0,
    off: Annotated[
        bool,
        typer.Option(
            "--off",
            help="Without speculation only: half the work, where seconds are not the question.",
            rich_help_panel=SEARCH,
        ),
    ] = False,
    at_once: Annotated[
        int,
        typer.Option(
            help="Problems at the same time; from 2 on, seconds compare nothing.",
            rich_help_panel=SEARCH,
        ),
    ] = 1,
    isolation: Annotated[
        str,
        typer.Option(
            help="What keeps tests of programs apart from this system: auto (the first of the "
            "next two that works), bubblewrap, namespaces, or none: caps on time and memory "
            "alone, for models you trust.",
            rich_help_panel=SEARCH,
        ),
    ] = "auto",
    engine: options.EngineName = "embedded",
    model: options.Model = None,
    api_key: options.ApiKey = None,
    temperature: options.Temperature = Sampling().temperature,
    top_p: options.TopP = Sampling().top_p,
    top_k: options.TopK = Sampling().top_k,
    rows: Annotated[
        Path | None,
        typer.Option(
            help="JSONL to which every search is added as it ends; with the same settings a "
            "second run goes on where the first was ended, to a larger limit or more policies.",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(help="Write the figures there.", show_default=False, rich_help_panel=OUTPUT),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            help="Draw right answers against seconds there: .svg, .png or .pdf.",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    server: ServerSettings,
) -> None:
    """Compare policies: right answers, tokens, and seconds with speculation off and on.

    Beside greedy decoding, and the majority of as many samples as the dearest policy has decoded
    tokens for. Problem by problem, off and on in alternating order, or off alone.
    """
    with exit_codes():
        from spex_agents.bench.compare import plain_repr  # noqa: PLC0415 (--help)
        from spex_agents.bench.plot import check_figure, draw  # noqa: PLC0415 (as above)
        from spex_agents.bench.report import compare_table, show  # noqa: PLC0415 (as above)
        from spex_agents.bench.tally import GREEDY, MAJORITY, summarise  # noqa: PLC0415 (as above)
        from spex_agents.problems import load  # noqa: PLC0415 (as above)
        from spex_agents.problems.files import read_examples  # noqa: PLC0415 (as above)

        _check_places(rows=rows, json=json, figure=figure)
        if figure is not None:
            check_figure(figure)
        found = load(problems, limit=limit, seed=seed, isolation=isolation)  # type: ignore[arg-type]
        policies = named_policies(policy or ["all"], width=width, rollouts=rollouts)
        if shots is not None:
            template = replace(found.template, examples=read_examples(shots))
            found = replace(found, template=template)
        opened = make_engine(engine, model, api_key, server=server)
        limits = Limits(depth=depth, step_tokens=step_tokens, path_tokens=path_tokens)
        stop = (found.template.delimiter,)
        sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k, stop=stop)
        own = found.reward if reward is None and engine != "simulated" else None
        kind = type(found.problems[0][1])
        config = SearchConfig(
            engine=opened,
            policy=next(iter(policies.values())),
            reward=own or make_reward(reward, opened, sampling=sampling, limits=limits),
            limits=limits,
            sampling=sampling,
            template=found.template,
            extract=kind.extract,
            canonical=kind.canonical,
            vote=check_vote(vote),
            termination=None,
            speculation=None if off else Speculation.usual(opened),
        )

        def settings() -> dict[str, object]:  # of which the engine knows some once it is open
            told = {"server": plain_repr(server.told)} if server.told else {}
            return {
                "problems": found.name,
                "seed": seed,
                "engine": opened.name,
                "reward": reward or plain_repr(config.reward),
                "vote": vote,
                "limits": asdict(config.limits),
                "sampling": asdict(config.sampling),
                "template": asdict(config.template),
                **told,
            }

        kept, interrupted = _searched(
            config, found, policies, rows, settings, seed=seed, at_once=at_once
        )
        lines = summarise(kept, [GREEDY, MAJORITY, *policies])
        if interrupted is not None:
            if kept:
                show(compare_table(lines, f"{found.name}, as far as it came, {opened.name}"))
                typer.echo(_how_to_go_on(rows), err=True)
            raise interrupted
        title = f"{found.name}, {len(found.problems)} problems, {opened.name}"
        if json is not None:
            _write_report(json, config, lines, {"problems": found.name, "vote": vote, "seed": seed})
        if figure is not None:
            draw(lines, title, figure)
        show(compare_table(lines, f"{title}, reward {config.reward.name}"))
        for row in [row for row in kept if row["error"] is not None][-3:]:
            typer.echo(f"problem {row['problem']}, {row['method']}: {row['error']}", err=True)
        if not any(line.problems for line in lines):
            raise typer.Exit(3)


def _searched(
    config: SearchConfig,
    problems: ProblemSet,
    policies: Mapping[str, Policy],
    file: Path | None,
    settings: Callable[[], Mapping[str, object]],
    *,
    seed: int,
    at_once: int,
) -> tuple[list[Mapping[str, Any]], KeyboardInterrupt | None]:
    """The rows of these problems, and what has interrupted their searches, if anything has."""
    from spex_agents.bench.compare import compare  # noqa: PLC0415 (--help)
    from spex_agents.bench.journal import Journal  # noqa: PLC0415 (as above)
    from spex_agents.bench.tally import GREEDY, MAJORITY  # noqa: PLC0415 (as above)
    from spex_agents.cli.progress import shown  # noqa: PLC0415 (as above)

    engine: Any = config.engine
    begun: list[Journal] = []
    interrupted: KeyboardInterrupt | None = None
    methods = [GREEDY, *policies, MAJORITY]
    with ExitStack() as stack:

        def journal() -> Journal:
            begun.append(stack.enter_context(closing(Journal(file, settings()))))
            return begun[0]

        progress = stack.enter_context(
            shown(len(problems.problems), methods, off=config.speculation is None)
        )
        stack.enter_context(redirect_stdout(sys.stderr))

        async def run() -> None:
            async with engine:
                await compare(
                    config,
                    problems,
                    policies,
                    journal,
                    seed=seed,
                    at_once=at_once,
                    progress=progress,
                )

        try:
            run_with(engine, interruptible(run()))
        except KeyboardInterrupt as error:
            interrupted = error
    asked = {number for number, _ in problems.problems}
    return [row for one in begun for row in one.rows if row["problem"] in asked], interrupted


def _check_places(**files: Path | None) -> None:
    for name, file in files.items():
        if file is not None and not file.parent.is_dir():
            raise SettingsError(f"{name}={str(file)!r}: there is no directory {file.parent}")


def _write_report(
    file: Path, config: SearchConfig, lines: Sequence[Line], compared: Mapping[str, object]
) -> None:
    report = {
        **compared,
        "engine": config.engine.name,
        "exactness": config.engine.features.exactness,
        "reward": config.reward.name,
        "lines": [line.report() for line in lines],
    }
    file.write_text(json_format.dumps(report, indent=1) + "\n", encoding="utf-8")


def _how_to_go_on(rows: Path | None) -> str:
    if rows is None:
        return "to go on another time, keep the rows: --rows rows.jsonl"
    return f"to go on: the same command again, with --rows {rows}"
