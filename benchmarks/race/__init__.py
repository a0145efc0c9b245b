"""The race: the same problems, server and reward for this library and others."""
