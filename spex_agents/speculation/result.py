"""What a search came to, whether it has ended or failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spex_agents.answers.votes import Ballot
from spex_agents.search.tree import Path, Tree
from spex_agents.speculation.reporting.ledger import Ledger
from spex_agents.view.page import run_page


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a search came to. In a notebook it shows its tree and its timeline.

    Attributes:
        answer: The elected answer, as the plainest of its leaves wrote it; None if none has one.
        path: Of the leaf it is taken from; None without an answer.
        ballots: The votes, each with its path and its weight.
        agreement: The answer's share of the vote; None without a vote.
        tree: The committed tree; of a search that failed, with what there was besides.
        ledger: What it cost.
        stopped: The termination rule that ended it, or None if the policy or an error did.
        error: What ended it, if an error did.
        timed: Whether the tree depends on timing, as some rules make it.
        recorded: The run as `run_page` shows it; None where it was not kept.
        engines: What of the ledger was for thoughts, by the name of the engine that wrote them; ""
            is the search's own.

    Example:
        >>> import asyncio
        >>> from spex_agents import BestOfN, SearchConfig, solve
        >>> from spex_agents.engines import SimulatedEngine
        >>> from spex_agents.rewards import SimulatedReward
        >>> engine = SimulatedEngine(speed=1000)
        >>> config = SearchConfig(engine=engine, policy=BestOfN(width=8), reward=SimulatedReward())
        >>> result = asyncio.run(solve(config, "What is 5 + 7?", seed=8))
        >>> result.answer, result.ended, len(result.ballots)
        ('12', 'policy', 8)
    """

    answer: str | None
    path: Path | None
    ballots: tuple[Ballot, ...]
    agreement: float | None
    tree: Tree
    ledger: Ledger
    stopped: str | None
    error: str | None = None
    timed: bool = False
    engines: Mapping[str, Ledger] = field(default_factory=dict)
    recorded: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    def _repr_html_(self) -> str | None:
        return None if self.recorded is None else run_page([self.recorded])._repr_html_()

    @property
    def ended(self) -> str:
        """What ended the search: an error, a termination rule, or the policy."""
        return self.error or self.stopped or "policy"

    @property
    def failures(self) -> Mapping[Path, str]:
        """The paths that failed, each with its reason."""
        return self.tree.failures()

    @property
    def merged(self) -> Mapping[Path, Path]:
        """The paths that said the same as another of their decision, each with that one."""
        return self.tree.merged()

    @property
    def tree_sha256(self) -> str:
        """The tree's hash, marked where it is not to be compared."""
        return marked(self.tree, timed=self.timed)


def marked(tree: Tree, *, timed: bool) -> str:
    """The hash of `tree`, with a mark before it if the tree depends on timing.

    Example:
        >>> marked(Tree("What is 2 + 2?"), timed=True)[:10]
        'timed:4f53'
    """
    return f"timed:{tree.sha256()}" if timed else tree.sha256()
