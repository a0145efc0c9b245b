"""How many requests may run, and whose turn it is."""
