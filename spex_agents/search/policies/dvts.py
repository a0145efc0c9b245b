"""Diverse verifier tree search, as in search-and-learn (Beeching et al., 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spex_agents.errors import one_of
from spex_agents.search.policies.beam_sizes import BeamSizes
from spex_agents.search.policy import Decision, Expand, Finish, State, best_of, children, present
from spex_agents.search.tree import ROOT, Path, Tree, TreeView

_Group = tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dvts(BeamSizes):
    """`beams` / `width` subtrees that never compete: each keeps its best thought and expands that.

    The subtrees share no reward, so none ever waits for another: as soon as one has its rewards,
    its next thoughts are certain, and begun early. A subtree ends when the path that it keeps has
    ended.

    Attributes:
        beams: Thoughts in a layer, over all subtrees.
        width: Children of a kept thought.
        counted: "layer" as in the source: all paths that end in the last layer of their subtree
            vote. "kept": only the one that the subtree has kept.

    Raises:
        SettingsError: `beams` or `width` is below 1, `width` does not divide `beams`, or `counted`
            is none of the two.

    Example:
        >>> from spex_agents.search.tree import Tree
        >>> policy = Dvts(beams=4, width=2)
        >>> policy.decide(policy.start(), Tree("What is 2 + 2?", seed=0))[1]
        Expand(paths=((0,), (1,), (2,), (3,)))
    """

    counted: Literal["layer", "kept"] = "layer"

    def __post_init__(self) -> None:
        BeamSizes.__post_init__(self)
        one_of("counted", self.counted, "layer", "kept")

    def start(self) -> State:
        return ()

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        if not state:
            groups = tuple(
                children(ROOT, self.width, first) for first in range(0, self.beams, self.width)
            )
            return groups, Expand(tuple(path for group in groups for path in group))
        groups = tuple(self._next(group, tree) for group in state)
        due = tuple(path for group in groups for path in group if path not in tree)
        return groups, Expand(due) if due else Finish()

    def voters(self, state: State, tree: Tree) -> tuple[Path, ...]:
        done = [group for group in state if self._done(group, tree)]
        done.sort(key=lambda group: len(group[0]))  # in the order in which they have ended
        if self.counted == "kept":
            kept = (best_of(group, tree) for group in done)
            return tuple(path for path in kept if path is not None)
        return tuple(
            path for group in done for path in present(group, tree) if tree.thought(path).ends
        )

    def frontier(self, state: State, tree: TreeView) -> tuple[Path, ...]:
        return tuple(path for group in state for path in group)

    def remaining(self, state: State, tree: Tree) -> int:
        groups = state or (None,) * (self.beams // self.width)
        open_groups = sum(group is None or not self._done(group, tree) for group in groups)
        return open_groups * (self.width if self.counted == "layer" else 1)

    def _done(self, group: _Group, tree: Tree) -> bool:
        known = all(path in tree.rewards or (path in tree and tree.lost(path)) for path in group)
        return known and self._next(group, tree) == group

    def _next(self, group: _Group, tree: TreeView) -> _Group:
        best = best_of(group, tree)
        if best is None or tree.thought(best).ends:
            return group
        return children(best, self.width)
