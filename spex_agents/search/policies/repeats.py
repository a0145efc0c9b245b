"""Thoughts that say the same as others."""

from __future__ import annotations

from collections.abc import Sequence

from spex_agents.search.tree import Path, TreeView


def repeated(paths: Sequence[Path], tree: TreeView) -> set[Path]:
    """Those of `paths` whose texts are those of one before them."""
    seen: set[tuple[str, ...]] = set()
    found = set()
    above: dict[Path, tuple[str, ...]] = {}
    for path in paths:
        if text := tree.thought(path).text:  # a text that is not written yet repeats nothing
            parent = path[:-1]
            if parent not in above:
                chain = [parent[:depth] for depth in range(1, len(path))]
                above[parent] = tuple([tree.thought(each).text for each in chain])
            texts = (*above[parent], text)
            if texts in seen:
                found.add(path)
            seen.add(texts)
    return found
