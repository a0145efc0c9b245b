"""Tree-of-thought search that does not wait for its rewards."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spex_agents.engines.base import Sampling
    from spex_agents.engines.embedded import EmbeddedEngine
    from spex_agents.engines.openai import OpenAIEngine
    from spex_agents.engines.proposer import Proposer
    from spex_agents.engines.sglang import SGLangEngine
    from spex_agents.named import make_engine
    from spex_agents.nodes import create_tot_graph, create_tot_node, create_tot_tool
    from spex_agents.rewards import Verifier
    from spex_agents.search import Beam, BestOfN, Limits, Rebase, Rstar
    from spex_agents.speculation.config import Speculation

_HOMES = {
    "Beam": "search",
    "BestOfN": "search",
    "EmbeddedEngine": "engines.embedded",
    "Limits": "search",
    "OpenAIEngine": "engines.openai",
    "Proposer": "engines.proposer",
    "Rebase": "search",
    "Rstar": "search",
    "SGLangEngine": "engines.sglang",
    "Sampling": "engines.base",
    "Speculation": "speculation.config",
    "Verifier": "rewards",
    "create_tot_graph": "nodes",
    "create_tot_node": "nodes",
    "create_tot_tool": "nodes",
    "make_engine": "named",
}

__all__ = [
    "Beam",
    "BestOfN",
    "EmbeddedEngine",
    "Limits",
    "OpenAIEngine",
    "Proposer",
    "Rebase",
    "Rstar",
    "SGLangEngine",
    "Sampling",
    "Speculation",
    "Verifier",
    "create_tot_graph",
    "create_tot_node",
    "create_tot_tool",
    "make_engine",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for: a search loads only what it uses."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
