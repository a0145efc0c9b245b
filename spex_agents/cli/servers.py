"""What the command line says of a server, and what it finds out there."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Signature, signature
from json import JSONDecodeError, dumps, loads
from typing import TYPE_CHECKING, Any, get_type_hints

from rich.console import Console
from rich.table import Table
from rich.text import Text

from spex_agents.cli import options
from spex_agents.cli.exits import exit_codes
from spex_agents.errors import SettingsError
from spex_agents.named import load_named

if TYPE_CHECKING:
    from spex_agents.engines.openai.examination import Finding
    from spex_agents.engines.openai.settings import ServerSettings


def takes_server(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `server_settings`, which it gets as one value, `server`."""
    own = dict(signature(command).parameters)
    del own["server"]
    added = signature(server_settings).parameters
    known = {"ServerSettings": object}
    hints = get_type_hints(command, localns=known, include_extras=True)
    hints |= get_type_hints(server_settings, localns=known, include_extras=True)

    @wraps(command)
    def with_options(**given: Any) -> None:
        with exit_codes():
            server = server_settings(**{name: given.pop(name) for name in added})
        command(**given, server=server)

    declared = [one.replace(annotation=hints[name]) for name, one in {**own, **added}.items()]
    with_options.__signature__ = Signature(declared)  # type: ignore[attr-defined]
    with_options.__annotations__ = {one.name: one.annotation for one in declared}
    return with_options


def server_settings(
    *,
    dialect: options.Dialect = None,
    template: options.TemplateName = None,
    thinking: options.ThinkingMode = "auto",
    special_tokens: options.SpecialTokensMode = "escape",
    extra_body: options.ExtraBody = None,
    priorities: options.Priorities = None,
) -> ServerSettings:
    """The options of a server as one value.

    Raises:
        SettingsError: One of them cannot be read.
    """
    from spex_agents.engines.openai.settings import ServerSettings  # noqa: PLC0415 (--help)

    named: Any = load_named("template", template) if template and ":" in template else template
    said: dict[str, Any] = {"thinking": thinking, "special_tokens": special_tokens}
    return ServerSettings(
        dialect=dialect,
        template=named,
        extra_body=_object(extra_body),
        priorities=_pair(priorities),
        **said,
    )


def _object(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = loads(text)
    except JSONDecodeError as error:
        raise SettingsError(f"extra_body={text!r}: must be a JSON object: {error}") from error
    if not isinstance(found, dict):
        raise SettingsError(f"extra_body={text!r}: must be a JSON object")
    return found


def _pair(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        demanded, speculative = map(int, text.split(","))
    except ValueError as error:
        raise SettingsError(f"priorities={text!r}: must be two whole numbers: 0,1") from error
    return demanded, speculative


def show_findings(findings: list[Finding], *, json: bool) -> None:
    """Print what was found out about a server, for people or for programs."""
    if json:
        rows = [
            {"feature": one.feature, "found": one.found, "ok": one.ok, "remedy": one.remedy}
            for one in findings
        ]
        print(dumps(rows))
        return
    table = Table.grid(padding=(0, 2))
    for one in findings:
        table.add_row(
            Text("yes", "green") if one.ok else Text("no", "red"), one.feature, Text(one.found)
        )
        if one.remedy:
            table.add_row("", "", Text(one.remedy, "bold"))
    Console().print(table)
