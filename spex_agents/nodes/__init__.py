"""Searches as LangGraph graphs, nodes, tools and agent middleware."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spex_agents._lazy import lazy

if TYPE_CHECKING:
    from spex_agents.nodes.context import SearchContext
    from spex_agents.nodes.conversation import question_in
    from spex_agents.nodes.graph import create_tot_graph
    from spex_agents.nodes.listening import listener_of
    from spex_agents.nodes.middleware import SpexMiddleware
    from spex_agents.nodes.node import create_tot_node, inner_config
    from spex_agents.nodes.run import apart
    from spex_agents.nodes.settings import SearchSettings
    from spex_agents.nodes.state import RewardRow, SearchState, Subject, ThoughtRow, append, tree_of
    from spex_agents.nodes.tool import create_tot_tool

__all__ = [
    "RewardRow",
    "SearchContext",
    "SearchSettings",
    "SearchState",
    "SpexMiddleware",
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

__getattr__, __dir__ = lazy(
    __name__,
    {
        "RewardRow": "state",
        "SearchContext": "context",
        "SearchSettings": "settings",
        "SearchState": "state",
        "SpexMiddleware": "middleware",
        "Subject": "state",
        "ThoughtRow": "state",
        "apart": "run",
        "append": "state",
        "create_tot_graph": "graph",
        "create_tot_node": "node",
        "create_tot_tool": "tool",
        "inner_config": "node",
        "listener_of": "listening",
        "question_in": "conversation",
        "tree_of": "state",
    },
)
