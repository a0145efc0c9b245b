"""Beam search over thoughts, with lookahead if asked for.

Sources: search-and-learn (Beeching et al., 2024) for the layers and their sizes, Snell et al.
(2024) for lookahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from spex_agents.errors import at_least_zero, one_of
from spex_agents.search.policies.beam_sizes import BeamSizes
from spex_agents.search.policies.repeats import repeated
from spex_agents.search.policy import Decision, Expand, Finish, State, children, present
from spex_agents.search.tree import ROOT, Path, Tree, TreeView


class _State(NamedTuple):
    ended: tuple[Path, ...]
    """Members of earlier layers whose paths have ended."""
    layer: tuple[Path, ...]
    """The question alone before the first decision, none after the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beam(BeamSizes):
    """Keep the `beams` / `width` best live paths of each layer, and expand them to `beams` again.

    The reward of a path is that of its last thought. Where fewer paths live than would be kept,
    they are expanded more often, those that come first in the layer once more than the others. The
    search ends when `beams` paths have ended or none lives.

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
        distinct: Of the live paths of a layer that say the same, only the first may be kept, as
            in the source's published recipes.
        counted: "filled" as in the source: the first `beams` ended paths vote, and where there are
            fewer, the first of them once more, until there are `beams` votes. "ended": all ended
            paths vote, once each.

    Raises:
        SettingsError: `beams` or `width` is below 1, `width` does not divide `beams`, `lookahead`
            is negative, or `counted` is none of the two.

    Example:
        >>> from spex_agents.search.tree import Tree
        >>> policy = Beam(beams=4, width=2)
        >>> policy.decide(policy.start(), Tree("What is 2 + 2?", seed=0))[1]
        Expand(paths=((0,), (1,), (2,), (3,)))
    """

    lookahead: int = 0
    distinct: bool = True
    counted: Literal["filled", "ended"] = "filled"

    def __post_init__(self) -> None:
        BeamSizes.__post_init__(self)
        at_least_zero(lookahead=self.lookahead)
        one_of("counted", self.counted, "filled", "ended")

    def start(self) -> State:
        return _State((), (ROOT,))

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        ended, layer = state
        if not layer:
            return state, Finish()
        if layer == (ROOT,):
            first = children(ROOT, self.beams)
            return _State((), first), Expand(first)
        layer = present(layer, tree)
        live = [path for path in layer if not tree.thought(path).ends]
        finished = (*ended, *(path for path in layer if tree.thought(path).ends))
        if not live or len(finished) >= self.beams:
            return _State(finished, ()), Finish()
        if self.distinct:
            again = repeated(live, tree)
            live = [path for path in live if path not in again]
        tips = {path: self._tip(path, tree) for path in live}
        if due := tuple(tip for tip in tips.values() if tip not in tree):
            return state, Expand(due)
        best = sorted([(-tree.reward(tips[path]), path) for path in live])
        chosen = {path for _, path in best[: self.beams // self.width]}
        kept = [path for path in live if path in chosen]
        layer = tuple((*kept[index % len(kept)], index // len(kept)) for index in range(self.beams))
        return _State(finished, layer), Expand(layer)

    def voters(self, state: State, tree: Tree) -> tuple[Path, ...]:
        ended = self._ended(state, tree)
        if self.counted == "ended":
            return ended
        if state[1] or not ended:
            return ended[: self.beams]
        return tuple(ended[index % len(ended)] for index in range(self.beams))

    def remaining(self, state: State, tree: Tree) -> int:
        if not state[1]:
            return 0
        most = self.beams if self.counted == "filled" else 2 * self.beams - 1
        ended = self._ended(state, tree)
        layer = state[1]
        last = max((layer.index(path) for path in ended if path in layer), default=0)
        # Of a layer of which a part is known: who comes before one that votes may displace it.
        displacing = sum(path not in tree for path in layer[:last])
        return max(0, most - len(ended)) + 2 * displacing

    def frontier(self, state: State, tree: TreeView) -> tuple[Path, ...]:
        return tuple(state[1])

    def _ended(self, state: State, tree: Tree) -> tuple[Path, ...]:
        """The members of all layers that have ended, the part of the last one that is known too."""
        ended, layer = state
        new = (path for path in layer if path in tree and tree.thought(path).ends)
        return (*ended, *(path for path in new if not tree.lost(path)))

    def _tip(self, path: Path, tree: TreeView) -> Path:
        """Where the roll-out of `path` ends, or the thought of it to write next."""
        for _ in range(self.lookahead):
            if tree.thought(path).ends:
                return path
            below = (*path, self.beams)
            if below not in tree:
                return below
            if tree.lost(below):
                return path
            path = below
        return path
