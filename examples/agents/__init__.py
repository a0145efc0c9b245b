"""Agents with tools, before and after a search is put into them: `orders` and `meeting`."""
