"""A gateway's settings from a file and from the environment, beneath those of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from spex_agents.errors import SettingsError

PREFIX = "SPEX_GATEWAY_"


class GatewayFile(BaseSettings):
    """What may be set, by the names of the options: ``most_width = 32``, SPEX_GATEWAY_MOST_WIDTH.

    Example:
        >>> GatewayFile(port=9000).given()
        {'port': 9000}
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid")

    engine: list[str] | None = None
    model: str | None = None
    api_key: str | None = None
    dialect: str | None = None
    template: str | None = None
    thinking: str | None = None
    special_tokens: str | None = None
    extra_body: str | None = None
    priorities: str | None = None
    speed: float | None = None
    reward: str | None = None
    agent: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    require_keys: bool | None = None
    open_metrics: bool | None = None
    database: str | None = None
    keep_days: float | None = None
    searches: int | None = None
    search_timeout: float | None = None
    most_width: int | None = None
    most_depth: int | None = None
    most_tokens: int | None = None
    body_bytes: int | None = None
    refusals: int | None = None
    strict: bool | None = None
    progress: bool | None = None
    cors_origin: list[str] | None = None
    host: str | None = None
    port: int | None = None
    unready: float | None = None
    drain: float | None = None
    log_prompts: bool | None = None

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

    def given(self) -> dict[str, Any]:
        """What has been set."""
        return self.model_dump(exclude_none=True)


def read_settings(path: Path | None) -> dict[str, Any]:
    """The settings of a TOML file, if one is given, and of the environment.

    Raises:
        SettingsError: The file cannot be read, or a setting is unknown or of the wrong type.
    """
    values: dict[str, Any] = {}
    if path is not None:
        if not path.is_file():
            raise SettingsError(f"config={str(path)!r}: no such file")
        try:
            values = TomlConfigSettingsSource(GatewayFile, toml_file=path)()
        except ValueError as error:
            raise SettingsError(f"config={str(path)!r}: is no TOML: {error}") from error
    try:
        return GatewayFile(**values).given()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise SettingsError(
            f"{name}={first['input']!r}: {first['msg']}; gateway.example.toml has all settings"
        ) from error


def use_settings(context: typer.Context, path: Path | None) -> Path | None:
    """Let settings of the file and of the environment be the defaults of the command line's."""
    if not context.resilient_parsing:
        try:
            found = read_settings(path)
        except SettingsError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2) from error
        context.default_map = {**(context.default_map or {}), **found}
    return path
