"""What a simulated server can tell of a request: which thought it is about, and its prompt."""

from __future__ import annotations

from typing import TypeAlias

from spex_agents.engines.base import Request

QUESTION_TOKENS = 256
"""Of a question with its instructions, in front of the thoughts."""

Node: TypeAlias = tuple[str, ...]
"""A thought: its run and its path."""


def node_of(request: Request) -> Node:
    """The thought that a request is about.

    Example:
        >>> node_of(Request(id="run/0.3/thought-1", seed=0))
        ('run', '0', '3')
    """
    run, _, rest = request.id.partition("/")
    path = rest.partition("/")[0]
    return (run, *path.split(".")) if path else (run,)


def prefix(request: Request) -> list[Node]:
    """What its prompt consists of: the question, and the thoughts above its own."""
    node = node_of(request)
    return [node[:length] for length in range(1, max(2, len(node)))]
