"""The field's own policies, one a file, and what some of them share."""

from spex_agents.search.policies.ab_mcts import AbMcts
from spex_agents.search.policies.ab_mcts_m import AbMctsM
from spex_agents.search.policies.adaptive_consistency import AdaptiveConsistency
from spex_agents.search.policies.beam import Beam
from spex_agents.search.policies.best_of_n import BestOfN
from spex_agents.search.policies.dvts import Dvts
from spex_agents.search.policies.ets import Ets
from spex_agents.search.policies.lats import Lats
from spex_agents.search.policies.particles import Particles
from spex_agents.search.policies.rap import Rap
from spex_agents.search.policies.rebase import Rebase
from spex_agents.search.policies.refine import Refine
from spex_agents.search.policies.rest_mcts import RestMcts
from spex_agents.search.policies.rstar import Rstar
from spex_agents.search.policies.rstar_actions import RstarActions
from spex_agents.search.policies.tot import TotBfs, TotDfs

__all__ = [
    "AbMcts",
    "AbMctsM",
    "AdaptiveConsistency",
    "Beam",
    "BestOfN",
    "Dvts",
    "Ets",
    "Lats",
    "Particles",
    "Rap",
    "Rebase",
    "Refine",
    "RestMcts",
    "Rstar",
    "RstarActions",
    "TotBfs",
    "TotDfs",
]
