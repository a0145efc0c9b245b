"""What is in a shop."""


class Stock:
    def __init__(self):
        self._counts = {}

    def add(self, item, count=1):
        self._counts[item] = self._counts.get(item, 0) + count

    def remove(self, item, count=1):
        left = self._counts.get(item, 0) - count
        self._counts[item] = left

    def count(self, item):
        return self._counts.get(item, 0)
