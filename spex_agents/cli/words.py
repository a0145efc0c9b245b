"""An error in the words that were typed: ``--width 0`` where Python has ``width=0``."""

from __future__ import annotations

import json
import re
import shlex
from ast import literal_eval
from collections.abc import Iterator, Mapping
from typing import Any

_SETTING = re.compile(
    r"(?<![\w:,.])(?P<name>[a-z][a-z_]*)="
    r"(?P<value>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\([^)]*\)|\{[^}]*\}|[\w.+-]+\([^)]*\)|[^\s:;,()]*)"
)
"""What Python calls a setting: its name, and its value if one is told."""

_ELSEWHERE = {"base_url": "engine", "propose": "engine"}
"""What the command line has under another name."""


def as_typed(said: str, command: Any) -> str:
    """An error's text, its settings named as the options of the command line.

    Args:
        said: With settings as in Python, ``width=0`` or ``api_key=``.
        command: The command line, with all its commands below it.

    Example:
        >>> from typer.main import get_command
        >>> from spex_agents.cli import app
        >>> as_typed("step_tokens=0: must be above 0", get_command(app))
        '--step-tokens 0: must be above 0'
        >>> as_typed("pass the server's key as api_key=", get_command(app))
        "pass the server's key as --api-key (or SPEX_API_KEY)"
        >>> as_typed("raise timeout=", get_command(app))
        'raise timeout= (in Python)'
    """
    options = dict(_options(command))

    def typed(found: re.Match[str]) -> str:
        name, value = found["name"], found["value"]
        option = options.get(_ELSEWHERE.get(name, name))
        if option is None:
            return found[0] if value else f"{found[0]} (in Python)"
        if value:
            return _flag(option) if value == "None" else f"{_flag(option)} {_shell(value)}"
        return _flag(option) + (f" (or {option.envvar})" if option.envvar else "")

    return _SETTING.sub(typed, said)


def _options(command: Any) -> Iterator[tuple[str, Any]]:
    below: Mapping[str, Any] = getattr(command, "commands", {})
    for other in below.values():
        yield from _options(other)
    for option in command.params:
        if option.param_type_name == "option" and option.name != "help":
            yield option.name, option


def _flag(option: Any) -> str:
    longest: str = max(option.opts, key=len)
    return longest


def _shell(value: str) -> str:
    """A value as it is typed; what is no plain value as Python has it."""
    try:
        plain = literal_eval(value)
    except (SyntaxError, ValueError):
        return value
    match plain:
        case str():
            return shlex.quote(plain)
        case tuple():
            return ",".join(map(str, plain))
        case dict():
            return shlex.quote(json.dumps(plain))
        case _:
            return value
