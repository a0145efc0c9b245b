"""``spex compare``: policies on a problem set, by right answers, tokens and seconds."""

from __future__ import annotations

import asyncio
import json as json_format
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from spex_agents.cli import ENGINE, SEARCH, exit_codes
from spex_agents.cli.bench import ApiKey, Engine, Model
from spex_agents.cli.choices import make_engine, make_reward
from spex_agents.engines.base import Sampling
from spex_agents.errors import SettingsError
from spex_agents.search import Limits, Policy
from spex_agents.search.answers import check_vote
from spex_agents.search.registry import POLICIES, defaults, make_policy, sizes
from spex_agents.speculation.config import SearchConfig, Speculation

OUTPUT = "Output"


def compare_command(
    *,
    problems: Annotated[
        str,
        typer.Option(
            help="weekday-sums, gsm8k, gsm-symbolic, chain-sum, countdown, game24, aime24, "
            "aime25, aime26, champ, humaneval, or a JSONL file: question and answer; numbers and "
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
            help=f"{', '.join(POLICIES)}, with sizes of its own as in rebase:width=8; repeatable. "
            "All by default.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(
            help=f"As of spex solve: {defaults('width')}.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    rollouts: Annotated[
        int | None,
        typer.Option(
            help=f"Of policies that have some: {defaults('rollouts')}.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    depth: Annotated[
        int, typer.Option(help="Thoughts in a path, at most.", rich_help_panel=SEARCH)
    ] = 25,
    step_tokens: Annotated[
        int, typer.Option(help="Tokens of a thought, at most.", rich_help_panel=SEARCH)
    ] = 256,
    path_tokens: Annotated[
        int, typer.Option(help="Tokens of a path, at most.", rich_help_panel=SEARCH)
    ] = 1024,
    reward: Annotated[
        str | None,
        typer.Option(
            help="As of spex solve; by default the set's own, if it has one.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    vote: Annotated[
        str, typer.Option(help="majority, weighted or best.", rich_help_panel=SEARCH)
    ] = "weighted",
    shots: Annotated[
        Path | None,
        typer.Option(
            help="JSONL of solved examples for the prompt: question and solution in each line.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the run.", rich_help_panel=SEARCH)] = 0,
    isolation: Annotated[
        str,
        typer.Option(
            help="What keeps tests of programs apart from this system: auto (the first of the "
            "next two that works), bubblewrap, namespaces, or none: caps on time and memory "
            "alone, for models you trust.",
            rich_help_panel=SEARCH,
        ),
    ] = "auto",
    engine: Engine = "embedded",
    model: Model = None,
    api_key: ApiKey = None,
    temperature: Annotated[
        float, typer.Option(help="0 is greedy.", rich_help_panel=ENGINE)
    ] = Sampling().temperature,
    top_p: Annotated[
        float, typer.Option(help="Nucleus.", rich_help_panel=ENGINE)
    ] = Sampling().top_p,
    top_k: Annotated[
        int, typer.Option(help="Candidates; 0 for all.", rich_help_panel=ENGINE)
    ] = Sampling().top_k,
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
) -> None:
    """Compare policies: right answers, tokens, and seconds with speculation off and on.

    Beside greedy decoding, and the majority of as many samples as the dearest policy has decoded
    tokens for. Problem by problem, off and on in alternating order.
    """
    with exit_codes():
        from spex_agents.bench.compare import (  # noqa: PLC0415 (--help)
            GREEDY,
            MAJORITY,
            compare,
            plain_repr,
            summarise,
        )
        from spex_agents.bench.journal import Journal  # noqa: PLC0415 (as above)
        from spex_agents.bench.plot import check_figure, draw  # noqa: PLC0415 (as above)
        from spex_agents.bench.report import compare_table, show  # noqa: PLC0415 (as above)
        from spex_agents.engines.clock import run_virtual  # noqa: PLC0415 (as above)
        from spex_agents.problems import load  # noqa: PLC0415 (as above)
        from spex_agents.problems.files import read_examples  # noqa: PLC0415 (as above)

        for name, file in (("rows", rows), ("json", json), ("figure", figure)):
            if file is not None and not file.parent.is_dir():
                raise SettingsError(f"{name}={str(file)!r}: there is no directory {file.parent}")
        if figure is not None:
            check_figure(figure)
        policies = named_policies(policy or ["all"], width=width, rollouts=rollouts)
        found = load(problems, limit=limit, seed=seed, isolation=isolation)  # type: ignore[arg-type]
        if shots is not None:
            template = replace(found.template, examples=read_examples(shots))
            found = replace(found, template=template)
        opened = make_engine(engine, model, api_key)
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
            stop=None,
            speculation=Speculation(),
        )

        def journal() -> Journal:
            settings = {
                "problems": found.name,
                "seed": seed,
                "engine": opened.name,
                "reward": reward or plain_repr(config.reward),
                "vote": vote,
                "limits": asdict(config.limits),
                "sampling": asdict(config.sampling),
                "template": asdict(config.template),
            }
            return Journal(rows, settings)

        with shown(len(found.problems)) as progress, redirect_stdout(sys.stderr):

            async def run() -> Journal:
                async with opened:
                    return await compare(
                        config, found, policies, journal, seed=seed, progress=progress
                    )

            virtual = opened.name.startswith("simulated/")
            kept = run_virtual(run()) if virtual else asyncio.run(run())
        asked = {number for number, _ in found.problems}
        lines = summarise(
            (row for row in kept.rows if row["problem"] in asked),
            [GREEDY, MAJORITY, *policies],
        )
        title = f"{found.name}, {len(found.problems)} problems, {opened.name}"
        if json is not None:
            report = {
                "problems": found.name,
                "engine": opened.name,
                "exactness": opened.features.exactness,
                "reward": config.reward.name,
                "vote": vote,
                "seed": seed,
                "lines": [line.report() for line in lines],
            }
            json.write_text(json_format.dumps(report, indent=1) + "\n", encoding="utf-8")
        if figure is not None:
            draw(lines, title, figure)
        show(compare_table(lines, f"{title}, reward {config.reward.name}"))
        errors = [row for row in kept.rows if row["error"] is not None and row["problem"] in asked]
        for row in errors[-3:]:
            typer.echo(f"problem {row['problem']}, {row['method']}: {row['error']}", err=True)
        if not any(line.problems for line in lines):
            raise typer.Exit(3)


def named_policies(specs: Sequence[str], **common: int | None) -> dict[str, Policy]:
    """Policies by what they were called: a name, ``all``, or a name with sizes of its own.

    Sizes in common go to the policies that have them.

    Raises:
        SettingsError: There is no such policy or size, a value is none, or a name comes twice.

    Example:
        >>> named_policies(["rebase", "rebase:width=4"], width=2)["rebase:width=4"]
        Rebase(width=4, temperature=0.2)
    """
    found: dict[str, Policy] = {}
    for spec in (one for given in specs for one in (_installed() if given == "all" else (given,))):
        name, _, stated = spec.partition(":")
        own: dict[str, int | None] = {}
        for part in stated.split(",") if stated else ():
            size, _, value = part.partition("=")
            if not value.isdecimal():
                raise SettingsError(f"policy={spec!r}: sizes are whole numbers, as in width=8")
            own[size] = int(value)
        known = sizes(name)
        shared = {size: value for size, value in common.items() if size in known}
        if spec in found:
            raise SettingsError(f"policy={spec!r}: is given twice")
        found[spec] = make_policy(name, **shared | own)
    return found


def _installed() -> Iterator[str]:
    """All policies but those that lack a package, which is told on standard error."""
    for name in POLICIES:
        try:
            make_policy(name)
        except SettingsError as error:
            typer.echo(f"{name} is left out: {error}", err=True)
        else:
            yield name


@contextmanager
def shown(problems: int) -> Iterator[Callable[[int, str], None]]:
    """Tell on standard error how far it is: a bar on a terminal, else a line for each problem."""
    from rich.console import Console  # noqa: PLC0415 (--help)
    from rich.progress import (  # noqa: PLC0415 (as above)
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    console = Console(stderr=True)
    seen: dict[int, None] = {}
    if not console.is_terminal:

        def tell(number: int, method: str) -> None:
            if number not in seen:
                seen[number] = None
                typer.echo(f"problem {number} ({len(seen)} of at most {problems})", err=True)

        yield tell
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=problems)

        def advance(number: int, method: str) -> None:
            bar.update(task, completed=len(seen), description=f"problem {number}: {method}")
            seen[number] = None

        yield advance
