"""Searches that run ahead of their rewards: what is begun early, how much, and what it costs."""

from spex_agents.speculation.config import Failures, Forecast, Known, SearchConfig, Speculation
from spex_agents.speculation.outcome import recording
from spex_agents.speculation.reporting.events import Listener, ThoughtEvent
from spex_agents.speculation.reporting.ledger import Ledger, Prices
from spex_agents.speculation.result import Result
from spex_agents.speculation.session import Session
from spex_agents.speculation.slots.budget import Budget
from spex_agents.speculation.solving import solve

__all__ = [
    "Budget",
    "Failures",
    "Forecast",
    "Known",
    "Ledger",
    "Listener",
    "Prices",
    "Result",
    "SearchConfig",
    "Session",
    "Speculation",
    "ThoughtEvent",
    "recording",
    "solve",
]
