"""Small things for texts."""
