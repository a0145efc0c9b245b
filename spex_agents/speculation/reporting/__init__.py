"""What a search tells of itself: events, the ledger, traces."""
