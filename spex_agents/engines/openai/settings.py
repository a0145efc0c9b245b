"""How a server is spoken to: the keywords of its engine as one value, for engines by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from spex_agents.engines.calls.control import SpecialTokens
from spex_agents.engines.openai.templates import Template
from spex_agents.engines.reasoning import Thinking


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

    @property
    def told(self) -> dict[str, object]:
        """What differs from the defaults."""
        return {
            one.name: value
            for one in fields(self)
            if (value := getattr(self, one.name)) != one.default
        }

    def keywords(self, *, own_endpoints: bool) -> dict[str, Any]:
        """The keywords of an engine; those of an SGLang server's are fewer."""
        keywords: dict[str, Any] = {
            "template": self.template,
            "thinking": self.thinking,
            "special_tokens": self.special_tokens,
            "extra_body": self.extra_body,
        }
        if own_endpoints:
            return keywords
        return {
            **keywords,
            "dialect": self.dialect,
            "priorities": self.priorities,
            "requests_per_minute": self.requests_per_minute,
            "tokens_per_minute": self.tokens_per_minute,
        }
