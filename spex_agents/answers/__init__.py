"""Is there an answer in this text, are two the same, who wins, and can that still change?"""

from spex_agents.answers.equivalence import Canonical, canonical
from spex_agents.answers.extract import Extract, extract_answer
from spex_agents.answers.termination import ExactStop, MarginStop, MaxTokens, Standing, Stop
from spex_agents.answers.votes import Ballot, Vote, elect, tally, winner

__all__ = [
    "Ballot",
    "Canonical",
    "ExactStop",
    "Extract",
    "MarginStop",
    "MaxTokens",
    "Standing",
    "Stop",
    "Vote",
    "canonical",
    "elect",
    "extract_answer",
    "tally",
    "winner",
]
