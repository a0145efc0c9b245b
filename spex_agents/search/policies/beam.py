"""Beam search over thoughts, with lookahead if asked for.

Sources: search-and-learn (Beeching et al., 2024) for the layers and their sizes, Snell et al.
(2024) for lookahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from spex_agents.errors import at_least_zero
from spex_agents.search.policies.beam_sizes import BeamSizes
from spex_agents.search.policy import Decision, Expand, Finish, State, children
from spex_agents.search.tree import ROOT, Path, TreeView


class _State(NamedTuple):
    ended: tuple[Path, ...]
    """Members of earlier layers whose paths have ended."""
    layer: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beam(BeamSizes):
    """Keep the `beams` / `width` best live paths of each layer, and expand them to `beams` again.

    The reward of a path is that of its last thought. Where fewer paths live than would be kept,
    they are expanded more often, the best first. The search ends when `beams` paths have ended or
    none lives.

    With `lookahead` k each live path of a layer is first rolled out by k more thoughts, fewer where
    it ends before, and the reward of the last one decides in place of its own. As in the source, a
    roll-out only judges: the layer below is sampled anew, and no answer of a roll-out votes. Its
    thoughts are children of index `beams`, which no expansion reaches. The source rolls out
    greedily; here a roll-out is sampled like any other thought, a single draw of what follows.
    (search-and-learn judges by the roll-out in its DVTS; its beam search writes one too, and then
    scores the path without it.)

    Attributes:
        beams: Thoughts in a layer.
        width: Children of a kept path.
        lookahead: Thoughts in a roll-out.

    Raises:
        SettingsError: `beams` or `width` is below 1, `width` does not divide `beams`, or
            `lookahead` is negative.
    """

    lookahead: int = 0

    def __post_init__(self) -> None:
        BeamSizes.__post_init__(self)
        at_least_zero(lookahead=self.lookahead)

    def start(self) -> State:
        return _State((), ())

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        ended, layer = state
        if not layer and ended:
            return state, Finish()
        if not layer:
            first = children(ROOT, self.beams)
            return _State((), first), Expand(first)
        live = [path for path in layer if not tree.thought(path).ends]
        finished = (*ended, *(path for path in layer if tree.thought(path).ends))
        if not live or len(finished) >= self.beams:
            return _State(finished, ()), Finish()
        tips = {path: self._tip(path, tree) for path in live}
        if due := tuple(tip for tip in tips.values() if tip not in tree):
            return state, Expand(due)
        kept = sorted(live, key=lambda path: (-tree.reward(tips[path]), path))
        kept = kept[: self.beams // self.width]
        share, extra = divmod(self.beams, len(kept))
        layer = tuple(
            child
            for rank, path in enumerate(kept)
            for child in children(path, share + (rank < extra))
        )
        return _State(finished, layer), Expand(layer)

    def voters(self, state: State, tree: TreeView) -> tuple[Path, ...] | None:
        return tuple(state[0]) if self.lookahead else None

    def frontier(self, state: State, tree: TreeView) -> tuple[Path, ...]:
        return tuple(state[1])

    def _tip(self, path: Path, tree: TreeView) -> Path:
        """Where the roll-out of `path` ends, or the thought of it to write next."""
        for _ in range(self.lookahead):
            if tree.thought(path).ends:
                return path
            path = (*path, self.beams)
            if path not in tree:
                return path
        return path
