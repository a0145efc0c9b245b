"""The memo table of one search: thoughts and rewards by path, begun early or on demand.

The search demands paths, the planner predicts them, and both begin them here, each once: whoever
comes second finds the work under way. The search sees demanded values only, so its tree is the same
whatever was begun early.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Self

from spex_agents.engines.base import Engine, Request
from spex_agents.rewards.base import asks, calls, places
from spex_agents.search.tree import Path, Thought, Tree, chain_of
from spex_agents.speculation.config import SearchConfig
from spex_agents.speculation.reporting.events import Listener
from spex_agents.speculation.reporting.telemetry import record
from spex_agents.speculation.running.calls import attempt, elders_of, hears, last_elder
from spex_agents.speculation.running.forms import Forms
from spex_agents.speculation.running.jobs import Job, Jobs, settled
from spex_agents.speculation.running.lead import Lead
from spex_agents.speculation.running.observer import Observer
from spex_agents.speculation.running.scores import Scores
from spex_agents.speculation.running.watcher import Nobody, Watcher
from spex_agents.speculation.running.writer import Writer
from spex_agents.speculation.slots.pace import Mark
from spex_agents.speculation.slots.sharing import Budgets
from spex_agents.waiting import until_ended


class Memo:
    """Everything that has been begun for one search, by path.

    To the budgets of its engines it is the `Searcher`: they begin and give up thoughts here.
    Use it as an async context manager, or call `close`: nothing outlives that.

    Args:
        config: What the search is made of.
        tree: What is known already.
        run: First part of all request ids; every search needs its own.
        listener: Called with every event.

    Attributes:
        watcher: Hears what becomes known.
        affords: Whether a guess at a path can be paid for.
        forms: What the answers come to.
        lead: How far ahead of itself without guesses the search is.
        calls: Requests that a thought makes of the engine at a time.
        follows: Those that its reward makes of the same engine.
    """

    calls = 1

    def __init__(
        self, config: SearchConfig, tree: Tree, *, run: str, listener: Listener | None = None
    ) -> None:
        self.config = config
        self.run = run
        self.watcher: Watcher = Nobody()
        self.affords: Callable[[Path], bool] = lambda path: True
        self.news = asyncio.Event()
        """Set whenever something has become known."""
        self.observer = Observer(listener, self._engine_name)
        self.ledger = self.observer.ledger
        self.jobs = Jobs(run, tree.seed)
        self.forms = Forms(config.canonical)
        self.thoughts: dict[Path, Thought] = dict(tree.thoughts)
        # A search that does not run ahead is counted by its engine's budget as well.
        own = config.speculation.budget if config.speculation is not None else None
        self.budgets = Budgets(config.engine, config.engines, self._engine_name, own)
        self.follows = calls(config.reward) if asks(config.reward) is config.engine else 0
        self.lead = Lead(partial(last_elder, config.policy), places(config.reward), self.follows)
        self.scores = Scores(
            config.reward,
            tree.question,
            self._attempt,
            tree.rewards,
            jobs=self.jobs,
            observer=self.observer,
            budget=self.budgets.of_reward(config.reward),
            lead=self.lead,
            judged=self._judged,
            changed=self._changed,
        )
        self.rewards = self.scores.known
        self.scoring = self.scores.flying
        self._writer = Writer(
            config,
            tree.question,
            self.thoughts,
            self.rewards,
            self,
            jobs=self.jobs,
            observer=self.observer,
            budget=self.budgets.of,
            lead=self.lead,
            take=self.take,
            forms=self.forms,
            ended=self._ended,
        )
        self.writing = self._writer.flying
        self._guesses = self._writer.guesses
        self._failed: set[Path] = set()
        """Paths whose guess has failed: not guessed again, or a fault would be met without end."""
        self._closing: asyncio.Task[None] | None = None
        self._recorded = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @property
    def ahead(self) -> Collection[Path]:
        """What has been begun early and not been demanded so far."""
        return self._guesses.keys()

    @property
    def listener(self) -> Listener | None:
        """Who is told of events; None for nobody, from then on."""
        return self.observer.listener

    @listener.setter
    def listener(self, listener: Listener | None) -> None:
        self.observer.listener = listener

    def _engine_name(self, path: Path) -> str:
        return self.config.policy.action(path).engine

    def _attempt(self, path: Path) -> Sequence[Thought]:
        return attempt(self.config.policy, path, chain_of(self.thoughts, path))

    def _judged(self, path: Path) -> None:
        self.watcher.judged(path)

    def _changed(self) -> None:
        self.news.set()
        self.watcher.changed()

    async def take(self, path: Path) -> Thought:
        """Return the thought at `path`: the one begun early, or one written now.

        Raises:
            EngineError: The thought could not be written on demand.
            SessionClosed: The session was closed meanwhile.
        """
        self.demand(path)
        return await settled(path, self.thoughts, self.writing, self._writer.begin)

    def demand(self, path: Path) -> None:
        """Begin the thought at `path`, or take over the guess that began it."""
        if (guess := self._guesses.pop(path, None)) is not None:
            self.observer.demanded(guess)
            budget = self.budgets.of(path)
            budget.taken(self, path)
            self.scores.taken(path)
            if path in self.writing:
                budget.promote(guess.request)
                self._promote(guess.request, self.config.writer(self.config.policy.action(path)))
            elif self.rewarded(path) and self.config.merge is None:
                self.judge(path)
        elif path not in self.thoughts and path not in self.writing:
            self._writer.begin(path)

    def judge(self, path: Path) -> None:
        """Begin the reward of the thought at `path`, or take over the guess that began it."""
        guess, engine = self.scores.demand(path), asks(self.config.reward)
        if guess is not None and engine is not None:
            self._promote(guess.request, engine)

    def lose(self, path: Path, thought: Thought) -> None:
        """Know a path as failed, which is begun no more."""
        written = path in self.thoughts
        self.thoughts[path] = thought
        self.observer.lost(path, written=written)

    def give_up(self) -> None:
        """Cancel what was demanded and is under way: nobody waits for it any more."""
        self.jobs.give_up(job for job in self.writing.values() if job.request.demanded)
        self.jobs.give_up(self.scoring.values())

    def spent(self) -> tuple[int, int]:
        """Tokens decoded and sent for the search so far, those of what is under way included."""
        decoded = self.ledger.decoded_tokens + sum(job.request.tokens for job in self.jobs.live)
        sent = sum(job.request.prompt_tokens for job in self.jobs.live)
        return decoded, self.ledger.sent_tokens + sent

    def may_launch(self, path: Path) -> bool:
        """Whether a guess at `path`, below a written parent, makes sense, or is under way."""
        return (
            path not in self.thoughts
            and path not in self._failed
            and all(elder in self.thoughts for elder in elders_of(self.config.policy, path))
            and (not hears(self.config, path) or self._judged_above(path))
        )

    def _judged_above(self, path: Path) -> bool:
        return all(path[:depth] in self.rewards for depth in range(1, len(path)))

    def launch(self, path: Path, probability: float = 1.0) -> None:
        """Begin the thought at `path` early, if it may be still and can be paid for.

        Args:
            path: A path whose parent's text is known, and its elders' where it goes on with theirs.
            probability: That it will be demanded.

        Raises:
            SessionClosed: The session was closed.
        """
        known = path in self.thoughts or path in self.writing or path in self._failed
        if not known and self.affords(path):
            self._writer.begin(path, guess=True, probability=probability)

    def retract(self, path: Path) -> None:
        """Cancel the thought at `path`, which was begun early and has become improbable."""
        if self.jobs.retract(guess := self.writing[path], self.writing, self.budgets.of(path)):
            del self._guesses[path]
            self.observer.retracted(guess)

    def _promote(self, request: Request, engine: Engine) -> None:
        request.demanded = True
        self.jobs.own(engine.promote(request))

    def _ended(self, job: Job[Thought]) -> None:
        self.observer.ended(job)
        self.observer.prompted(job)
        path, task = job.path, job.task
        # One that finished as it was retracted counts as cancelled: another may have replaced it.
        if task.cancelled() or job.cancelled is not None or self.jobs.closed:
            self.observer.aborted(job, closing=self.jobs.closed)
            return
        if task.exception() is None:
            thought = self.thoughts[path] = task.result()
            self.watcher.written(path, thought)
            self.observer.written(job, thought)
            if job.request.demanded and self.rewarded(path) and self.config.merge is None:
                self.scores.demand(path)
        else:
            if job.guess:
                self._guesses.pop(path, None)
                self._failed.add(path)
            self.observer.failed(job)
        self._changed()

    def round(self, paths: Sequence[Path], mark: Mark, waited: float) -> None:
        """What a decision demanded has been committed.

        Args:
            paths: That.
            mark: Where the work of the engine stood when it was demanded.
            waited: Seconds since then that nobody waited for it.
        """
        now, pace = asyncio.get_running_loop().time(), self.budgets.pace(paths)
        self.lead.round(
            paths,
            now - mark.time - waited,
            line=pace.times.line,
            slots=pace.slots,
            demanded=pace.demanded_since(mark, now),
        )
        if self.config.speculation is not None:
            self.ledger.saved_seconds = self.lead.told
        for budget in self.budgets.all:
            budget.tell(self, self.lead.seconds, len(paths))
        self.scores.tell(self.lead.seconds, len(paths))

    def rewarded(self, path: Path) -> bool:
        """Whether the thought at `path`, which is written, has a reward."""
        return self.thoughts[path].ends or not self.config.policy.leaves_only

    async def close(self) -> None:
        """Abort everything in flight and wait for it, even if the caller is cancelled meanwhile.

        The ledger is complete afterwards, and its figures are on the current OpenTelemetry span.
        """
        if self._closing is None:
            self.jobs.closed = True
            for budget in self.budgets.all:
                budget.leave(self)
            self.scores.leave()
            self._closing = asyncio.create_task(self._drain(), context=contextvars.Context())
        await until_ended(self._closing)
        self._closing.result()
        if not self._recorded:  # figures of one span add up
            self._recorded = True
            record(self.ledger)

    async def _drain(self) -> None:
        left = {**self._guesses, **self.writing}
        self.jobs.give_up(self.writing.values())
        self.jobs.give_up(self.scoring.values())
        await self.jobs.end()
        self.observer.closed(left.values())
