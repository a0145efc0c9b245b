"""``spex gateway key``: the keys that a gateway's clients show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spex_agents.cli.exits import exit_codes

key = typer.Typer(help="API keys.", no_args_is_help=True)

KeysFile = Annotated[Path, typer.Option(help="The file of keys; it has their hashes only.")]


@key.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is: in logs and metrics.")],
    *,
    keys: KeysFile,
    concurrency: Annotated[int, typer.Option(help="Searches at a time.")] = 16,
    tokens: Annotated[
        int | None,
        typer.Option(help="Tokens in a window, useful or wasted; no limit if not given."),
    ] = None,
    waste: Annotated[
        int | None,
        typer.Option(
            help="Wasted tokens in a window, beyond which its searches do not run ahead; no limit "
            "if not given."
        ),
    ] = None,
    window: Annotated[float, typer.Option(help="Seconds of that window.")] = 3600.0,
    metrics: Annotated[
        bool, typer.Option(help="A key for /metrics, and for nothing else.")
    ] = False,
) -> None:
    """Make a key and print it, this once: the file has its hash."""
    with exit_codes():
        from spex_agents.server.gateway.keys import Key, KeyFile  # noqa: PLC0415 (only here)

        made = Key(
            name=name,
            concurrency=concurrency,
            tokens=tokens,
            waste=waste,
            window_seconds=window,
            metrics=metrics,
        )
        print(KeyFile(keys).create(made))


@key.command()
def revoke(
    name: Annotated[str, typer.Argument(help="As it was created.")], *, keys: KeysFile
) -> None:
    """Take a key away: a running gateway refuses it from its next request on."""
    with exit_codes():
        from spex_agents.server.gateway.keys import KeyFile  # noqa: PLC0415 (only here)

        KeyFile(keys).revoke(name)


@key.command("list")
def list_keys(*, keys: KeysFile) -> None:
    """Print the names of the keys and their limits."""
    with exit_codes():
        from spex_agents.server.gateway.keys import KeyFile  # noqa: PLC0415 (only here)

        for one in KeyFile(keys).all().values():
            if one.metrics:
                print(f"{one.name}: /metrics")
                continue
            limits = f"{one.concurrency} searches"
            if one.tokens is not None:
                limits += f", {one.tokens} tokens"
            if one.waste is not None:
                limits += f", {one.waste} wasted"
            print(f"{one.name}: {limits} in {one.window_seconds:g} s")
