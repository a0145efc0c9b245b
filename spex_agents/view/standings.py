"""What a thought can be to its search: the words and marks of every view."""

from __future__ import annotations

from typing import Final

STANDINGS: Final = {
    "accepted": ("●", "in the tree"),
    "merged": ("≡", "says the same as another of its decision, which is gone on with"),
    "demanded": ("▸", "the search waits for it"),
    "speculative": ("◌", "begun early, not demanded yet"),
    "retracted": ("✕", "begun early, cancelled as improbable"),
    "wasted": ("○", "begun early, never demanded"),
    "failed": ("!", "its request failed"),
}
"""By word: a mark, so that nothing is told by colour alone, and what the word means."""


def mark(standing: str) -> str:
    return STANDINGS[standing][0]
