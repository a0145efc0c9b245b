"""Termination rules of adaptive self-consistency: ask for samples until the majority is settled."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spex_agents.answers.standing import Standing
from spex_agents.answers.termination import TerminationRule
from spex_agents.answers.votes import tally
from spex_agents.errors import SettingsError, at_least_one


@dataclass(frozen=True)
class AdaptiveStop(TerminationRule):
    """Adaptive self-consistency: end once the majority is probably settled. Lossy.

    With v1 votes for the leading answer and v2 for the next one, the share p of the first among
    the two is Beta(v1 + 1, v2 + 1); the search ends when P(p > 1/2) is above `confidence`. Counts
    votes, whatever their weight. Source: Aggarwal et al., 2023 (https://arxiv.org/abs/2305.11860),
    for samples drawn one after the other: search with `BestOfN(batch=...)`, or eagerly.

    Attributes:
        confidence: The probability to exceed.
        eager: End within a decision too. Answers that come quickly then count more, and the tree
            depends on timing.

    Raises:
        SettingsError: `confidence` is not in [0.5, 1).

    Example:
        >>> from spex_agents.answers.votes import Ballot
        >>> votes = [Ballot("4", 0.5)] * 4
        >>> rule = AdaptiveStop()
        >>> [rule(Standing(ballots=votes[:n], vote="majority", remaining=9, tokens=0))
        ...  for n in (3, 4)]
        [False, True]
    """

    confidence: float = 0.95
    eager: bool = False

    def __post_init__(self) -> None:
        if not 0.5 <= self.confidence < 1:
            raise SettingsError(f"confidence={self.confidence!r}: must lie in [0.5, 1)")

    def __call__(self, standing: Standing) -> bool:
        if (leaders := standing.leaders()) is None:
            return False
        counts = tally(standing.ballots, "majority")
        first = int(counts.pop(leaders[0][0]))
        second = int(max(counts.values(), default=0))
        # Beta(a, b) of whole numbers lies above 1/2 as often as a + b - 1 coins show < a heads.
        coins = first + second + 1
        below: int = sum(math.comb(coins, heads) for heads in range(first + 1))
        return below / (1 << coins) > self.confidence


@dataclass(frozen=True)
class WindowStop(TerminationRule):
    """Early-stopping self-consistency: end once a window of votes is unanimous. Lossy.

    The votes are taken in windows of `size`, in the order of their places; the answer is elected by
    all of them. Source: Li et al., 2024 (ESC, https://arxiv.org/abs/2401.10480), for samples drawn
    a window at a time: search with `BestOfN(batch=size)`, or eagerly.

    Attributes:
        size: Votes in a window.
        eager: End within a decision too; the tree then depends on timing.

    Raises:
        SettingsError: `size` is below 1.

    Example:
        >>> rule = WindowStop(5)
        >>> rule.size, rule.lossy, rule.eager
        (5, True, False)
    """

    size: int = 5
    eager: bool = False

    def __post_init__(self) -> None:
        at_least_one(size=self.size)

    def __call__(self, standing: Standing) -> bool:
        answers = [ballot.answer for ballot in standing.ballots]
        whole = range(0, len(answers) - self.size + 1, self.size)
        return any(len(set(answers[first : first + self.size])) == 1 for first in whole)
