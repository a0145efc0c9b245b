"""Runs ahead of one search: forecasts what it will demand, whenever something has become known."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from time import perf_counter

from spex_agents.answers.standing import Standing
from spex_agents.answers.votes import Ballot
from spex_agents.loops import Threads
from spex_agents.search.limits import Limits
from spex_agents.search.policy import Policy
from spex_agents.search.tree import Path, Thought
from spex_agents.speculation.config import Forecast, Known, SearchConfig, Speculation
from spex_agents.speculation.foresight.forecasts import ReplayForecast
from spex_agents.speculation.foresight.paper import PaperForecast
from spex_agents.speculation.foresight.prediction import Prediction, prediction_of
from spex_agents.speculation.foresight.room import After, Room
from spex_agents.speculation.foresight.selection import Selection
from spex_agents.speculation.running.jobs import Jobs
from spex_agents.speculation.running.memo import Memo
from spex_agents.waiting import in_thread

logger = logging.getLogger(__name__)

FORECASTING = Threads("spex-forecast", os.cpu_count() or 1)


def run_ahead(
    memo: Memo, settings: Speculation, known: Callable[[], Known], after: After
) -> Planner:
    """Let a planner watch `memo`, and begin there what the search will probably demand.

    Args:
        memo: Everything that has been begun for the search.
        settings: How far to run ahead.
        known: Tells what the search knows now.
        after: Tells where it stands once so much more has been decoded and sent.
    """
    config, room = memo.config, None
    if (rule := config.termination) is not None and rule.reached(after(sys.maxsize, sys.maxsize)):
        room = Room(rule, memo, known, after)  # it bounds cost
        memo.affords = memo.scores.affords = room.fits
    policy, prediction = config.policy, prediction_of(memo.budgets.own)
    one_ends = _ends_at_one(config)
    planner = Planner(
        forecast_of(settings, policy, config.limits, prediction, one_ends=one_ends),
        prediction,
        Selection(memo, settings, room),
        known=known,
        jobs=memo.jobs,
        aside=policy.blocking or policy.effort > 0,
    )
    memo.watcher = planner
    return planner


def forecast_of(
    settings: Speculation,
    policy: Policy,
    limits: Limits,
    prediction: Prediction,
    *,
    one_ends: bool = False,
) -> Forecast:
    """The forecast that `settings` name, for one search, which a leaf of reward 1 may end."""
    if callable(settings.forecast):
        return settings.forecast
    paper = settings.forecast == "paper"
    return (PaperForecast if paper else ReplayForecast)(
        policy,
        limits,
        prediction,
        one_ends=one_ends,
        draws=1 if paper else settings.draws,
        lookahead=settings.lookahead,
    )


def _ends_at_one(config: SearchConfig) -> bool:
    """Whether its rule ends a search at the first leaf of reward 1, however many may follow."""
    if (rule := config.termination) is None or rule.timed:
        return False
    first = Standing(ballots=[Ballot("", 1.0)], vote=config.vote, remaining=sys.maxsize, tokens=0)
    return rule.fired(first) is not None


class Planner:
    """Forecasts anew whenever something has become known, and has that selected from.

    Args:
        forecast: Tells what the search will demand.
        prediction: Learns from what becomes known.
        selection: Begins what is probable, and retracts what fades.
        known: Tells what the search knows now.
        jobs: Owns the worker threads.
        aside: A forecast takes milliseconds: it is made in a worker thread.

    Attributes:
        forecast: None once it has failed.
        forecasting: The worker thread's task.
    """

    def __init__(
        self,
        forecast: Forecast,
        prediction: Prediction,
        selection: Selection,
        *,
        known: Callable[[], Known],
        jobs: Jobs,
        aside: bool,
    ) -> None:
        self.forecast: Forecast | None = forecast
        self.forecasting: asyncio.Task[None] | None = None
        self._prediction = prediction
        self._selection = selection
        self._known = known
        self._jobs = jobs
        self._aside = aside
        self._planned: asyncio.Handle | None = None
        self._changed_since = False

    def written(self, path: Path, thought: Thought) -> None:
        self._prediction.learn_end(path, ends=thought.ends)

    def judged(self, path: Path) -> None:
        known = self._known()
        self._prediction.learn_reward(path, known.thoughts, known.rewards)

    def demanded(self) -> None:
        if self._selection.withheld:
            self.changed()

    def changed(self) -> None:
        """Plan once all that happens at this moment has happened."""
        if self.forecast is not None and self._planned is None and not self._jobs.closed:
            self._planned = asyncio.get_running_loop().call_soon(self._plan)

    def _plan(self) -> None:
        self._planned = None
        if self.forecast is None or self._jobs.closed:
            return
        if self._aside:
            self._changed_since = True
            if self.forecasting is None:
                self.forecasting = self._jobs.own(self._forecast_aside())
            return
        self._select(*self._forecast(self._known()), self._selection.guesses)

    async def _forecast_aside(self) -> None:
        """Forecast in a worker thread, on snapshots, one at a time and again after every change.

        What the prediction learns meanwhile the thread may see or not: it looks up single values
        and walks over none that grow, so the worst it meets is half of an update.
        """
        try:
            while self._changed_since and self.forecast is not None:
                self._changed_since = False
                guesses = set(self._selection.guesses)
                known = self._snapshot()
                forecast = await in_thread(self._forecast, known, executor=FORECASTING())
                if not known.outdated():
                    self._select(*forecast, guesses)
        except Exception:
            logger.exception("no more forecasts: the search goes on without running ahead")
            self.forecast = None
        finally:
            self.forecasting = None

    def _snapshot(self) -> Known:
        now = self._known()

        def outdated() -> bool:
            return self._jobs.closed or self._known().decision is not now.decision

        return replace(
            now, thoughts=dict(now.thoughts), rewards=dict(now.rewards), outdated=outdated
        )

    def _forecast(self, known: Known) -> tuple[Mapping[Path, float], float]:
        """What will probably be demanded, and the seconds it took to tell."""
        assert self.forecast is not None  # noqa: S101 (narrowing)
        started = perf_counter()
        try:
            probabilities = self.forecast(known)
        except Exception:
            logger.exception("no forecast: the search goes on without running ahead")
            self.forecast, probabilities = None, {}
        return probabilities, perf_counter() - started

    def _select(
        self, probabilities: Mapping[Path, float], seconds: float, guesses: Collection[Path]
    ) -> None:
        self._selection.select(self._known(), probabilities, guesses, seconds)
