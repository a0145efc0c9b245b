"""Adaptive self-consistency: whole answers one after the other, until the majority is settled.

Sources: Adaptive-Consistency (Aggarwal et al., 2023, https://arxiv.org/abs/2305.11860) for the rule
of the Beta distribution, and ESC (Li et al., 2024, https://arxiv.org/abs/2401.10480) for windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar, Self

from spex_agents.answers.equivalence import Canonical, canonical, form, written
from spex_agents.answers.extract import Extract, extract_answer, found_in
from spex_agents.answers.forms import Form
from spex_agents.answers.self_consistency import AdaptiveStop
from spex_agents.answers.standing import Standing
from spex_agents.answers.termination import TerminationRule
from spex_agents.answers.votes import Ballot
from spex_agents.errors import SettingsError, at_least_one
from spex_agents.search.action import WHOLE, Action
from spex_agents.search.policy import Decision, Expand, Finish, Policy, State, children, present
from spex_agents.search.tree import ROOT, Path, Thought, Tree, TreeView

_SETTLED = AdaptiveStop()
_NOBODY = "\0"
"""An answer that no text has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveConsistency(Policy):
    """Sample whole answers, `batch` at a time, until `rule` calls the majority settled.

    The rule sees one vote for each answer that has been found, whatever its reward. An answer that
    is not written yet is foreseen to settle the majority if any answer can: so only those samples
    are begun early that no other outcome could have spared.

    Take ``vote="majority"``, and a reward that costs nothing, for the sources' algorithm.

    Attributes:
        width: How many answers, at most.
        batch: How many are asked for between two looks at the rule.
        rule: When the majority is settled: `AdaptiveStop`, or `WindowStop(5)` with ``batch=5``.

    Raises:
        SettingsError: `width` or `batch` is below 1, or `rule` depends on timing.

    Example:
        >>> AdaptiveConsistency(width=20).rule
        AdaptiveStop(confidence=0.95, eager=False)
    """

    leaves_only: ClassVar[bool] = True
    cautious: ClassVar[bool] = True
    blocking: ClassVar[bool] = True  # formulas are compared by a process of their own

    width: int = 40
    batch: int = 1
    rule: TerminationRule = _SETTLED
    _reading: tuple[Extract, Canonical] = field(
        default=(extract_answer, canonical), init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        at_least_one(width=self.width, batch=self.batch)
        if self.rule.eager or self.rule.timed:
            raise SettingsError(
                f"rule={self.rule}: depends on timing, and a policy must not: give it to the "
                "search as its termination"
            )

    def reading(self, extract: Extract, canonical: Canonical) -> Self:
        policy = copy(self)
        object.__setattr__(policy, "_reading", (extract, canonical))
        return policy

    def start(self) -> State:
        return 0

    def action(self, path: Path) -> Action:
        return WHOLE

    def decide(self, state: State, tree: TreeView) -> tuple[State, Decision]:
        size = min(self.batch, self.width - state)
        if size < 1 or self._settled(present(children(ROOT, state), tree), state, tree):
            return state, Finish()
        return state + size, Expand(children(ROOT, size, state))

    def remaining(self, state: State, tree: Tree) -> int:
        return self.width - sum(path in tree for path in children(ROOT, self.width))

    def _settled(self, paths: Sequence[Path], asked: int, tree: TreeView) -> bool:
        thoughts = [tree.thought(path) for path in paths]
        found = [self._answer(thought) for thought in thoughts]
        given = [answer for answer in found if answer is not None]
        labels = iter(written(given, [self._form(answer) for answer in given]))
        votes = [None if answer is None else next(labels) for answer in found]
        pending = [not thought.text and not thought.tokens for thought in thoughts]
        guesses = dict.fromkeys(vote for vote in votes if vote is not None) if any(pending) else {}
        tokens = sum(thought.tokens for thought in thoughts)
        for guess in (*guesses, _NOBODY):
            said = [guess if open_ else vote for open_, vote in zip(pending, votes, strict=True)]
            ballots = [
                Ballot(answer, 1.0, path, place)
                for place, (path, answer) in enumerate(zip(paths, said, strict=True))
                if answer is not None
            ]
            standing = Standing(
                ballots=ballots,
                vote="majority",
                remaining=self.width - asked,
                tokens=tokens,
                decoded=tokens,
            )
            if self.rule(standing):
                return True
        return False

    def _answer(self, thought: Thought) -> str | None:
        extract, _ = self._reading
        return _found(extract, thought.text, thought.finish == "length")

    def _form(self, answer: str) -> Form:
        _, by = self._reading
        return form(answer) if by is canonical else Form(by(answer))


@lru_cache(4096)  # a forecast reads the same texts again and again
def _found(extract: Extract, text: str, cut: bool) -> str | None:
    return found_in(extract, text, cut=cut)
