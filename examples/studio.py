"""Searches for LangGraph Studio and the LangGraph server, as ``langgraph.json`` names them.

SPEX_ENGINE names their engine: embedded (the default), simulated, the address of a server, or a
chat model (``provider:model``).
"""

import os
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph

from spex_agents import Limits, create_tot_graph, create_tot_node, make_engine
from spex_agents.nodes import SearchSettings
from spex_agents.search.registry import make_policy

engine = make_engine(os.environ.get("SPEX_ENGINE", "embedded"))


def tot(config: RunnableConfig) -> Any:
    """The graph; an assistant may choose its policy, width and seed."""
    return create_tot_graph(engine, seed=_chosen(config, "seed", 0), **_search(config))


def chat(config: RunnableConfig) -> Any:
    """The same as a conversation, for the Chat tab."""
    node = create_tot_node(engine, seed=_chosen(config, "seed", 0), **_search(config))
    return StateGraph(MessagesState).add_node("think", node).add_edge(START, "think")


def _search(config: RunnableConfig) -> SearchSettings:
    policy = make_policy(_chosen(config, "policy", "rebase"), width=_chosen(config, "width", 4))
    if engine.features.messages:
        return {"policy": policy}
    return {"policy": policy, "limits": Limits(depth=4, step_tokens=64)}


def _chosen(config: RunnableConfig, key: str, usual: Any) -> Any:
    return config.get("configurable", {}).get(key, usual)
