"""One search: what it demands, and what it commits."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Self

from spex_agents.answers.equivalence import canonical, plain_form
from spex_agents.answers.termination import Standing
from spex_agents.answers.votes import Ballot, elect, winner
from spex_agents.rewards.combining.aggregate import WAYS
from spex_agents.search.policy import Decision, Expand, Finish, State, ask, voters
from spex_agents.search.tree import ROOT, Path, Thought, Tree
from spex_agents.speculation.config import Known, SearchConfig
from spex_agents.speculation.foresight.planning import Planner, run_ahead
from spex_agents.speculation.reporting.events import Listener
from spex_agents.speculation.running.calls import stated
from spex_agents.speculation.running.memo import Memo

logger = logging.getLogger(__name__)


class Session:
    """One search: what it has committed, above a memo of everything begun for it.

    Use it as an async context manager, or call `close`: nothing outlives that.

    Args:
        config: What the search is made of.
        tree: The committed tree to go on from; one without thoughts begins a search.
        state: The policy's state that belongs to `tree`; None for its start.
        decision: The decision that came with `state`; None before the first.
        stopped: The termination rule that has ended the search, if one has.
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
        stopped: str | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.config = config
        self.run = run
        self.memo = Memo(config, tree, run=run, listener=listener)
        self.ledger = self.memo.ledger
        self.tree = tree
        self.state = config.policy.start() if state is None else state
        self.stopped = stopped
        """The termination rule that ended the search, if one did."""
        self._decision = decision
        self._answers: dict[Path, str | None] = {}
        self._began = asyncio.get_running_loop().time()
        self._before = sum(thought.tokens for thought in tree.thoughts.values())
        self.planner: Planner | None = None
        if config.speculation is not None:
            self.planner = run_ahead(self.memo, config.speculation, self._known)

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
        """
        if self.stopped is not None:
            return Finish()
        policy = self.config.policy
        asked = (policy, self.state, self.tree, self.config.limits)
        state, decision = (
            await self.memo.jobs.aside(ask, *asked) if policy.blocking else ask(*asked)
        )
        stopped = None
        if isinstance(decision, Expand) and (rule := self.config.termination) is not None:
            fired = rule.fired(await self._standing(state, self.tree))
            if fired is not None:
                # The policy's own decision is dropped; its state is kept, and who votes by that.
                stopped, decision = str(fired), Finish()
        # All at once, and after the last await: a plan made meanwhile, or a cancellation, meets the
        # state and the decision that belong together.
        if (fallbacks := policy.fallbacks(state) - policy.fallbacks(self.state)) > 0:
            logger.warning("%r has decided by its simpler rule", policy)
            self.ledger.fallbacks += fallbacks
        self.state, self.stopped, self._decision = state, stopped, decision
        self.memo.watcher.changed()
        return decision

    async def expand(self, paths: Iterable[Path]) -> dict[Path, Thought]:
        """Take the thoughts at `paths`, all at once, and commit them in that order.

        Raises:
            EngineError: A thought could not be written; nothing of this call is committed.
        """
        due = [path for path in paths if path not in self.tree]
        # What is under way first: a thought that begins may push guesses out, but none of these.
        for path in sorted(due, key=lambda path: path not in self.memo.ahead):
            self.memo.demand(path)
        thoughts = {path: await self.memo.take(path) for path in due}
        self.tree = self.tree.with_thoughts(thoughts)
        for path, thought in thoughts.items():
            self.memo.observer.accepted(path, thought)
        return thoughts

    async def evaluate(self, paths: Iterable[Path]) -> dict[Path, float]:
        """Take the rewards of the committed thoughts at `paths`, and commit them in that order.

        Raises:
            RewardError: A reward failed or is out of range; nothing of this call is committed.
        """
        due = [path for path in paths if path not in self.tree.rewards and self.memo.rewarded(path)]
        rewards = await self.memo.scores.take(due)
        self.tree = self.tree.with_rewards(rewards)
        for path, reward in rewards.items():
            self.memo.observer.scored(path, reward)
        return rewards

    async def ballots(self) -> list[Ballot]:
        """The votes of the committed leaves that have an answer, in the order of their places.

        Where a rule has ended the search before anyone voted, all ended paths vote. With
        `SearchConfig.free_text`, and without any leaf that has an answer, their texts do.
        """
        tree, leaves = self.tree, voters(self.config.policy, self.state, self.tree)
        if not leaves and self.stopped is not None:
            leaves = tuple(tree.leaves())
        ballots = await self._ballots(leaves, tree)
        if ballots or not self.config.free_text:
            return ballots
        first: dict[str, str] = {}
        for place, path in enumerate(leaves):
            if text := self.text(path):
                said = first.setdefault(" ".join(text.casefold().split()), text)
                ballots.append(Ballot(said, self._weight(path, tree), path, place))
        return ballots

    def text(self, path: Path) -> str:
        """What a path says as a whole, as its template tells it."""
        told = self.config.template.prompt(self.tree.question, self.tree.chain(path))
        return told.reply.strip()

    async def _ballots(self, leaves: Iterable[Path], tree: Tree) -> list[Ballot]:
        ballots = []
        for place, path in enumerate(leaves):
            if path not in self._answers:
                self._answers[path] = await self._answer(path, tree)
            if (answer := self._answers[path]) is not None:
                ballots.append(Ballot(answer, self._weight(path, tree), path, place))
        return ballots

    def _weight(self, leaf: Path, tree: Tree) -> float:
        """What the rewards on the path of `leaf` make of its vote."""
        path = (leaf[: depth + 1] for depth in range(len(leaf)))
        rewards = [tree.rewards[step] for step in path if step in tree.rewards]
        return WAYS[self.config.weight](rewards) if leaf in tree.rewards else 0.0

    async def _standing(self, state: State, tree: Tree) -> Standing:
        policy = self.config.policy
        return Standing(
            ballots=await self._ballots(voters(policy, state, tree), tree),
            vote=self.config.vote,
            remaining=policy.remaining(state, tree),
            tokens=sum(thought.tokens for thought in tree.thoughts.values()),
            decoded=self._before + self.memo.decoded(),
            seconds=asyncio.get_running_loop().time() - self._began,
            time=time.time(),
        )

    async def answer(self) -> str | None:
        """The answer that the committed leaves elect; None if none of them has one."""
        return elect(await self.ballots(), self.config.vote)

    async def accepted(self, begun: Path = ROOT) -> Path:
        """The path of the answer: that of the ballot it is taken from.

        Without an answer it is the leaf of the highest reward at or below `begun`, if there is one.
        """
        if (ballot := winner(await self.ballots(), self.config.vote)) is not None:
            return ballot.path
        leaves = [path for path in self.tree.leaves() if path[: len(begun)] == begun]
        return max(leaves, key=lambda leaf: self.tree.rewards.get(leaf, 0.0), default=begun)

    async def _answer(self, path: Path, tree: Tree) -> str | None:
        if (answer := stated(self.config, tree, path)) is None:
            return None
        form = self.config.canonical
        if form is canonical and (easy := plain_form(answer)) is not None:
            return easy
        return await asyncio.to_thread(form, answer)

    def _known(self) -> Known:
        memo = self.memo
        return Known(self.tree, self.state, self._decision, memo.thoughts, memo.rewards)
