"""How a server is spoken to: the keywords of its engine as one value, for engines by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from spex_agents.engines.calls.control import SpecialTokens
from spex_agents.engines.openai.templates import Template
from spex_agents.engines.reasoning import Thinking
from spex_agents.errors import SettingsError

OF_SGLANG = ("template", "thinking", "special_tokens", "extra_body", "patience")
"""What `SGLangEngine` takes of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Keywords of `OpenAIEngine`, told in advance of the server's kind; see there."""

    dialect: str | None = None
    template: Template | str | None = None
    thinking: Thinking = "auto"
    special_tokens: SpecialTokens = "escape"
    extra_body: Mapping[str, object] | None = None
    priorities: tuple[int, int] | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    patience: float = 300.0

    @property
    def told(self) -> dict[str, Any]:
        """What differs from the defaults."""
        return {
            one.name: value
            for one in fields(self)
            if (value := getattr(self, one.name)) != one.default
        }

    def among(self, taken: Collection[str]) -> ServerSettings:
        """Those that an engine takes, the others at their defaults."""
        told = self.told
        return ServerSettings(**{name: told[name] for name in told if name in taken})

    def check_taken(self, taken: Collection[str], *, engine: str, instead: str) -> None:
        """Check that no other is set than those that an engine takes.

        Args:
            taken: Their names.
            engine: As the message names it.
            instead: What to do where it wants another.

        Raises:
            SettingsError: One is.

        Example:
            >>> set_off = ServerSettings(thinking="off")
            >>> set_off.check_taken(("thinking",), engine="embedded", instead="")
            >>> set_off.check_taken((), engine="simulated", instead="leave it out")
            Traceback (most recent call last):
            spex_agents.errors.SettingsError: thinking='off': engine 'simulated' takes none of \
a server's settings: leave it out
        """
        for name, value in self.told.items():
            if name not in taken:
                takes = f"only {', '.join(taken)}" if taken else "none"
                raise SettingsError(
                    f"{name}={value!r}: engine {engine!r} takes {takes} of a server's settings: "
                    f"{instead}"
                )
