"""The command line: ``spex solve`` and ``spex demo``.

Standard output carries results alone; all else goes to standard error. Exit codes: 0 answered, 1 no
answer, 2 bad input, 3 an engine, a reward or a policy failed, 130 interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from spex_agents.cli.choices import make_engine, make_reward
from spex_agents.engines.base import Sampling
from spex_agents.errors import SettingsError, SpexError
from spex_agents.search import Limits
from spex_agents.search.answers import check_vote
from spex_agents.search.registry import POLICIES, defaults, make_policy
from spex_agents.speculation.config import SearchConfig, Speculation, check_question

app = typer.Typer(
    help="Tree-of-thought search that does not wait for its rewards.",
    epilog="Exit codes: 0 answered, 1 no answer, 2 bad input, 3 engine or reward failed, "
    "130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

SEARCH, ENGINE = "Search", "Engine"

AGGREGATE = typer.Option(
    help="A path's reward out of those of its steps: last, min, prod or mean.",
    rich_help_panel=SEARCH,
)


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn what is known to go wrong into one line and an exit code."""
    try:
        yield
    except SpexError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, SettingsError) else 3) from error
    except KeyboardInterrupt as error:
        typer.echo("interrupted", err=True)
        raise typer.Exit(130) from error


@app.command()
def solve(
    question: Annotated[str, typer.Argument(help="What to answer.")],
    *,
    policy: Annotated[
        str,
        typer.Option(help=f"{', '.join(POLICIES)}.", rich_help_panel=SEARCH),
    ] = "rebase",
    width: Annotated[
        int | None,
        typer.Option(
            help="Thoughts in a layer, children of a thought, or whole answers, as the policy has "
            f"it ({defaults('width')}). Beam and dvts keep one in 4 of a layer.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    rollouts: Annotated[
        int | None,
        typer.Option(
            help=f"Rounds of a Monte-Carlo tree search ({defaults('rollouts')}).",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    reward: Annotated[
        str | None,
        typer.Option(
            help="confidence (the model's own log-probabilities; default), judge, value (sure, "
            "likely or impossible?), expected-value (by the words' probabilities), group-vote "
            "(which of the layer is best?), votes (do completions agree?), calculator (do the "
            "stated equations hold?), simulated (default of the simulated engine), or "
            "module:function, an async function (question, steps) -> float of your own.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    aggregate: Annotated[str, AGGREGATE] = "last",
    vote: Annotated[
        str, typer.Option(help="majority, weighted or best.", rich_help_panel=SEARCH)
    ] = "weighted",
    depth: Annotated[
        int, typer.Option(help="Thoughts in a path, at most.", rich_help_panel=SEARCH)
    ] = 25,
    step_tokens: Annotated[
        int, typer.Option(help="Tokens of a thought, at most.", rich_help_panel=SEARCH)
    ] = 256,
    path_tokens: Annotated[
        int, typer.Option(help="Tokens of a path, at most.", rich_help_panel=SEARCH)
    ] = 1024,
    seed: Annotated[int, typer.Option(help="Decides the run.", rich_help_panel=SEARCH)] = 0,
    speculation: Annotated[
        bool,
        typer.Option(help="Begin likely thoughts early, or not.", rich_help_panel=SEARCH),
    ] = True,
    engine: Annotated[
        str,
        typer.Option(
            help="embedded (a small model in this process), simulated (no model, on a virtual "
            "clock), or the address of an OpenAI-compatible server: http://127.0.0.1:30000/v1",
            rich_help_panel=ENGINE,
        ),
    ] = "embedded",
    model: Annotated[
        str | None,
        typer.Option(
            help="embedded: a GGUF file; simulated: a hardware preset; server: the model's name.",
            show_default=False,
            rich_help_panel=ENGINE,
        ),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            help="Bearer token for the server.", envvar="SPEX_API_KEY", rich_help_panel=ENGINE
        ),
    ] = None,
    temperature: Annotated[float, typer.Option(help="0 is greedy.", rich_help_panel=ENGINE)] = 0.8,
    top_p: Annotated[float, typer.Option(help="Nucleus.", rich_help_panel=ENGINE)] = 0.95,
    top_k: Annotated[int, typer.Option(help="Candidates; 0 for all.", rich_help_panel=ENGINE)] = 40,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(help="Write all that happens to this file, for `spex view`."),
    ] = None,
) -> None:
    """Search for the answer of a question."""
    with exit_codes():
        check_question(question)
        chosen = make_policy(policy, width=width, rollouts=rollouts)
        limits = Limits(step_tokens=step_tokens, path_tokens=path_tokens, depth=depth)
        sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k)
        opened = make_engine(engine, model, api_key)
        config = SearchConfig(
            engine=opened,
            policy=chosen,
            reward=make_reward(
                reward, opened, sampling=sampling, limits=limits, aggregate=aggregate
            ),
            limits=limits,
            sampling=sampling,
            vote=check_vote(vote),
            speculation=Speculation() if speculation else None,
        )
        from spex_agents.cli.run import run  # noqa: PLC0415 (--help needs no terminal pictures)

        answered = run(config, opened, policy, question, seed=seed, json=json, record=record)
    raise typer.Exit(0 if answered else 1)


@app.command()
def demo(
    problems: Annotated[
        Path | None,
        typer.Option(
            help="JSONL of running totals, with question and answer; four of our own by default.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(help="How many, from the first on.", min=1)] = 4,
    seed: Annotated[int, typer.Option(help="Decides the run.")] = 0,
) -> None:
    """Greedy decoding beside the search: real problems, a small model in this process."""
    with exit_codes():
        from spex_agents.cli.run import show_demo  # noqa: PLC0415 (as above)

        show_demo(problems, limit, seed)


from spex_agents.cli.bench import bench  # noqa: E402 (they build on the above)
from spex_agents.cli.compare import compare_command  # noqa: E402
from spex_agents.cli.gateway import gateway  # noqa: E402
from spex_agents.cli.server import doctor, model, serve_command  # noqa: E402
from spex_agents.cli.trace import trace  # noqa: E402
from spex_agents.cli.view import view  # noqa: E402

app.add_typer(bench, name="bench")
app.add_typer(trace, name="trace")
app.add_typer(gateway, name="gateway")
app.add_typer(model, name="model")
app.command("compare")(compare_command)
app.command("serve")(serve_command)
app.command("doctor")(doctor)
app.command("view")(view)


def main() -> None:
    """The entry point ``spex``."""
    app()
