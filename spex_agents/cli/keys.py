"""``spex gateway key``: the keys that a gateway's clients show."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spex_agents.cli.exits import exit_codes
from spex_agents.errors import above_zero

if TYPE_CHECKING:
    from spex_agents.server.gateway.keys import Stored

key = typer.Typer(help="API keys.", no_args_is_help=True)

Database = Annotated[
    str,
    typer.Option(
        help="The gateway's database. It holds hashes of keys only; the gateway may be running.",
        envvar="SPEX_DATABASE",
    ),
]
DATABASE = "spex-gateway.sqlite"


@key.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, as logs and metrics tell it.")],
    *,
    database: Database = DATABASE,
    concurrency: Annotated[
        int | None, typer.Option(help="Searches at a time; 16 if not given.", show_default=False)
    ] = None,
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
    window: Annotated[
        float | None, typer.Option(help="Seconds of that window; 3600 if not given.")
    ] = None,
    storage: Annotated[
        int | None,
        typer.Option(
            help="Bytes of its searches that are kept, at least 1000000; the oldest are forgotten "
            "beyond. 256000000 if not given."
        ),
    ] = None,
    days: Annotated[
        float | None, typer.Option(help="Until it expires; never if not given.")
    ] = None,
    metrics: Annotated[
        bool, typer.Option(help="A key for /metrics, and for nothing else.")
    ] = False,
) -> None:
    """Make a key and print it, this once: the database has its hash.

    A name may have several, to be changed one after the other; what is used is the name's. Limits
    that are not given are those of the name's latest key.
    """
    with exit_codes():
        if days is not None:
            above_zero(days=days)
        from spex_agents.server.gateway.keys import Key, KeyStore  # noqa: PLC0415 (only here)

        store = KeyStore(database)
        limits: dict[str, Any] = {
            "concurrency": concurrency,
            "tokens": tokens,
            "waste": waste,
            "window_seconds": window,
            "storage": storage,
        }
        named = [
            one.key for one in store.all() if (one.key.name, one.key.metrics) == (name, metrics)
        ]
        made = replace(
            named[-1] if named else Key(name=name, metrics=metrics),
            expires=None if days is None else time.time() + days * 86_400,
            **{limit: given for limit, given in limits.items() if given is not None},
        )
        print(store.create(made))


@key.command()
def revoke(
    name: Annotated[
        str, typer.Argument(help="All keys of that name, or the one that begins so (sk-spex-...).")
    ],
    *,
    database: Database = DATABASE,
) -> None:
    """Take keys away and print which: a running gateway refuses them within a second."""
    with exit_codes():
        from spex_agents.server.gateway.keys import KeyStore  # noqa: PLC0415 (only here)

        for one in KeyStore(database).revoke(name):
            print(f"revoked {one.key.prefix} {one.key.name}")


@key.command("list")
def list_keys(*, database: Database = DATABASE) -> None:
    """Print how the keys begin, their names, limits and ages."""
    with exit_codes():
        from spex_agents.server.gateway.keys import KeyStore  # noqa: PLC0415 (only here)

        for one in KeyStore(database).all():
            print(_line(one))


@key.command("import")
def take_in(
    file: Annotated[Path, typer.Argument(help="A file of keys of an earlier release.")],
    *,
    database: Database = DATABASE,
) -> None:
    """Take the keys of a file into the database; those that it has are left as they are."""
    with exit_codes():
        from spex_agents.server.gateway.keys import KeyStore  # noqa: PLC0415 (only here)

        print(f"{KeyStore(database).take_in(file)} new")


def _line(one: Stored) -> str:
    key = one.key
    limits = f"{key.concurrency} searches at a time"
    if key.tokens is not None:
        limits += f", {key.tokens} tokens in {key.window_seconds:g} s"
    if key.waste is not None:
        limits += f", {key.waste} wasted in {key.window_seconds:g} s"
    if key.storage is not None:
        limits += f", {key.storage} bytes kept"
    moments = [f"made {_day(one.created)}"]
    if key.expires is not None:
        moments.append(f"{'expired' if key.expires < time.time() else 'until'} {_day(key.expires)}")
    moments.append("never used" if one.used is None else f"last used {_day(one.used)}")
    what = "/metrics" if key.metrics else limits
    return f"{key.prefix} {key.name}: {what}; {', '.join(moments)}"


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")
