"""Intervals of whole numbers, with both ends."""


def merge(intervals):
    """The same numbers in as few intervals as possible, in order."""
    merged = []
    for start, end in sorted(intervals):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged
