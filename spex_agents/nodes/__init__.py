"""Searches as LangGraph graphs and nodes."""

from spex_agents.nodes.graph import create_tot_graph, listener_of
from spex_agents.nodes.node import create_tot_node, inner_config, question_in
from spex_agents.nodes.run import apart
from spex_agents.nodes.settings import SearchSettings
from spex_agents.nodes.state import RewardRow, SearchState, Subject, ThoughtRow, append, tree_of
from spex_agents.nodes.tool import create_tot_tool

__all__ = [
    "RewardRow",
    "SearchSettings",
    "SearchState",
    "Subject",
    "ThoughtRow",
    "apart",
    "append",
    "create_tot_graph",
    "create_tot_node",
    "create_tot_tool",
    "inner_config",
    "listener_of",
    "question_in",
    "tree_of",
]
