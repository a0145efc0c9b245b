"""Searches as LangGraph graphs and nodes."""

from spex_agents.nodes.graph import create_tot_graph
from spex_agents.nodes.node import create_tot_node
from spex_agents.nodes.run import apart
from spex_agents.nodes.state import RewardRow, SearchState, ThoughtRow, tree_of

__all__ = [
    "RewardRow",
    "SearchState",
    "ThoughtRow",
    "apart",
    "create_tot_graph",
    "create_tot_node",
    "tree_of",
]
