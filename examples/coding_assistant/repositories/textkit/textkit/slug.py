"""Texts for addresses."""

from textkit.words import words


def slug(text, most=20):
    """The words joined by hyphens, of at most `most` characters, without cutting a word."""
    return "-".join(words(text))[:most]
