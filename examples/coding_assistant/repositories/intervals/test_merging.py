from merging import merge


def test_apart():
    assert merge([(5, 6), (1, 2)]) == [(1, 2), (5, 6)]


def test_overlapping():
    assert merge([(1, 4), (3, 6)]) == [(1, 6)]


def test_touching():
    assert merge([(1, 3), (3, 5)]) == [(1, 5)]


def test_inside():
    assert merge([(1, 9), (3, 5)]) == [(1, 9)]
