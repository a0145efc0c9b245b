"""A search to look at: one HTML page with its tree, its timeline and its ledger."""

from spex_agents.view.page import Page, live_page, run_page
from spex_agents.view.recording import read_recording, streamed_recording

__all__ = [
    "Page",
    "live_page",
    "read_recording",
    "run_page",
    "streamed_recording",
]
