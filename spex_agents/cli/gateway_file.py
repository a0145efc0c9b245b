"""A gateway's settings from a file and from the environment, beneath those of the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from typing import Any, get_type_hints

import typer
from pydantic import ValidationError, create_model
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from spex_agents.errors import SettingsError

PREFIX = "SPEX_GATEWAY_"
SHARED = ("SPEX_DATABASE", "SPEX_API_KEY")
"""Variables of options that go by another name."""

_ALIKE = 0.85
"""Of names: others of ours, such as SPEX_ENGINE, are less so to any of a gateway's."""


class _FileAndEnvironment(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before the file."""
        return env_settings, init_settings


def settings_of(command: Callable[..., None]) -> type[BaseSettings]:
    """What may be set of a command, by the names of its options; none of it need be."""
    types = get_type_hints(command)
    fields: Any = {
        name: (types[name] | None, None)
        for name in signature(command).parameters
        if name not in ("context", "config")
    }
    return create_model("GatewayFile", __base__=_FileAndEnvironment, **fields)


def read_settings(path: Path | None, command: Callable[..., None]) -> dict[str, Any]:
    """The settings of a TOML file, if one is given, and of the environment.

    Args:
        path: Of the file: ``most_width = 32``.
        command: Whose options they are; SPEX_GATEWAY_MOST_WIDTH is one of the environment's.

    Raises:
        SettingsError: The file cannot be read, or a setting is unknown or of the wrong type.
    """
    values: dict[str, Any] = {}
    known = settings_of(command)
    if path is not None:
        if not path.is_file():
            raise SettingsError(f"config={str(path)!r}: no such file")
        try:
            values = TomlConfigSettingsSource(known, toml_file=path)()
        except ValueError as error:
            raise SettingsError(f"config={str(path)!r}: is no TOML: {error}") from error
    try:
        return known(**values).model_dump(exclude_none=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        why = "no such setting" if first["type"] == "extra_forbidden" else first["msg"]
        raise SettingsError(
            f"{name}={first['input']!r}: {why}; spex gateway --help has all settings, with _ for -"
        ) from error


def misspelt(environment: Iterable[str], command: Callable[..., None]) -> Iterator[str]:
    """A line for each variable that looks like a setting and is none.

    Variables of other commands and of SGLang's plugin are none of a gateway's, and not like them.
    """
    known = [*SHARED, *(f"{PREFIX}{name.upper()}" for name in settings_of(command).model_fields)]
    for name in sorted(set(environment) - set(known)):
        nearest = get_close_matches(name, known, 1, _ALIKE)
        if name.startswith(PREFIX) or (name.startswith("SPEX_") and nearest):
            instead = f"; did you mean {nearest[0]}?" if nearest else "; see spex gateway --help"
            yield f"{name} in the environment is no setting{instead}"


def use_settings(
    context: typer.Context, path: Path | None, command: Callable[..., None]
) -> Path | None:
    """Let settings of the file and of the environment be the defaults of the command line's."""
    if not context.resilient_parsing:
        for line in misspelt(os.environ, command):
            typer.echo(f"warning: {line}", err=True)
        try:
            found = read_settings(path, command)
        except SettingsError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2) from error
        context.default_map = {**(context.default_map or {}), **found}
    return path
