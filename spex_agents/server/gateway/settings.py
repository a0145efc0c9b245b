"""Graphs of one's own behind a gateway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from langgraph.graph import StateGraph

from spex_agents.nodes.settings import SearchSettings

CreateGraph: TypeAlias = Callable[..., StateGraph[Any, Any, Any, Any]]


@dataclass(frozen=True, slots=True)
class Agent:
    """A graph of one's own that answers in place of a plain search.

    Its state takes `question` and `seed`, as that of `create_tot_graph` does, and has `subject`
    from its first step on; at the end `answer`, `thoughts`, `rewards`, `stopped` and `tree_sha256`.

    Attributes:
        create: Takes an engine and the keywords of `SearchSettings`, as `create_tot_graph` does.
        search: What it is given where a request does not say.
    """

    create: CreateGraph
    search: SearchSettings = field(default_factory=SearchSettings)
