"""A language model in this process, on llama.cpp: many requests in one batch, seeds exact."""

from spex_agents.engines.embedded.engine import EmbeddedEngine

__all__ = [
    "EmbeddedEngine",
]
