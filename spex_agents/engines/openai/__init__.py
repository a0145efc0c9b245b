"""Any server that speaks OpenAI's protocol, and what each kind of server makes of it."""

from spex_agents.engines.openai.dialects import Dialect, chatml
from spex_agents.engines.openai.engine import OpenAIEngine

__all__ = [
    "Dialect",
    "OpenAIEngine",
    "chatml",
]
