"""Thoughts that say the same as others."""

from __future__ import annotations

from collections.abc import Sequence

from spex_agents.search.tree import Path, TreeView


def repeated(paths: Sequence[Path], tree: TreeView) -> set[Path]:
    """Those of `paths` whose texts are those of one before them."""
    seen: set[tuple[str, ...]] = set()
    found = set()
    for path in paths:
        if tree.thought(path).text:  # a text that is not written yet repeats nothing
            texts = tuple(tree.thought(path[:depth]).text for depth in range(1, len(path) + 1))
            if texts in seen:
                found.add(path)
            seen.add(texts)
    return found
