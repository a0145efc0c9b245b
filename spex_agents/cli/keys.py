"""``spex gateway key``: the keys that a gateway's clients show."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from spex_agents.cli.exits import exit_codes
from spex_agents.errors import SettingsError, above_zero

if TYPE_CHECKING:
    from spex_agents.server.gateway.keys import KeyStore, Stored

key = typer.Typer(help="API keys.", no_args_is_help=True)

Config: TypeAlias = Annotated[
    Path | None,
    typer.Option("--config", help="The gateway's TOML file.", show_default=False),
]
Database: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="The gateway's database, by default as the gateway finds it: by SPEX_DATABASE, "
        "--config, or spex-gateway.sqlite. It may be running.",
        show_default=False,
    ),
]
Concurrency: TypeAlias = Annotated[
    int | None, typer.Option(help="Searches at a time; 16 if not given.", show_default=False)
]
Window: TypeAlias = Annotated[
    float | None, typer.Option(help="Seconds of that window; 3600 if not given.")
]

Which: TypeAlias = Annotated[
    str, typer.Argument(help="All keys of that name, or the one that begins so (sk-spex-...).")
]

NO_LIMIT = "none"


def _limit(text: str) -> float:
    if text == NO_LIMIT:
        return math.inf
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r}: must be a whole number, or {NO_LIMIT}")
    return int(text)


def _limit_option(help: str) -> Any:  # noqa: A002 (typer's word)
    return typer.Option(help=help, parser=_limit, metavar=f"INTEGER|{NO_LIMIT}")


Tokens: TypeAlias = Annotated[
    float | None, _limit_option("Tokens in a window, useful or wasted; no limit if not given.")
]
Waste: TypeAlias = Annotated[
    float | None,
    _limit_option(
        "Wasted tokens in a window, beyond which its searches do not run ahead; no limit if not "
        "given."
    ),
]
Storage: TypeAlias = Annotated[
    float | None,
    _limit_option(
        "Bytes of its searches that are kept, at least 1000000; the oldest are forgotten beyond. "
        "256000000 if not given."
    ),
]


@key.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Whose key it is, as logs and metrics tell it.")],
    *,
    database: Database = None,
    config: Config = None,
    concurrency: Concurrency = None,
    tokens: Tokens = None,
    waste: Waste = None,
    window: Window = None,
    storage: Storage = None,
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
        from spex_agents.server.gateway.keys import Key  # noqa: PLC0415 (only here)

        store = _store(context, database, config)
        named = [
            one.key for one in store.all() if (one.key.name, one.key.metrics) == (name, metrics)
        ]
        made = replace(
            named[-1] if named else Key(name=name, metrics=metrics),
            expires=None if days is None else time.time() + days * 86_400,
            **_given(concurrency, tokens, waste, window, storage),
        )
        print(store.create(made))


@key.command()
def limit(
    context: typer.Context,
    name: Which,
    *,
    database: Database = None,
    config: Config = None,
    concurrency: Concurrency = None,
    tokens: Tokens = None,
    waste: Waste = None,
    window: Window = None,
    storage: Storage = None,
) -> None:
    """Change limits of keys, those that are given, and print the keys.

    A running gateway heeds them within a second; searches that run keep what they were granted.
    """
    with exit_codes():
        given = _given(concurrency, tokens, waste, window, storage)
        for one in _store(context, database, config, make=False).limit(name, **given):
            print(_line(one))


@key.command()
def revoke(
    context: typer.Context, name: Which, *, database: Database = None, config: Config = None
) -> None:
    """Take keys away and print which: a running gateway refuses them within a second."""
    with exit_codes():
        for one in _store(context, database, config, make=False).revoke(name):
            print(f"revoked {one.key.prefix} {one.key.name}")


@key.command("list")
def list_keys(context: typer.Context, *, database: Database = None, config: Config = None) -> None:
    """Print how the keys begin, their names, limits, what is used of these, and ages."""
    with exit_codes():
        from spex_agents.server.gateway.database import shown  # noqa: PLC0415 (as below)

        store = _store(context, database, config, make=False)
        for one in (found := store.all()):
            print(_line(one, None if one.key.tokens is None else store.used(one.key)))
        if not found:
            typer.echo(f"no keys in {shown(store.database)}", err=True)


@key.command("import")
def take_in(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file of keys of an earlier release.")],
    *,
    database: Database = None,
    config: Config = None,
) -> None:
    """Take the keys of a file into the database; those that it has are left as they are."""
    with exit_codes():
        print(f"{_store(context, database, config).take_in(file)} new")


def _store(
    context: typer.Context, database: str | None, config: Path | None, *, make: bool = True
) -> KeyStore:
    """The keys of the database that is given, or else that the gateway has; `make` a missing file.

    Raises:
        SettingsError: It cannot be opened.
    """
    from spex_agents.server.gateway.keys import KeyStore  # noqa: PLC0415 (only for a gateway)

    found = context.obj(config) if database is None else database
    if not make and "://" not in found and not Path(found).exists():
        raise SettingsError(
            f"database={found!r}: no such file; give the gateway's, or its settings by --config"
        )
    return KeyStore(found)


def _given(
    concurrency: int | None,
    tokens: float | None,
    waste: float | None,
    window: float | None,
    storage: float | None,
) -> dict[str, Any]:
    """The limits that are given, as a `Key` has them."""
    limits = {
        "concurrency": concurrency,
        "tokens": tokens,
        "waste": waste,
        "window_seconds": window,
        "storage": storage,
    }
    return {
        name: None if value == math.inf else value
        for name, value in limits.items()
        if value is not None
    }


def _line(one: Stored, used: int | None = None) -> str:
    key = one.key
    limits = f"{key.concurrency} searches at a time"
    if key.tokens is not None:
        limits += f", {key.tokens} tokens in {key.window_seconds:g} s"
        limits += "" if used is None else f" ({used} used)"
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
