"""Efficient tree search: REBASE on the thoughts that an integer program keeps.

Source: ETS (Hooper et al., 2025) and its repository SqueezeAILab/ETS, for the rule and defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from spex_agents.errors import SettingsError, at_least_zero
from spex_agents.search.policies.embedding import Embedder, Vectors, missing, static_vectors
from spex_agents.search.policies.rebase import Rebase, below, ranked
from spex_agents.search.policy import Decision, Expand, State
from spex_agents.search.tree import Path, TreeView


class _State(NamedTuple):
    width: int
    layer: tuple[Path, ...]
    fallbacks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ets(Rebase):
    """Share the width as REBASE does, over the thoughts of a layer that are worth their memory.

    At each depth an integer program chooses the live thoughts to keep. It maximises the sum of
    their shares in REBASE's allocation, less `cost` times the part of the tree that has to stay in
    memory for them (they and all thoughts above, the question included), plus `coverage` times the
    part of the clusters that keep a member. Clusters are of the last step alone. REBASE then shares
    the width over what is kept. Pruned paths do not vote.

    The source clusters vectors of a model for mathematical texts. The default here is a small
    static one, in which two wordings of a step lie farther apart: at the source's `distance` only
    near copies fall together, so less is pruned. `distance=0.15` joins plain paraphrases.
    Where several choices are equally good, fewer and better thoughts are kept. A step without text
    is a cluster of its own.

    Finding clusters and solving take milliseconds, so decisions are made in a worker thread.

    Attributes:
        width: Thoughts in the first layer, and the width to share afterwards.
        temperature: Of the softmax; lower trusts the reward more.
        cost: lambda_c. 0 keeps everything.
        coverage: lambda_s. The source takes 1.5 at a width of 16, 1.4 at 64, 1.45 at 256.
        distance: Cosine distance up to which average linkage joins clusters.
        nodes: Branch-and-bound nodes the solver may open, a bound that repeats, unlike one in
            seconds. A decision that needs more is REBASE's; the search's ledger counts these
            `fallbacks`.
        embed: Texts to vectors, pure; None for WordLlama's.

    Raises:
        SettingsError: A package is missing, `width` is below 1, `temperature` is not above 0,
            `cost`, `coverage` or `nodes` is negative, or `distance` is not in [0, 2].

    Example:
        >>> Ets(width=8).coverage
        1.5
    """

    blocking: ClassVar[bool] = True

    cost: float = 1.0
    coverage: float = 1.5
    distance: float = 0.05
    nodes: int = 1000
    embed: Embedder | None = None
    _vectors: Vectors = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        Rebase.__post_init__(self)
        at_least_zero(cost=self.cost, coverage=self.coverage, nodes=self.nodes)
        if not 0 <= self.distance <= 2:
            raise SettingsError(f"distance={self.distance!r}: must lie in [0, 2]")
        if (package := missing(self.embed)) is not None:
            raise SettingsError(
                f"{package} is missing, which Ets needs: run pip install 'spex-agents[ets]'"
            )
        object.__setattr__(self, "_vectors", Vectors(self.embed or static_vectors))

    def start(self) -> State:
        return _State(self.width, (), 0)

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        width, layer, fallbacks = state
        (width, after), decision = Rebase.decide(self, (width, layer), tree)
        if not layer or not isinstance(decision, Expand):
            return _State(width, after, fallbacks), decision
        live = ranked(layer, tree)
        if (kept := self._kept(width, live, tree)) is None:
            return _State(width, after, fallbacks + 1), decision
        after = below(kept, self.allocate(width, [tree.reward(path) for path in kept]))
        return _State(width, after, fallbacks), Expand(after)

    def fallbacks(self, state: State) -> int:
        return int(state[2])

    def _kept(self, width: int, live: list[Path], tree: TreeView) -> list[Path] | None:
        """Those of `live`, in order, that the program keeps; None where it finds no solution."""
        if len(live) == 1:
            return live
        from spex_agents.search.policies import tree_program  # noqa: PLC0415 (a second)

        labels = [0] * len(live)
        texts = [tree.thought(path).text for path in live]
        if self.coverage and len(set(texts)) > 1:
            labels = tree_program.clusters(self._vectors(texts), self.distance)
        shares = self.allocate(width, [tree.reward(path) for path in live])
        chosen = tree_program.keep(
            live,
            [share / width for share in shares],
            labels,
            cost=self.cost,
            coverage=self.coverage,
            nodes=self.nodes,
        )
        return None if chosen is None else [live[index] for index in chosen]
