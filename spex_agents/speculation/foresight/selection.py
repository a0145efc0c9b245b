"""Which of the foreseen thoughts are begun, and which of those begun are given up."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from time import perf_counter

from spex_agents.search.policy import Expand
from spex_agents.search.tree import Path, Tree
from spex_agents.speculation.config import Known, Speculation
from spex_agents.speculation.foresight.room import Room
from spex_agents.speculation.running.memo import Memo
from spex_agents.speculation.slots.budget import Budget

KEPT_BY_SEARCH = 0.4
"""A thought under way is kept while its probability is at least this share of the threshold: what
it has cost already is no longer a cost. The budget has one of its own, `KEPT_BY_BUDGET`."""


class Selection:
    """Begins what is probable enough for what has been wasted so far, and retracts what fades.

    Args:
        memo: Where thoughts are begun.
        settings: How far to run ahead.
        room: What a limit on cost leaves for it; None where there is no such limit.

    Attributes:
        withheld: Whether it has begun nothing, for something is about to be demanded that guesses
            would only be in the way of.
    """

    def __init__(self, memo: Memo, settings: Speculation, room: Room | None) -> None:
        self.withheld = False
        self._memo = memo
        self._settings = settings
        self._room = room
        self._tree: Tree | None = None
        self._mean = 1.0
        """Tokens of a thought of that tree."""

    @property
    def guesses(self) -> Collection[Path]:
        """What has been begun early and not been demanded so far."""
        return self._memo.ahead

    def select(
        self,
        known: Known,
        probabilities: Mapping[Path, float],
        guesses: Collection[Path],
        seconds: float,
    ) -> None:
        """Offer what is probable to the budget, and retract those of `guesses` that no longer are.

        Args:
            known: What the search knows now.
            probabilities: Of being demanded, by path.
            guesses: What had been begun early when these were forecast.
            seconds: Computing time of the forecast, for the ledger.
        """
        started = perf_counter()
        memo, settings = self._memo, self._settings
        decided = known.decision.paths if isinstance(known.decision, Expand) else ()
        if due := [path for path in decided if path in memo.ahead]:
            # As good as demanded: a graph decides in one node, and demands in the next.
            probabilities = {**probabilities, **dict.fromkeys(due, 1.0)}
        self.withheld = any(
            path not in memo.thoughts and path not in memo.writing for path in decided
        )
        fading = settings.threshold * KEPT_BY_SEARCH
        for path in [path for path in memo.ahead if path in memo.writing and path in guesses]:
            if probabilities.get(path, 0.0) < fading:
                memo.retract(path)
        if self._room is not None:
            for path in self._room.too_much(probabilities):
                if path in memo.writing:
                    memo.retract(path)
                else:
                    memo.scores.retract(path)
        written = [path for path in memo.ahead if path in memo.thoughts and memo.rewarded(path)]
        memo.scores.offer(written, probabilities, least=fading, share=settings.share)
        least = self._least(known, probabilities)
        offers = {
            path: probability
            for path, probability in probabilities.items()
            if memo.may_launch(path)
            and (path in memo.writing or (probability >= least and not self.withheld))
        }
        own: dict[Budget, dict[Path, float]] = {budget: {} for budget in memo.budgets.all}
        for path, probability in offers.items():
            own[memo.budgets.of(path)][path] = probability
        for budget, offered in own.items():
            budget.offer(memo, offered, share=settings.share, foreseen=probabilities)
        memo.ledger.plans += 1
        memo.ledger.plan_seconds += seconds + perf_counter() - started

    def _least(self, known: Known, probabilities: Mapping[Path, float]) -> float:
        """The probability to ask for now, higher the more has been wasted.

        A thought of probability p adds (1 - p) to the waste for each p of use: from 1 / (1 + w) on
        it brings a ratio above w down.
        """
        threshold, waste = self._settings.threshold, self._settings.waste
        strict = 1 / (1 + waste)
        if strict <= threshold:
            return threshold
        spent = min(1.0, self._waste(known, probabilities) / waste) if waste else 1.0
        return threshold + (strict - threshold) * spent

    def _waste(self, known: Known, probabilities: Mapping[Path, float]) -> float:
        """The waste ratio to expect of what has been begun so far."""
        memo, prompts = self._memo, self._settings.prompts
        useful, wasted = memo.ledger.waste(prompts)
        if known.tree is not self._tree:
            self._tree, committed = known.tree, known.tree.thoughts.values()
            decoded = sum(thought.tokens for thought in committed)
            self._mean = decoded / len(committed) if committed else 1.0
        sent = prompts * memo.ledger.sent_tokens / max(1, memo.ledger.thought_calls)
        mean = self._mean + sent
        for path in memo.ahead:
            if (thought := memo.thoughts.get(path)) is not None:
                wasted -= thought.tokens + sent  # counted as waste until it is taken
            tokens = thought.tokens + sent if thought is not None else mean
            useful += tokens * probabilities.get(path, 0.0)
            wasted += tokens * (1 - probabilities.get(path, 0.0))
        useful += mean * sum(job.request.demanded for job in memo.writing.values())
        return wasted / useful if useful else 0.0
