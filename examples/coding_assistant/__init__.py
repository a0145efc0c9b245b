"""A coding assistant: writes a function until its tests pass.

``agent`` is for ``spex gateway --agent coder=examples.coding_assistant:agent``.
"""

from examples.coding_assistant.agent import create_coder
from examples.coding_assistant.search import settings
from spex_agents.server.gateway.settings import Agent

agent = Agent(create_coder, settings())
