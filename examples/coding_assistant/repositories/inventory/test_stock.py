import pytest
from stock import Stock


def test_add():
    stock = Stock()
    stock.add("pear", 2)
    assert stock.count("pear") == 2


def test_remove():
    stock = Stock()
    stock.add("pear", 2)
    stock.remove("pear")
    assert stock.count("pear") == 1


def test_more_than_there_is_cannot_be_removed():
    stock = Stock()
    stock.add("pear")
    with pytest.raises(ValueError):
        stock.remove("pear", 2)
    assert stock.count("pear") == 1
