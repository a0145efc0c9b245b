"""Labels read off a reply's text, where its tokens' probabilities are not told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence


def read_labels(text: str, labels: Sequence[str]) -> Mapping[str, float]:
    """1 for the label that a text names first, as a word; all the same if it names none.

    Example:
        >>> read_labels("No, I am not sure.", ("Yes", "No", "sure"))
        {'Yes': 0.0, 'No': 1.0, 'sure': 0.0}
        >>> read_labels("Perhaps.", ("Yes", "No"))
        {'Yes': 0.5, 'No': 0.5}
    """
    places = {
        label: found.start()
        for label in labels
        if (found := re.search(rf"(?<!\w){re.escape(label.strip())}(?!\w)", text, re.IGNORECASE))
    }
    if not places:
        return dict.fromkeys(labels, 1 / len(labels))
    first = min(places, key=lambda label: places[label])
    return {label: float(label == first) for label in labels}
