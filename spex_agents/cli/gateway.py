"""``spex gateway``: searches for many, behind OpenAI's protocol."""

from __future__ import annotations

from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spex_agents.cli import options
from spex_agents.cli.exits import exit_codes
from spex_agents.cli.gateway_parts import application, engines_of, is_of_this_machine, serve
from spex_agents.cli.keys import key
from spex_agents.cli.options import ENGINE
from spex_agents.cli.servers import takes_server
from spex_agents.engines.base import Sampling
from spex_agents.errors import SettingsError, at_least_one
from spex_agents.server.gateway.hosting import Hosting

if TYPE_CHECKING:
    from spex_agents.engines.openai.settings import ServerSettings

gateway = typer.Typer(
    help="Serve searches to many, behind OpenAI's protocol.", invoke_without_command=True
)
gateway.add_typer(key, name="key")

USUAL = Hosting()
DAY = 86_400.0
KEYS, LIMITS, RUN = "Keys and data", "Limits", "Running"


def use_settings(context: typer.Context, path: Path | None) -> Path | None:
    """Let settings of the file and of the environment be the defaults of the command line's."""
    try:
        from spex_agents.cli import gateway_file  # noqa: PLC0415 (of the server's packages)
    except ModuleNotFoundError as missing:
        typer.echo(
            f'error: the gateway needs {missing.name}: pip install "spex-agents[server]"', err=True
        )
        raise typer.Exit(2) from missing
    return gateway_file.use_settings(context, path, run)


def database_of(context: typer.Context, found: str, path: Path | None) -> str:
    """The gateway's database.

    Args:
        context: Of the gateway's command.
        found: As that command has it.
        path: Of a file of its settings, given after the subcommand.
    """
    source = context.get_parameter_source("database")
    if path is None or (source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT")):
        return found
    from spex_agents.cli.gateway_file import read_settings  # noqa: PLC0415 (as above)

    return str(read_settings(path, run).get("database", found))


@gateway.callback()
@takes_server
def run(
    context: typer.Context,
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML file of these settings; SPEX_GATEWAY_* goes before it, options before both.",
            callback=use_settings,
            is_eager=True,
            show_default=False,
            rich_help_panel=RUN,
        ),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            help="embedded, simulated, or the address of an OpenAI-compatible server; with a name "
            "before it for models of that name (qwen=http://...:30000/v1 for qwen/rebase-8), "
            "spex without one. Repeatable. Default: embedded.",
            show_default=False,
            rich_help_panel=ENGINE,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="As of spex solve; for one engine.", rich_help_panel=ENGINE),
    ] = None,
    api_key: options.ApiKey = None,
    patience: Annotated[
        float,
        typer.Option(
            help="Seconds that a server may be away, being restarted say, before searches there "
            "fail; also the longest pause that it may ask for.",
            rich_help_panel=ENGINE,
        ),
    ] = 30.0,
    speed: Annotated[
        float,
        typer.Option(help="How much faster the simulated engine runs.", rich_help_panel=ENGINE),
    ] = 1.0,
    reward: Annotated[
        str | None,
        typer.Option(
            help="As of spex solve, module:function too; of requests that name none.",
            show_default=False,
            rich_help_panel=ENGINE,
        ),
    ] = None,
    agent: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=MODULE:ATTRIBUTE, an Agent of yours: spex/NAME answers by its graph. "
            "Repeatable.",
            show_default=False,
            rich_help_panel=ENGINE,
        ),
    ] = None,
    temperature: options.Temperature = USUAL.sampling.temperature,
    top_p: options.TopP = USUAL.sampling.top_p,
    top_k: options.TopK = USUAL.sampling.top_k,
    require_keys: Annotated[
        bool,
        typer.Option(
            "--require-keys",
            help="Ask for a key even while there is none (spex gateway key create). Without keys "
            "anybody may ask, so only at an address of this machine.",
            rich_help_panel=KEYS,
        ),
    ] = False,
    open_metrics: Annotated[
        bool,
        typer.Option(
            help="Let /metrics be read without a key (key create --metrics).", rich_help_panel=KEYS
        ),
    ] = False,
    database: Annotated[
        str,
        typer.Option(
            help="Where searches outlive the process: a SQLite file, or postgresql://...",
            envvar="SPEX_DATABASE",
            rich_help_panel=KEYS,
        ),
    ] = "spex-gateway.sqlite",
    keep_days: Annotated[
        float,
        typer.Option(help="Until an ended search is forgotten.", rich_help_panel=KEYS),
    ] = USUAL.keep_seconds / DAY,
    searches: Annotated[
        int, typer.Option(help="At a time, of all keys.", rich_help_panel=LIMITS)
    ] = USUAL.searches,
    search_timeout: Annotated[
        float, typer.Option(help="Seconds for a search.", rich_help_panel=LIMITS)
    ] = USUAL.search_seconds,
    most_width: Annotated[
        int,
        typer.Option(help="Largest width, and number of rollouts.", rich_help_panel=LIMITS),
    ] = USUAL.most_width,
    most_depth: Annotated[
        int, typer.Option(help="Largest depth.", rich_help_panel=LIMITS)
    ] = USUAL.most_depth,
    most_tokens: Annotated[
        int,
        typer.Option(
            help="Committed tokens after which a search decides no further.", rich_help_panel=LIMITS
        ),
    ] = USUAL.most_tokens,
    body_bytes: Annotated[
        int, typer.Option(help="Largest request.", rich_help_panel=LIMITS)
    ] = USUAL.body_bytes,
    refusals: Annotated[
        int,
        typer.Option(
            help="Refused requests of an address in ten seconds, beyond which each takes a second.",
            rich_help_panel=LIMITS,
        ),
    ] = USUAL.refusals,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Refuse parameters that would change the answer and are not supported, instead of "
            "ignoring them.",
            rich_help_panel=RUN,
        ),
    ] = False,
    progress: Annotated[
        bool,
        typer.Option(
            "--progress",
            help="Stream thoughts as content, too, in <think> tags, for clients that do not show "
            "reasoning.",
            rich_help_panel=RUN,
        ),
    ] = False,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="A site whose pages may ask from a browser: https://chat.example. Repeatable.",
            show_default=False,
            rich_help_panel=RUN,
        ),
    ] = None,
    host: Annotated[str, typer.Option(rich_help_panel=RUN)] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for a free one.", rich_help_panel=RUN)] = 8080,
    workers: Annotated[
        int,
        typer.Option(
            help="Processes, each with a core of its own; several need a PostgreSQL.",
            rich_help_panel=RUN,
        ),
    ] = 1,
    drain: Annotated[
        float,
        typer.Option(help="Seconds for searches to end after SIGTERM.", rich_help_panel=RUN),
    ] = USUAL.drain_seconds,
    unready: Annotated[
        float,
        typer.Option(
            help="Seconds after SIGTERM in which requests are still taken, but /readyz says no.",
            rich_help_panel=RUN,
        ),
    ] = USUAL.unready_seconds,
    log_prompts: Annotated[
        bool, typer.Option(help="Log questions, too.", rich_help_panel=RUN)
    ] = False,
    server: ServerSettings,
) -> None:
    """Serve searches to many until SIGTERM; standard output gets the address once it is ready.

    Logs are JSON lines on standard error.
    """
    if context.invoked_subcommand is not None:
        context.obj = partial(database_of, context, database)
        return
    with exit_codes():
        at_least_one(workers=workers)
        if workers > 1 and "://" not in database:
            raise SettingsError(
                f"workers={workers}: a SQLite file has one process at a time, and database="
                f"{database!r} is one; several processes share a PostgreSQL: postgresql://..."
            )
        hosting = Hosting(
            reward=reward,
            sampling=Sampling(temperature=temperature, top_p=top_p, top_k=top_k),
            most_width=most_width,
            most_depth=most_depth,
            most_tokens=most_tokens,
            searches=ceil(searches / workers),
            search_seconds=search_timeout,
            hosts=("localhost", "127.0.0.1", "::1", host),
            body_bytes=body_bytes,
            refusals=refusals,
            unready_seconds=unready,
            drain_seconds=drain,
            keep_seconds=keep_days * DAY,
            strict=strict,
            progress=progress,
            origins=tuple(cors_origin or ()),
            open_metrics=open_metrics,
            log_prompts=log_prompts,
        )
        make_app = partial(
            application,
            partial(
                engines_of,
                engine or ["embedded"],
                model,
                api_key,
                speed=speed,
                server=server,
                patience=patience,
            ),
            agent or [],
            require_keys=require_keys or not is_of_this_machine(host),  # else others could ask
            database=database,
            hosting=hosting,
            alone=workers == 1,
        )
        serve(make_app, host, port, workers=workers, log_prompts=log_prompts)
