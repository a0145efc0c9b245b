"""Beam search over thoughts, as in search-and-learn (Beeching et al., 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from spex_agents.search.beam_sizes import BeamSizes
from spex_agents.search.policy import Decision, Expand, Finish, State, children
from spex_agents.search.tree import ROOT, Path, TreeView


class _State(NamedTuple):
    ended: int
    layer: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beam(BeamSizes):
    """Keep the `beams` / `width` best live paths of each layer, and expand them to `beams` again.

    The reward of a path is that of its last thought. Where fewer paths live than would be kept,
    they are expanded more often, the best first. The search ends when `beams` paths have ended or
    none lives.

    Attributes:
        beams: Thoughts in a layer.
        width: Children of a kept path.

    Raises:
        SettingsError: `beams` or `width` is below 1, or `width` does not divide `beams`.
    """

    def start(self) -> State:
        return _State(0, ())

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        ended, layer = state
        if not layer and ended:
            return state, Finish()
        if not layer:
            first = children(ROOT, self.beams)
            return _State(0, first), Expand(first)
        live = [path for path in layer if not tree.thought(path).ends]
        ended += len(layer) - len(live)
        if not live or ended >= self.beams:
            return _State(ended, ()), Finish()
        kept = sorted(live, key=lambda path: (-tree.reward(path), path))
        kept = kept[: self.beams // self.width]
        share, extra = divmod(self.beams, len(kept))
        layer = tuple(
            child
            for rank, path in enumerate(kept)
            for child in children(path, share + (rank < extra))
        )
        return _State(ended, layer), Expand(layer)
