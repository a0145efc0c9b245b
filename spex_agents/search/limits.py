"""Caps on a search: they count the whole path, not its last step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from spex_agents.errors import at_least_one
from spex_agents.search.tree import Thought


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long thoughts and paths may grow.

    Attributes:
        step_tokens: Tokens of one thought.
        path_tokens: Tokens of all thoughts of a path together; where a path holds several tries at
            an answer, of each of them.
        depth: Thoughts in a path.

    Raises:
        SettingsError: A limit is below 1.

    Example:
        >>> Limits(path_tokens=100).room([Thought(text="...", tokens=70)])
        30
    """

    step_tokens: int = 256
    path_tokens: int = 1024
    depth: int = 25

    def __post_init__(self) -> None:
        at_least_one(step_tokens=self.step_tokens, path_tokens=self.path_tokens, depth=self.depth)

    def room(self, before: Sequence[Thought], *, to_end: bool = False) -> int:
        """Tokens that the next thought after `before` may take.

        Args:
            before: The thoughts of the path so far.
            to_end: Whether the thought runs to the end of its path: only the path's cap counts.
        """
        left = self.path_tokens - sum(map(_counted, before))
        return left if to_end else min(self.step_tokens, left)

    def close(self, thought: Thought, before: Sequence[Thought], *, above: int = 0) -> Thought:
        """`thought` with its path ended if a cap of the path ends it.

        Args:
            thought: The last of its path.
            before: The thoughts of its try so far.
            above: Thoughts of earlier tries, where there have been some.
        """
        within_depth = above + len(before) + 1 < self.depth
        if thought.ends or (within_depth and self.room(before, to_end=True) > _counted(thought)):
            return thought
        return replace(thought, ends=True)

    def cut(self, path: Sequence[Thought]) -> bool:
        """Whether a cap has ended `path`, as far as its thoughts tell, and not its writer.

        Example:
            >>> Limits(depth=1).cut([Thought(text="5 + 7 = 12.", tokens=6, ends=True)])
            True
        """
        full = len(path) >= self.depth or self.room(path, to_end=True) <= 0
        return path[-1].finish == "length" or (path[-1].finish == "step" and full)


def _counted(thought: Thought) -> int:
    return thought.tokens - thought.reasoning_tokens
