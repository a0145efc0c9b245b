"""One search: what it demands, what it commits, and how far it runs ahead meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from time import perf_counter
from typing import Any, TypeVar

from spex_agents.errors import SessionClosed
from spex_agents.rewards.base import in_groups
from spex_agents.search.answers import Ballot, canonical, elect, plain_form
from spex_agents.search.policy import Decision, Expand, Finish, State, ask
from spex_agents.search.tree import Path, Thought, Tree
from spex_agents.speculation.config import Forecast, Known, SearchConfig, Speculation
from spex_agents.speculation.events import Listener
from spex_agents.speculation.memo import Memo
from spex_agents.speculation.selection import forecaster
from spex_agents.speculation.termination import Standing
from spex_agents.waiting import until_ended

logger = logging.getLogger(__name__)

T = TypeVar("T")

KEEP = 0.4
"""A thought under way is kept while its probability is at least this share of the threshold: what
it has cost already is no longer a cost."""


class Session(Memo):
    """One search: its committed tree, and everything in flight for it.

    Use it as an async context manager, or call `close`: nothing outlives that.

    Args:
        config: What the search is made of.
        tree: The committed tree to go on from; one without thoughts begins a search.
        state: The policy's state that belongs to `tree`; None for its start.
        decision: The decision that came with `state`; None before the first.
        run: First part of all request ids; every session needs its own.
        listener: Called with every event.
    """

    def __init__(
        self,
        config: SearchConfig,
        tree: Tree,
        *,
        run: str,
        state: State = None,
        decision: Decision | None = None,
        listener: Listener | None = None,
    ) -> None:
        super().__init__(config, tree, run=run, listener=listener)
        self.tree = tree
        self.state = config.policy.start() if state is None else state
        self.stopped: str | None = None
        """The stopping rule that ended the search, if one did."""
        self._decision = decision
        self._answers: dict[Path, str | None] = {}
        self._planned: asyncio.Handle | None = None
        self._foreseeing: asyncio.Task[None] | None = None
        self._changed_since = False
        self._forecast: Forecast | None = None
        if config.speculation is not None:
            self._forecast = forecaster(
                config.speculation, config.policy, config.limits, self._prediction
            )

    def __repr__(self) -> str:
        status = "closed" if self._closing else f"{len(self._tasks)} calls in flight"
        return f"<Session {self.run}: {len(self.tree)} thoughts, {status}>"

    async def decide(self) -> Decision:
        """Ask the policy, then the stopping rule, what comes next.

        Raises:
            PolicyError: The policy broke its contract.
        """
        policy = self.config.policy
        asked = (policy, self.state, self.tree, self.config.limits)
        state, decision = await self._aside(ask, *asked) if policy.blocking else ask(*asked)
        stopped = None
        if isinstance(decision, Expand) and (stop := self.config.stop) is not None:
            standing = Standing(
                ballots=await self._ballots(state),
                vote=self.config.vote,
                remaining=policy.remaining(state, self.tree),
                tokens=sum(thought.tokens for thought in self.tree.thoughts.values()),
            )
            if stop(standing):
                # The policy's own decision is dropped, and the state that belongs to it.
                state, stopped, decision = self.state, str(stop), Finish()
        # All at once, and after the last await: a plan made meanwhile, or a cancellation, meets the
        # state and the decision that belong together.
        if (fallbacks := policy.fallbacks(state) - policy.fallbacks(self.state)) > 0:
            logger.warning("%r has decided by its simpler rule", policy)
            self.ledger.fallbacks += fallbacks
        self.state, self.stopped, self._decision = state, stopped, decision
        self._changed()
        return decision

    async def expand(self, paths: Iterable[Path]) -> dict[Path, Thought]:
        """Take the thoughts at `paths`, all at once, and commit them in that order.

        Raises:
            EngineError: A thought could not be written; nothing of this call is committed.
        """
        due = [path for path in paths if path not in self.tree]
        # What is under way first: a thought that begins may push guesses out, but none of these.
        for path in sorted(due, key=lambda path: path not in self._guesses):
            self._demand(path)
        thoughts = {path: await self.take(path) for path in due}
        self.tree = self.tree.with_thoughts(thoughts)
        for path, thought in thoughts.items():
            self.ledger.use(thought.tokens)
            if path in self._hits:
                self.ledger.hit_tokens += thought.tokens
            self.ledger.useful_seconds += self._took.pop(path, 0.0)
            self._emit(path, "accepted", text=thought.text, tokens=thought.tokens)
        return thoughts

    async def evaluate(self, paths: Iterable[Path]) -> dict[Path, float]:
        """Take the rewards of the committed thoughts at `paths`, and commit them in that order.

        Raises:
            RewardError: A reward failed or is out of range; nothing of this call is committed.
        """
        due = [path for path in paths if path not in self.tree.rewards and self._rewarded(path)]
        if due and in_groups(scorer := self.config.reward):
            self._score_group(due, scorer)
        else:
            for path in due:
                if path not in self.rewards and path not in self.scoring:
                    self._score(path, guess=False)
        rewards = {
            path: await self._settle(path, self.rewards, self.scoring, self._score) for path in due
        }
        self.tree = self.tree.with_rewards(rewards)
        for path, reward in rewards.items():
            self.ledger.use(self._spent.pop(path, 0))
            self._emit(path, "scored", reward=reward)
        return rewards

    async def ballots(self) -> list[Ballot]:
        """The votes of the committed leaves that have an answer, in the order of commitment."""
        return await self._ballots(self.state)

    async def _ballots(self, state: State) -> list[Ballot]:
        votes = []
        voters = self.config.policy.voters(state, self.tree)
        for path in self.tree.leaves() if voters is None else voters:
            if path not in self._answers:
                self._answers[path] = await self._answer(path)
            if (answer := self._answers[path]) is not None:
                votes.append(Ballot(answer, self.tree.rewards.get(path, 0.0)))
        return votes

    async def answer(self) -> str | None:
        """The answer that the committed leaves elect; None if none of them has one."""
        return elect(await self.ballots(), self.config.vote)

    async def _answer(self, path: Path) -> str | None:
        text = self.config.template.prompt(self.tree.question, self.tree.chain(path)).reply
        if (answer := self.config.extract(text)) is None:
            return None
        form = self.config.canonical
        if form is canonical and (easy := plain_form(answer)) is not None:
            return easy
        return await asyncio.to_thread(form, answer)

    # Running ahead.

    def _changed(self) -> None:
        """Plan once all that happens at this moment has happened."""
        if self._forecast is not None and self._planned is None and self._closing is None:
            self._planned = asyncio.get_running_loop().call_soon(self._plan)

    def _plan(self) -> None:
        self._planned = None
        if self._forecast is None or self._closing is not None:
            return
        if self.config.policy.blocking:
            self._changed_since = True
            if self._foreseeing is None:
                self._foreseeing = self._own(self._foresee_aside())
            return
        known = Known(self.tree, self.state, self._decision, self.thoughts, self.rewards)
        self._apply(*self._foresee(known), self._guesses)

    async def _foresee_aside(self) -> None:
        """Foresee in a worker thread, on snapshots, one at a time and again after every change.

        What the prediction learns meanwhile the thread may see or not: it looks up single values
        and walks over none that grow, so the worst it meets is half of an update.
        """
        try:
            while self._changed_since:
                self._changed_since = False
                decision, guesses = self._decision, set(self._guesses)
                known = Known(
                    self.tree,
                    self.state,
                    decision,
                    dict(self.thoughts),
                    dict(self.rewards),
                    lambda decision=decision: (
                        self._closing is not None  # type: ignore[misc]
                        or self._decision is not decision
                    ),
                )
                foreseen = await self._thread(self._foresee, known)
                if not known.outdated():
                    self._apply(*foreseen, guesses)
        except Exception:
            logger.exception("no more forecasts: the search goes on without running ahead")
            self._forecast = None
        finally:
            self._foreseeing = None

    def _foresee(self, known: Known) -> tuple[Mapping[Path, float], float]:
        """What will probably be demanded, and the seconds it took to tell."""
        assert self._forecast is not None  # noqa: S101 (narrowing)
        started = perf_counter()
        try:
            chances = self._forecast(known)
        except Exception:
            logger.exception("no forecast: the search goes on without running ahead")
            self._forecast, chances = None, {}
        return chances, perf_counter() - started

    def _apply(
        self, chances: Mapping[Path, float], seconds: float, guesses: Collection[Path]
    ) -> None:
        """Begin what is probable, and retract those of `guesses` that no longer are."""
        settings = self.config.speculation
        assert settings is not None  # noqa: S101 (narrowing)
        started = perf_counter()
        for path in [path for path in self._guesses if path in self.writing and path in guesses]:
            if chances.get(path, 0.0) < settings.threshold * KEEP:
                self.retract(path)
        least = self._least(settings, chances)
        worth = {
            path: chance
            for path, chance in chances.items()
            if path not in self.thoughts
            and path not in self._failed
            and all(elder in self.thoughts for elder in self._elders(path))
            and (chance >= least or path in self.writing)
        }
        self._budget.offer(self, worth, share=settings.share)
        self.ledger.plans += 1
        self.ledger.plan_seconds += seconds + perf_counter() - started

    async def _aside(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run `function` in a worker thread. Who is cancelled meanwhile leaves it to `close`."""
        task = self._own(self._thread(function, *arguments))
        await asyncio.wait([task])
        if task.cancelled():
            raise SessionClosed(f"{self!r} was closed while its policy decided")
        result: T = task.result()
        return result

    async def _thread(self, function: Callable[..., T], *arguments: Any) -> T:
        work = asyncio.get_running_loop().run_in_executor(None, function, *arguments)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await until_ended(work)  # a thread cannot be cancelled, and must not be left behind
            raise

    def _least(self, settings: Speculation, chances: Mapping[Path, float]) -> float:
        """The probability to ask for now, higher the more has been wasted.

        A thought of probability p adds (1 - p) to the waste for each p of use: from 1 / (1 + w) on
        it brings a ratio above w down.
        """
        strict = 1 / (1 + settings.waste)
        if strict <= settings.threshold:
            return settings.threshold
        spent = min(1.0, self._waste(chances) / settings.waste) if settings.waste else 1.0
        return settings.threshold + (strict - settings.threshold) * spent

    def _waste(self, chances: Mapping[Path, float]) -> float:
        """The waste ratio to expect of what has been begun so far."""
        useful, wasted = float(self.ledger.useful_tokens), float(self.ledger.wasted_tokens)
        committed = self.tree.thoughts.values()
        mean = sum(thought.tokens for thought in committed) / len(committed) if committed else 1.0
        for path in self._guesses:
            if (thought := self.thoughts.get(path)) is not None:
                wasted -= thought.tokens  # counted as waste until it is taken
            tokens = thought.tokens if thought is not None else mean
            useful += tokens * chances.get(path, 0.0)
            wasted += tokens * (1 - chances.get(path, 0.0))
        useful += mean * sum(job.request.demanded for job in self.writing.values())
        return wasted / useful if useful else 0.0
