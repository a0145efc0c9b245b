"""The yardsticks: the same searches with speculation off, on, and with perfect foresight."""
