"""SGLang: OpenAI's protocol for thoughts, its own endpoints for everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spex_agents._lazy import lazy

if TYPE_CHECKING:
    from spex_agents.engines.sglang.engine import SGLangEngine, engine_at

__all__ = [
    "SGLangEngine",
    "engine_at",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "SGLangEngine": "engine",
        "engine_at": "engine",
    },
)
