"""A tree in which what is not known yet has been drawn."""

from __future__ import annotations

from collections.abc import Callable, Collection

from spex_agents.search.tree import Path, Thought
from spex_agents.speculation.config import Known

_OPEN = Thought(text="", tokens=0)
_ENDED = Thought(text="", tokens=0, finish="stop", ends=True)


class Drawn:
    """The committed tree and what a draw adds to it, to a policy's eyes a tree like any other.

    Args:
        known: What the search knows.
        draw: Which draw it is.
        leaves_only: Whether only leaves have rewards.
        one_ends: Whether a leaf of reward 1 ends the search.
        seen: Looks up a thought that may be shown.
        ends: Whether the unwritten thought at a path ends it in a draw.
        guess: Draws the reward of a path from its thought and its parent's reward.

    Attributes:
        work: Rewards looked up and paths demanded.
        guessed: Whether the policy has met anything drawn.
        over: Whether it has met a leaf that ends the search.
    """

    __slots__ = (
        "_committed",
        "_demanded",
        "_draw",
        "_drawn",
        "_ends",
        "_guess",
        "_leaves_only",
        "_one_ends",
        "_rewards",
        "_seen",
        "_thoughts",
        "_unwritten",
        "guessed",
        "over",
        "question",
        "seed",
        "work",
    )

    def __init__(
        self,
        known: Known,
        draw: int,
        *,
        leaves_only: bool,
        one_ends: bool,
        seen: Callable[[Path], Thought | None],
        ends: Callable[[Path, int], bool],
        guess: Callable[[Path, Thought | None, float | None, int], float],
    ) -> None:
        self.question = known.tree.question
        self.seed = known.tree.seed
        self.work = 0
        self.guessed = self.over = False
        self._committed = known.tree.thoughts
        self._thoughts = known.thoughts
        self._rewards = known.rewards
        self._draw = draw
        self._leaves_only = leaves_only
        self._one_ends = one_ends
        self._seen = seen
        self._ends = ends
        self._guess = guess
        self._drawn: dict[Path, float] = {}
        self._unwritten: dict[Path, Thought] = {}
        self._demanded: set[Path] = set()

    def demand(self, paths: Collection[Path]) -> None:
        self._demanded.update(paths)
        self.work += len(paths)

    def __contains__(self, path: Path) -> bool:
        return path in self._committed or path in self._demanded

    def thought(self, path: Path) -> Thought:
        if (thought := self._seen(path)) is not None:
            return thought
        if (thought := self._unwritten.get(path)) is None:
            self.guessed = True
            thought = _ENDED if self._ends(path, self._draw) else _OPEN
            self._unwritten[path] = thought
        return thought

    def lost(self, path: Path) -> bool:
        if (thought := self._thoughts.get(path)) is None or thought.failed is None:
            return False
        return path not in self._rewards

    def reward(self, path: Path) -> float:
        self.work += 1
        if (reward := self._rewards.get(path)) is not None:
            if reward >= 1.0 and self._one_ends:
                self._may_end(path)
            return reward
        if (reward := self._drawn.get(path)) is not None:
            return reward
        thought = self._thoughts.get(path)
        if thought is not None and thought.failed is not None:
            return 0.0
        self.guessed = True
        parent = path[:-1]
        above = self.reward(parent) if parent and not self._leaves_only else None
        reward = self._guess(path, thought, above, self._draw)
        self._drawn[path] = reward
        if reward >= 1.0 and self._one_ends:
            self._may_end(path)
        return reward

    def _may_end(self, path: Path) -> None:
        """A committed leaf of reward 1 would have ended the search, had it an answer."""
        if path not in self._committed:
            thought = self._thoughts.get(path) or self._unwritten.get(path, _OPEN)
            self.over = self.over or self._leaves_only or thought.ends
