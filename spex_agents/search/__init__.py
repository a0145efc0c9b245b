"""What to explore: pure and deterministic, no I/O, no asyncio."""

from spex_agents.search.action import Action
from spex_agents.search.limits import Limits
from spex_agents.search.policies import (
    AbMcts,
    AbMctsM,
    AdaptiveConsistency,
    Beam,
    BestOfN,
    Dvts,
    Ets,
    Lats,
    Particles,
    Rap,
    Rebase,
    Refine,
    RestMcts,
    Rstar,
    RstarActions,
    TotBfs,
    TotDfs,
)
from spex_agents.search.policy import Decision, Expand, Finish, Policy
from spex_agents.search.tree import Critique, Path, Thought, Tree, TreeView, derive_seed, draw

__all__ = [
    "AbMcts",
    "AbMctsM",
    "Action",
    "AdaptiveConsistency",
    "Beam",
    "BestOfN",
    "Critique",
    "Decision",
    "Dvts",
    "Ets",
    "Expand",
    "Finish",
    "Lats",
    "Limits",
    "Particles",
    "Path",
    "Policy",
    "Rap",
    "Rebase",
    "Refine",
    "RestMcts",
    "Rstar",
    "RstarActions",
    "Thought",
    "TotBfs",
    "TotDfs",
    "Tree",
    "TreeView",
    "derive_seed",
    "draw",
]
