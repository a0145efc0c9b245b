"""Diverse verifier tree search, as in search-and-learn (Beeching et al., 2024)."""

from __future__ import annotations

from dataclasses import dataclass

from spex_agents.search.policies.beam_sizes import BeamSizes
from spex_agents.search.policy import Decision, Expand, Finish, State, children
from spex_agents.search.tree import ROOT, Path, TreeView

_Group = tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dvts(BeamSizes):
    """`beams` / `width` subtrees that never compete: each keeps its best thought and expands that.

    The subtrees share no reward, so none ever waits for another: as soon as one has its rewards,
    its next thoughts are certain, and begun early. The path that a subtree has kept to its end
    votes; its other leaves do not.

    Attributes:
        beams: Thoughts in a layer, over all subtrees.
        width: Children of a kept thought.

    Raises:
        SettingsError: `beams` or `width` is below 1, or `width` does not divide `beams`.
    """

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

    def voters(self, state: State, tree: TreeView) -> tuple[Path, ...]:
        return tuple(
            self._best(group, tree)
            for group in state
            if all(path in tree for path in group) and tree.thought(self._best(group, tree)).ends
        )

    def frontier(self, state: State, tree: TreeView) -> tuple[Path, ...]:
        return tuple(path for group in state for path in group)

    def remaining(self, state: State, tree: TreeView) -> int:
        return len(state) - len(self.voters(state, tree))

    def _next(self, group: _Group, tree: TreeView) -> _Group:
        best = self._best(group, tree)
        return group if tree.thought(best).ends else children(best, self.width)

    def _best(self, group: _Group, tree: TreeView) -> Path:
        return min(group, key=lambda path: (-tree.reward(path), path))
