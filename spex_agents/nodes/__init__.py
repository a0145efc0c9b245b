"""Searches as LangGraph graphs and nodes."""

from spex_agents.nodes.graph import create_tot_graph
from spex_agents.nodes.node import create_tot_node
from spex_agents.nodes.run import apart
from spex_agents.nodes.settings import SearchSettings
from spex_agents.nodes.state import RewardRow, SearchState, ThoughtRow, tree_of
from spex_agents.nodes.tool import create_tot_tool

__all__ = [
    "RewardRow",
    "SearchSettings",
    "SearchState",
    "ThoughtRow",
    "apart",
    "create_tot_graph",
    "create_tot_node",
    "create_tot_tool",
    "tree_of",
]
