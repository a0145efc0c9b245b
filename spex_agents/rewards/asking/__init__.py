"""Rewards that ask a model: judges, values, votes, trained process reward models."""
