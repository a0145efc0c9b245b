"""What a policy sums up of its rounds so far, kept beside them.

Summing up all rounds anew at each decision takes milliseconds where there are hundreds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from spex_agents.search.tree import Path

Node: TypeAlias = tuple[int, float, tuple[Any, ...]]
"""A thought's visits, its value, and the nodes of its children by index: None where there is none,
nothing from the last one on."""

UNVISITED: Node = (0, 0.0, ())


class Rounds(tuple[Path, ...]):
    """A path for each round so far, and the nodes that come of them.

    A state from a checkpoint has the paths alone: its policy sums them up once.

    Attributes:
        root: The question's node.
    """

    root: Node = UNVISITED

    @classmethod
    def of(cls, paths: Iterable[Path], root: Node) -> Rounds:
        rounds = cls(paths)
        rounds.root = root
        return rounds


def child_of(node: Node, index: int) -> Node:
    """The node of a child, whether or not it has been visited."""
    below = node[2]
    return (below[index] if index < len(below) else None) or UNVISITED


def along(root: Node, path: Path, renewed: Callable[[Node, int], Node]) -> Node:
    """The root's node once each node from `path` up is renewed, given with its depth."""
    nodes = [root]
    for index in path:
        nodes.append(child_of(nodes[-1], index))
    node = renewed(nodes.pop(), len(path))
    while nodes:
        visits, value, below = nodes.pop()
        depth = len(nodes)
        index = path[depth]
        before = (*below[:index], *(None,) * (index - len(below)))
        node = renewed((visits, value, (*before, node, *below[index + 1 :])), depth)
    return node
