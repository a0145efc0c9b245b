"""What the search will demand, how probable that is, and what is begun of it."""
