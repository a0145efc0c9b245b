"""Rewards made of others: aggregated, averaged, remembered, calibrated."""
