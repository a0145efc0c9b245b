"""Runs ahead of one search: foresees what it will demand, begins that, and gives up what fades."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from time import perf_counter

from spex_agents.search.tree import Path
from spex_agents.speculation.config import Forecast, Known, Speculation
from spex_agents.speculation.foresight.selection import forecaster
from spex_agents.speculation.running.memo import Memo
from spex_agents.waiting import in_thread

logger = logging.getLogger(__name__)

KEEP = 0.4
"""A thought under way is kept while its probability is at least this share of the threshold: what
it has cost already is no longer a cost."""


class Planner:
    """Plans anew whenever something has become known.

    Args:
        memo: Where thoughts are begun.
        settings: How far to run ahead.
        known: Tells what the search knows now.

    Attributes:
        forecast: What foresees; None once that has failed.
        foreseeing: The worker thread's task, for a policy that is `blocking`.
    """

    def __init__(self, memo: Memo, settings: Speculation, known: Callable[[], Known]) -> None:
        self.forecast: Forecast | None = forecaster(
            settings, memo.config.policy, memo.config.limits, memo.prediction
        )
        self._memo = memo
        self._settings = settings
        self._known = known
        self._planned: asyncio.Handle | None = None
        self.foreseeing: asyncio.Task[None] | None = None
        self._changed_since = False

    def changed(self) -> None:
        """Plan once all that happens at this moment has happened."""
        if self.forecast is not None and self._planned is None and not self._memo.jobs.closed:
            self._planned = asyncio.get_running_loop().call_soon(self._plan)

    def _plan(self) -> None:
        self._planned = None
        if self.forecast is None or self._memo.jobs.closed:
            return
        if self._memo.config.policy.blocking:
            self._changed_since = True
            if self.foreseeing is None:
                self.foreseeing = self._memo.jobs.own(self._foresee_aside())
            return
        self._apply(*self._foresee(self._known()), self._memo.ahead)

    async def _foresee_aside(self) -> None:
        """Foresee in a worker thread, on snapshots, one at a time and again after every change.

        What the prediction learns meanwhile the thread may see or not: it looks up single values
        and walks over none that grow, so the worst it meets is half of an update.
        """
        try:
            while self._changed_since:
                self._changed_since = False
                guesses = set(self._memo.ahead)
                known = self._snapshot()
                foreseen = await in_thread(self._foresee, known)
                if not known.outdated():
                    self._apply(*foreseen, guesses)
        except Exception:
            logger.exception("no more forecasts: the search goes on without running ahead")
            self.forecast = None
        finally:
            self.foreseeing = None

    def _snapshot(self) -> Known:
        now = self._known()

        def outdated() -> bool:
            return self._memo.jobs.closed or self._known().decision is not now.decision

        return replace(
            now, thoughts=dict(now.thoughts), rewards=dict(now.rewards), outdated=outdated
        )

    def _foresee(self, known: Known) -> tuple[Mapping[Path, float], float]:
        """What will probably be demanded, and the seconds it took to tell."""
        assert self.forecast is not None  # noqa: S101 (narrowing)
        started = perf_counter()
        try:
            chances = self.forecast(known)
        except Exception:
            logger.exception("no forecast: the search goes on without running ahead")
            self.forecast, chances = None, {}
        return chances, perf_counter() - started

    def _apply(
        self, chances: Mapping[Path, float], seconds: float, guesses: Collection[Path]
    ) -> None:
        """Begin what is probable, and retract those of `guesses` that no longer are."""
        memo, settings = self._memo, self._settings
        started = perf_counter()
        for path in [path for path in memo.ahead if path in memo.writing and path in guesses]:
            if chances.get(path, 0.0) < settings.threshold * KEEP:
                memo.retract(path)
        least = self._least(chances)
        worth = {
            path: chance
            for path, chance in chances.items()
            if memo.may_launch(path) and (chance >= least or path in memo.writing)
        }
        memo.budget.offer(memo, worth, share=settings.share)
        memo.ledger.plans += 1
        memo.ledger.plan_seconds += seconds + perf_counter() - started

    def _least(self, chances: Mapping[Path, float]) -> float:
        """The probability to ask for now, higher the more has been wasted.

        A thought of probability p adds (1 - p) to the waste for each p of use: from 1 / (1 + w) on
        it brings a ratio above w down.
        """
        threshold, waste = self._settings.threshold, self._settings.waste
        strict = 1 / (1 + waste)
        if strict <= threshold:
            return threshold
        spent = min(1.0, self._waste(chances) / waste) if waste else 1.0
        return threshold + (strict - threshold) * spent

    def _waste(self, chances: Mapping[Path, float]) -> float:
        """The waste ratio to expect of what has been begun so far."""
        memo = self._memo
        useful, wasted = float(memo.ledger.useful_tokens), float(memo.ledger.wasted_tokens)
        committed = self._known().tree.thoughts.values()
        mean = sum(thought.tokens for thought in committed) / len(committed) if committed else 1.0
        for path in memo.ahead:
            if (thought := memo.thoughts.get(path)) is not None:
                wasted -= thought.tokens  # counted as waste until it is taken
            tokens = thought.tokens if thought is not None else mean
            useful += tokens * chances.get(path, 0.0)
            wasted += tokens * (1 - chances.get(path, 0.0))
        useful += mean * sum(job.request.demanded for job in memo.writing.values())
        return wasted / useful if useful else 0.0
