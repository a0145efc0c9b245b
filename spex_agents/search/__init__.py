"""What to explore: pure and deterministic, no I/O, no asyncio."""

from spex_agents.search.action import Action
from spex_agents.search.answers import Vote, canonical, extract_answer
from spex_agents.search.beam import Beam
from spex_agents.search.best_of_n import BestOfN
from spex_agents.search.dvts import Dvts
from spex_agents.search.ets import Ets
from spex_agents.search.limits import Limits
from spex_agents.search.policy import Decision, Expand, Finish, Policy
from spex_agents.search.rap import Rap
from spex_agents.search.rebase import Rebase
from spex_agents.search.rest_mcts import RestMcts
from spex_agents.search.rstar import Rstar
from spex_agents.search.rstar_actions import RstarActions
from spex_agents.search.tot import TotBfs, TotDfs
from spex_agents.search.tree import Path, Thought, Tree, TreeView, derive_seed, draw

__all__ = [
    "Action",
    "Beam",
    "BestOfN",
    "Decision",
    "Dvts",
    "Ets",
    "Expand",
    "Finish",
    "Limits",
    "Path",
    "Policy",
    "Rap",
    "Rebase",
    "RestMcts",
    "Rstar",
    "RstarActions",
    "Thought",
    "TotBfs",
    "TotDfs",
    "Tree",
    "TreeView",
    "Vote",
    "canonical",
    "derive_seed",
    "draw",
    "extract_answer",
]
