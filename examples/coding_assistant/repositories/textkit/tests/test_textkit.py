from textkit.slug import slug
from textkit.words import words


def test_words():
    assert words("a b") == ["a", "b"]


def test_words_are_in_lower_case():
    assert words("One  Two") == ["one", "two"]


def test_slug():
    assert slug("a tree") == "a-tree"


def test_slug_does_not_cut_a_word():
    assert slug("one two three", most=9) == "one-two"
