"""Who races: a program for each library, which runs in that library's own environment."""
