"""A search for LangGraph Studio and the LangGraph server, as ``langgraph.json`` names it.

SPEX_ENGINE names its engine: embedded (the default), simulated, or the address of a server.
"""

import os
from typing import Any

from langchain_core.runnables import RunnableConfig

from spex_agents import Limits, create_tot_graph, make_engine
from spex_agents.search.registry import make_policy

engine = make_engine(os.environ.get("SPEX_ENGINE", "embedded"))


def tot(config: RunnableConfig) -> Any:
    """The graph; an assistant may choose its policy, width and seed."""
    chosen = config.get("configurable", {})
    policy = make_policy(chosen.get("policy", "rebase"), width=chosen.get("width", 4))
    limits = Limits(depth=4, step_tokens=64)
    return create_tot_graph(engine, policy=policy, limits=limits, seed=chosen.get("seed", 0))
