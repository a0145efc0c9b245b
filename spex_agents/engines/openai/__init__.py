"""Any server that speaks OpenAI's protocol, and what each kind of server makes of it."""

from spex_agents.engines.openai.dialects import DIALECTS, Dialect
from spex_agents.engines.openai.engine import OpenAIEngine
from spex_agents.engines.openai.templates import chatml

__all__ = [
    "DIALECTS",
    "Dialect",
    "OpenAIEngine",
    "chatml",
]
