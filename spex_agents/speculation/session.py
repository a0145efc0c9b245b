"""One search: what it demands, and what it commits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping
from functools import partial
from typing import Any, Self, TypeVar

from spex_agents.answers.votes import Ballot, agreement, elect, winner
from spex_agents.search.policy import Decision, Expand, Finish, State, ask, ask_twice, voters
from spex_agents.search.tree import ROOT, Path, Thought, Tree
from spex_agents.speculation.config import Known, SearchConfig
from spex_agents.speculation.counting import Votes
from spex_agents.speculation.course import Course
from spex_agents.speculation.foresight.planning import Planner, run_ahead
from spex_agents.speculation.losing import check_left, taken_or_failed, without
from spex_agents.speculation.merging import merged, shared
from spex_agents.speculation.reporting.events import Listener
from spex_agents.speculation.reporting.ledger import Ledger
from spex_agents.speculation.result import Result
from spex_agents.speculation.running.calls import bearable
from spex_agents.speculation.running.memo import Memo
from spex_agents.speculation.running.until import unless
from spex_agents.speculation.slots.pace import Mark

logger = logging.getLogger(__name__)

CHECKED = 3
"""First decisions of a search that are asked for twice: a policy that is not pure shows there."""

T = TypeVar("T")


class Session:
    """One search: what it has committed, above a memo of everything begun for it.

    Use it as an async context manager, or call `close`: nothing outlives that.

    Args:
        config: What the search is made of.
        tree: The committed tree to go on from; one without thoughts begins a search.
        state: The policy's state that belongs to `tree`; None for its start.
        decision: The decision that came with `state`; None before the first.
        stopped: The termination rule that has ended the search, if one has.
        timed: Whether that depended on timing, and so does the tree.
        run: First part of all request ids; every session needs its own.
        before: What its earlier runs have spent, which limits count; None for the tree alone.
        listener: Called with every event.
        votes: Counts its votes; None for those that its answers are.
    """

    def __init__(
        self,
        config: SearchConfig,
        tree: Tree,
        *,
        run: str,
        state: State = None,
        decision: Decision | None = None,
        stopped: str | None = None,
        timed: bool = False,
        before: Ledger | None = None,
        listener: Listener | None = None,
        votes: Votes | None = None,
    ) -> None:
        self.config = config
        self.run = run
        self.memo = Memo(config, tree, run=run, listener=listener)
        self.ledger = self.memo.ledger
        self.tree = tree
        self.state = config.policy.start() if state is None else state
        self._decision = decision
        self._decisions = 0
        self.stopped, self.timed = stopped, timed
        self._votes = votes or Votes(config, self.memo.forms)
        self._fault: Exception | None = None
        """Why the last path that has failed here has."""
        self._expanded: tuple[Mark, float] | None = None
        """When the last expansion has begun, and ended."""
        self._course = Course(config, self.memo, tree, self._votes, before)
        self.planner: Planner | None = None
        if (ahead := config.speculation) is not None:
            self.planner = run_ahead(self.memo, ahead, self._known, self._course.after)

    def __repr__(self) -> str:
        jobs = self.memo.jobs
        status = "closed" if jobs.closed else f"{len(jobs)} calls in flight"
        return f"<Session {self.run}: {len(self.tree)} thoughts, {status}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Abort everything in flight and wait for it; see `Memo.close`."""
        await self.memo.close()

    async def decide(self) -> Decision:
        """Ask the policy, then the termination rule, what comes next.

        Raises:
            PolicyError: The policy broke its contract.
            EngineError: It has ended, and all thoughts have failed.
            RewardError: The same, and it was their rewards that did.
        """
        if self.stopped is not None:
            return Finish()
        policy = self.config.policy
        asked = (policy, self.state, self.tree, self.config.limits)
        debug = asyncio.get_running_loop().get_debug()
        by = ask_twice if self._decisions < CHECKED or debug else ask
        self._decisions += 1
        state, decision = await self.memo.jobs.aside(by, *asked) if policy.blocking else by(*asked)
        stopped, timed = None, False
        if isinstance(decision, Finish):
            check_left(self.tree, self._fault)
        if isinstance(decision, Expand) and (rule := self.config.termination) is not None:
            fired = rule.fired(await self._course.standing(state, self.tree, self._decision))
            if fired is not None:
                # The policy's own decision is dropped; its state is kept, and who votes by that.
                stopped, timed, decision = str(fired), fired.timed, Finish()
        # All at once, and after the last await: a plan made meanwhile, or a cancellation, meets the
        # state and the decision that belong together.
        if (fallbacks := policy.fallbacks(state) - policy.fallbacks(self.state)) > 0:
            logger.warning("%r has decided by its simpler rule", policy)
            self.ledger.fallbacks += fallbacks
        self.state, self.stopped, self.timed, self._decision = state, stopped, timed, decision
        self.memo.watcher.changed()
        return decision

    async def expand(self, paths: Iterable[Path]) -> dict[Path, Thought]:
        """Take the thoughts at `paths`, all at once, and commit them in that order.

        Where a rule ends the search meanwhile, those that are there are committed, and the others
        cancelled.

        Raises:
            EngineError: The engine is not available, or more thoughts failed than may; nothing of
                this call is committed.
        """
        paths = tuple(paths)
        mark = self.memo.budgets.pace(paths).mark(asyncio.get_running_loop().time())
        due = [path for path in paths if path not in self.tree]
        # What is under way first: a thought that begins may push guesses out, but none of these.
        for path in sorted(due, key=lambda path: path not in self.memo.ahead):
            self.memo.demand(path)
        self.memo.watcher.demanded()
        written = taken_or_failed(due, self.memo.take, partial(bearable, self.config))
        if isinstance(taken := await self._unless_stopped(written), Tree):
            thoughts = {path: taken.thoughts[path] for path in due if path in taken}
            self.tree = self.tree.with_thoughts(thoughts)
        else:
            thoughts, errors = taken
            places = {path: thoughts.get(path, Thought(text="", tokens=0)) for path in due}
            tree = self._without(errors, self.tree.with_thoughts(places))
            thoughts |= await merged(self.memo, paths, tree)
            self.tree = tree.with_thoughts(thoughts)
        for path, thought in thoughts.items():
            self.memo.observer.accepted(path, thought)
        self._expanded = mark, asyncio.get_running_loop().time()
        return {path: self.tree.thoughts[path] for path in due if path in self.tree}

    async def evaluate(self, paths: Iterable[Path]) -> dict[Path, float]:
        """Take the rewards of the committed thoughts at `paths`, and commit them in that order.

        Raises:
            RewardError: More rewards failed or are out of range than may; nothing of this call is
                committed.
        """
        began = asyncio.get_running_loop().time()
        expanded = tuple(paths)
        tree, memo, before = self.tree, self.memo, self.tree.rewards
        paths = [path for path in expanded if path in tree and path not in tree.rewards]
        paths = [path for path in paths if tree.thought(path).same_as is None]
        due = [path for path in paths if not tree.thought(path).failed and memo.rewarded(path)]
        taken: Any = tree
        if self.stopped is None:
            for path in due if self.config.merge is not None else ():
                memo.judge(path)
            taken = await self._unless_stopped(
                memo.scores.take(due, partial(bearable, self.config))
            )
        if isinstance(taken, Tree):
            rewards = {path: memo.rewards[path] for path in due if path in memo.rewards}
        else:
            rewards, errors = taken
            tree = self._without(errors, tree)
        for path, reward in rewards.items():
            memo.observer.scored(path, reward)
        if (failures := self.config.failures) is not None and failures.reward is not None:
            lost = dict.fromkeys((path for path in paths if tree.lost(path)), failures.reward)
            memo.rewards.update(lost)
            rewards |= lost
        self.tree = shared(expanded, tree.with_rewards(rewards))
        memo.thoughts.update({path: self.tree.thoughts[path] for path in expanded if path in tree})
        rewards = {path: reward for path, reward in self.tree.rewards.items() if path not in before}
        memo.rewards.update(rewards)
        if self._expanded is not None:
            mark, ended = self._expanded
            self.memo.round(expanded, mark, began - ended)
            self._expanded = None
        return rewards

    def _without(self, errors: Mapping[Path, Exception], tree: Tree) -> Tree:
        tree = without(errors, tree, self.config.failures)
        for path, error in errors.items():
            self.memo.lose(path, tree.thoughts[path])
            self._fault = error
        return tree

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | Tree:
        """What `work` takes; or the tree that there is, if an eager rule ends the search on it."""
        rule = self.config.termination
        if rule is None or not rule.eager:
            return await work
        there = self.tree

        async def stop() -> tuple[bool, float | None]:
            nonlocal there
            early = self.config.vote == "majority"
            there = self._course.there(self.tree, self._decision, unjudged=early)
            standing = await self._course.standing(self.state, there, self._decision, within=True)
            if (fired := rule.fired(standing)) is None:
                return False, rule.due(standing)
            self.stopped, self.timed, self._decision = str(fired), True, Finish()
            return True, None

        if (taken := await unless(work, self.memo.news, stop)) is not None:
            return taken
        self.memo.give_up()
        self.memo.watcher.changed()
        return there

    async def ballots(self) -> list[Ballot]:
        """The votes of the committed leaves, in the order of their places; see `Votes.final`."""
        return await self._votes.final(self.state, self.tree, whole=self.stopped is None)

    def text(self, path: Path) -> str:
        """What a path says as a whole, as its template tells it."""
        return self._votes.text(path, self.tree)

    async def answer(self) -> str | None:
        """The answer that the committed leaves elect; None if none of them has one."""
        return elect(await self.ballots(), self.config.vote)

    async def accepted(self, top: Path = ROOT) -> Path:
        """The path of the answer: that of the ballot it is taken from.

        Without an answer it is the leaf of the highest reward at or below `top`, if there is one.
        """
        if (ballot := winner(await self.ballots(), self.config.vote)) is not None:
            return ballot.path
        ended = (*self.tree.leaves(), *voters(self.config.policy, self.state, self.tree))
        leaves = [path for path in ended if path[: len(top)] == top]
        return max(leaves, key=lambda leaf: self.tree.rewards.get(leaf, 0.0), default=top)

    async def result(self, error: Exception | None = None) -> Result:
        """What the search has come to.

        Args:
            error: What has ended it: then all that there is counts, committed or not.
        """
        tree = self.tree
        if error is not None:
            tree = self._course.there(tree, self._decision, unjudged=True)
        whole = error is None and self.stopped is None
        try:
            ballots = await self._votes.final(self.state, tree, whole=whole, bear=error is not None)
        except Exception:  # the fault that has ended the search, most likely
            if error is None:
                raise
            ballots = []
        best = winner(ballots, self.config.vote)
        if best is None and error is None and self.stopped is not None:
            logger.warning("no answer: ended by %s before any path had one", self.stopped)
        return Result(
            answer=None if best is None else best.answer,
            path=None if best is None else best.path,
            ballots=tuple(ballots),
            agreement=agreement(ballots, self.config.vote),
            tree=tree,
            ledger=self.ledger,
            stopped=self.stopped,
            error=None if error is None else f"{type(error).__name__}: {error}",
            timed=self.timed,
            engines=dict(self.memo.observer.rows),
        )

    async def tell_best(self, error: Exception) -> None:
        """Let `error`, which ends the search, carry the best so far as its `partial`."""
        if getattr(error, "partial", None) is None:
            error.partial = await self.result(error)  # type: ignore[attr-defined]

    def _known(self) -> Known:
        memo = self.memo
        return Known(self.tree, self.state, self._decision, memo.thoughts, memo.rewards)
