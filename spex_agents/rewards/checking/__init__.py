"""Rewards that check: functions of one's own, and a calculator."""
