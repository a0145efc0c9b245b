"""Is there an answer in this text, are two the same, who wins, and can that still change?"""

from spex_agents.answers.equivalence import (
    Canonical,
    canonical,
    counted,
    equivalent,
    same_as,
)
from spex_agents.answers.extract import Extract, extract_answer, found_in
from spex_agents.answers.limits import Deadline, MaxDollars, MaxSeconds, MaxTokens
from spex_agents.answers.ready import (
    at_end,
    boxed,
    choice_letter,
    either,
    json_key,
    last_line,
    last_number,
    python_block,
    whole_text,
)
from spex_agents.answers.self_consistency import AdaptiveStop, WindowStop
from spex_agents.answers.standing import Standing
from spex_agents.answers.termination import ExactStop, MarginStop, TerminationRule
from spex_agents.answers.votes import Ballot, Vote, agreement, elect, tally, winner

__all__ = [
    "AdaptiveStop",
    "Ballot",
    "Canonical",
    "Deadline",
    "ExactStop",
    "Extract",
    "MarginStop",
    "MaxDollars",
    "MaxSeconds",
    "MaxTokens",
    "Standing",
    "TerminationRule",
    "Vote",
    "WindowStop",
    "agreement",
    "at_end",
    "boxed",
    "canonical",
    "choice_letter",
    "counted",
    "either",
    "elect",
    "equivalent",
    "extract_answer",
    "found_in",
    "json_key",
    "last_line",
    "last_number",
    "python_block",
    "same_as",
    "tally",
    "whole_text",
    "winner",
]
