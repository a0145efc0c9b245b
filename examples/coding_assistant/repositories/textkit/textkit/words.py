"""Words of a text."""


def words(text):
    """The words of a text, in lower case."""
    return text.split(" ")
