"""Labels read off a reply's text, where its tokens' probabilities are not told."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

_SHOWN = 60
"""Characters of a reply in a warning."""


def read_labels(
    text: str, labels: Sequence[str], warn: Callable[[str], None]
) -> Mapping[str, float]:
    """1 for the label that a text names first, as a word; all the same if it names none.

    Args:
        text: The reply.
        labels: What it may name.
        warn: Is told if it names none.

    Example:
        >>> read_labels("No, I am not sure.", ("Yes", "No", "sure"), print)
        {'Yes': 0.0, 'No': 1.0, 'sure': 0.0}
        >>> read_labels("Perhaps.", ("Yes", "No"), print)
        judges with none of Yes, No: it said 'Perhaps.', and such scores are all the same; \
pass another reward=, or a Judge with a prompt= that asks more clearly
        {'Yes': 0.5, 'No': 0.5}
    """
    places = {
        label: found.start()
        for label in labels
        if (found := re.search(rf"(?<!\w){re.escape(label.strip())}(?!\w)", text, re.IGNORECASE))
    }
    if not places:
        warn(
            f"judges with none of {', '.join(labels)}: it said {text[:_SHOWN]!r}, and such scores "
            "are all the same; pass another reward=, or a Judge with a prompt= that asks more "
            "clearly"
        )
        return dict.fromkeys(labels, 1 / len(labels))
    first = min(places, key=lambda label: places[label])
    return {label: float(label == first) for label in labels}
