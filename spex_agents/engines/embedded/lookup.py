"""Prompt lookup for `EmbeddedEngine`: what followed the last few tokens when they last occurred.

After Saxena's prompt lookup decoding (https://github.com/apoorvumang/prompt-lookup-decoding), over
the texts of all requests rather than one, because the thoughts of a tree resemble each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

_Places: TypeAlias = dict[tuple[int, ...], tuple[Sequence[int], int]]

_LENGTHS = (4, 3, 2)
"""Of the n-grams, in tokens. A single token's last occurrence is wrong four times out of five."""

_REMEMBERED = 200_000
"""N-grams after which the older half may be forgotten."""


class Lookup:
    """An index of n-grams over texts that may still grow.

    Example:
        >>> lookup, text = Lookup(), [5, 6, 7, 8, 9, 5, 6]
        >>> lookup.learn(text, 0)
        >>> lookup.draft(text, 2)
        [7, 8]
    """

    def __init__(self) -> None:
        self._recent: _Places = {}
        self._older: _Places = {}

    def learn(self, text: Sequence[int], begin: int) -> None:
        """Index `text` from `begin` on; it is kept, and drafts will see what is appended to it."""
        for end in range(max(begin, min(_LENGTHS)), len(text)):
            for length in _LENGTHS:
                if length <= end:
                    self._recent[tuple(text[end - length : end])] = text, end
        if len(self._recent) > _REMEMBERED // 2:
            self._recent, self._older = {}, self._recent

    def draft(self, text: Sequence[int], limit: int) -> list[int]:
        """Up to `limit` tokens that may follow `text`: after its longest ending that is known."""
        for length in _LENGTHS:
            ending = tuple(text[-length:])
            if place := self._recent.get(ending) or self._older.get(ending):
                known, end = place
                return list(known[end : end + limit])
        return []
