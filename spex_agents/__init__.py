"""Tree-of-thought search that does not wait for its rewards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spex_agents._lazy import lazy

if TYPE_CHECKING:
    from spex_agents.answers import ExactStop
    from spex_agents.engines import (
        ChatModelEngine,
        EmbeddedEngine,
        OpenAIEngine,
        Proposer,
        Sampling,
        SGLangEngine,
    )
    from spex_agents.named import make_engine
    from spex_agents.nodes import SpexMiddleware, create_tot_graph, create_tot_node, create_tot_tool
    from spex_agents.rewards import Verifier
    from spex_agents.search import (
        AbMcts,
        Beam,
        BestOfN,
        Dvts,
        Ets,
        Limits,
        Rap,
        Rebase,
        Refine,
        RestMcts,
        Rstar,
        RstarActions,
        TotBfs,
        TotDfs,
    )
    from spex_agents.speculation import SearchConfig, Speculation, solve

__all__ = [
    "AbMcts",
    "Beam",
    "BestOfN",
    "ChatModelEngine",
    "Dvts",
    "EmbeddedEngine",
    "Ets",
    "ExactStop",
    "Limits",
    "OpenAIEngine",
    "Proposer",
    "Rap",
    "Rebase",
    "Refine",
    "RestMcts",
    "Rstar",
    "RstarActions",
    "SGLangEngine",
    "Sampling",
    "SearchConfig",
    "Speculation",
    "SpexMiddleware",
    "TotBfs",
    "TotDfs",
    "Verifier",
    "create_tot_graph",
    "create_tot_node",
    "create_tot_tool",
    "make_engine",
    "solve",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Beam": "search",
        "AbMcts": "search",
        "BestOfN": "search",
        "ChatModelEngine": "engines",
        "Dvts": "search",
        "EmbeddedEngine": "engines",
        "Ets": "search",
        "ExactStop": "answers",
        "Limits": "search",
        "OpenAIEngine": "engines",
        "Proposer": "engines",
        "Rap": "search",
        "Rebase": "search",
        "Refine": "search",
        "RestMcts": "search",
        "Rstar": "search",
        "RstarActions": "search",
        "SGLangEngine": "engines",
        "Sampling": "engines",
        "SearchConfig": "speculation",
        "Speculation": "speculation",
        "SpexMiddleware": "nodes",
        "TotBfs": "search",
        "TotDfs": "search",
        "Verifier": "rewards",
        "create_tot_graph": "nodes",
        "create_tot_node": "nodes",
        "create_tot_tool": "nodes",
        "make_engine": "named",
        "solve": "speculation",
    },
)
