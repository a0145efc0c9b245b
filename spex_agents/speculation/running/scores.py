"""The rewards of one search, by path, begun as soon as their thoughts are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from spex_agents.engines.base import Request
from spex_agents.rewards.base import GroupReward, Reward, asks, calls, in_groups
from spex_agents.search.tree import Path, Thought
from spex_agents.speculation.running.calls import score_group, score_thought
from spex_agents.speculation.running.jobs import Job, Jobs, Work, settled
from spex_agents.speculation.running.lead import Lead, Writing
from spex_agents.speculation.running.observer import Observer
from spex_agents.speculation.slots.budget import Budget


class Scores:
    """Asks for each reward once, whoever comes first.

    To the budget of those who judge it is the `Searcher`: that begins and gives up rewards here.

    Args:
        reward: Who is asked.
        question: At the root.
        thoughts: What is judged at a path: the thoughts of its try so far.
        known: The rewards known already.
        jobs: Owns what is under way.
        observer: Told of it.
        budget: Of those who judge.
        lead: Told how long each reward took.
        judged: Called when a reward is known.
        changed: Called when a request for one has ended.

    Attributes:
        known: All rewards known by now.
        flying: Those being asked for.
        affords: Tells whether one that is not demanded can be paid for.
        calls: Requests that each of them makes of an engine at a time.
        follows: None follow.
        jobs: Its search's.
    """

    follows = 0

    def __init__(
        self,
        reward: Reward,
        question: str,
        thoughts: Callable[[Path], Sequence[Thought]],
        known: Mapping[Path, float],
        *,
        jobs: Jobs,
        observer: Observer,
        budget: Budget,
        lead: Lead,
        judged: Callable[[Path], None],
        changed: Callable[[], None],
    ) -> None:
        self.known = dict(known)
        self.flying: dict[Path, Job[float]] = {}
        self._reward = reward
        self._question = question
        self._thoughts = thoughts
        self.jobs = jobs
        self._observer = observer
        self._budget = budget
        self._lead = lead
        self.calls = calls(reward)
        self._failed: set[Path] = set()
        self._heard = judged
        self._changed = changed
        self.affords: Callable[[Path], bool] = lambda path: True

    async def take(
        self, paths: Sequence[Path], bear: Callable[[Exception], bool] = lambda error: False
    ) -> tuple[dict[Path, float], dict[Path, Exception]]:
        """Return the rewards of the thoughts at `paths`: those begun early, the others begun now.

        Args:
            paths: Of written thoughts.
            bear: Which errors are returned, by path, in place of a reward.

        Raises:
            RewardError: A reward failed or is out of range.
            SessionClosed: The session was closed meanwhile.
        """
        if paths and in_groups(self._reward):
            self._begin_group(paths, self._reward)
        else:
            for path in paths:
                if path not in self.known and path not in self.flying:
                    self.begin(path)
        rewards: dict[Path, float] = {}
        errors: dict[Path, Exception] = {}
        for path in paths:
            try:
                rewards[path] = await settled(path, self.known, self.flying, self.begin)
            except Exception as error:
                if not bear(error):
                    raise
                errors[path] = error
                if in_groups(self._reward):  # without the comparison none of them has a reward
                    return {}, dict.fromkeys(paths, error)
        return rewards, errors

    def demand(self, path: Path) -> Job[float] | None:
        """The thought at `path`, which is written, is demanded: so is its reward, from now on.

        Returns:
            The guess that has become demanded by that, if there is one.
        """
        if in_groups(self._reward) or path in self.known:
            return None
        if (job := self.flying.get(path)) is None:
            self.begin(path)
            return None
        if job.request.demanded:
            return None
        job.request.demanded = True
        self._budget.promote(job.request)
        return job

    def taken(self, path: Path) -> None:
        """The reward of `path` was not begun in vain."""
        self._budget.taken(self, path)

    def offer(
        self,
        paths: Iterable[Path],
        probabilities: Mapping[Path, float],
        *,
        least: float,
        share: str | None,
    ) -> None:
        """Offer to judge thoughts that were begun early, and give up what fades.

        Args:
            paths: Those begun early, written, and not demanded so far.
            probabilities: Of being demanded.
            least: The probability from which on a reward is worth asking for.
            share: Whose judges are taken.
        """
        if in_groups(self._reward) or not self._reward.pure:
            return
        offers = {}
        for path in paths:
            if path in self.known or path in self._failed:
                continue
            if (probability := probabilities.get(path, 0.0)) >= least:
                offers[path] = probability
            elif path in self.flying:
                self.retract(path)
        if offers or self.flying:
            self._budget.offer(self, offers, share=share, foreseen=probabilities)

    def launch(self, path: Path, probability: float = 1.0) -> None:
        """Ask for the reward of a thought before it is demanded."""
        begun = path in self.known or path in self.flying or path in self._failed
        if not begun and self.affords(path):
            self.begin(path, guess=True, probability=probability)

    def retract(self, path: Path) -> None:
        """Give up the reward of a thought that is not demanded so far."""
        self.jobs.retract(self.flying[path], self.flying, self._budget)

    def drop(self, path: Path) -> None:
        """Forget the reward of a thought that shall have none, or give it up."""
        self.known.pop(path, None)
        if (job := self.flying.get(path)) is not None:
            self.retract(path)
            self.jobs.give_up([job])  # one that is done at this moment, too

    def leave(self) -> None:
        """Begin nothing more early."""
        self._budget.leave(self)

    def tell(self, lead: float, wide: int) -> None:
        self._budget.tell(self, lead, wide)

    def begin(self, path: Path, *, guess: bool = False, probability: float = 1.0) -> Job[float]:
        work = partial(score_thought, self._reward, self._question, self._thoughts(path))
        return self._begin([path], work, guess=guess, probability=probability)

    def _begin_group(self, paths: Sequence[Path], reward: GroupReward) -> None:
        """Begin the rewards of thoughts that are compared: one call, under the first of them."""
        if paths[0] not in self.known and paths[0] not in self.flying:
            self._begin(paths, partial(self._compare, paths, reward), guess=False)

    async def _compare(self, paths: Sequence[Path], reward: GroupReward, request: Request) -> float:
        """The reward of the first path; those of the others are known from then on."""
        group = [self._thoughts(path) for path in paths]
        first, *others = await score_group(reward, self._question, group, request)
        for path, value in zip(paths[1:], others, strict=True):
            self._judged(path, value)
        return first

    def _begin(
        self, paths: Sequence[Path], work: Work[float], *, guess: bool, probability: float = 1.0
    ) -> Job[float]:
        job = self.jobs.begin(
            paths[0], "reward", work, guess=guess, flying=self.flying, ended=self._ended
        )
        job.task.add_done_callback(lambda _: self._freed(job))
        self._budget.begin(self, paths[0], job.request, probability, calls=self.calls)
        self._observer.scoring(paths)
        return job

    def _ended(self, job: Job[float]) -> None:
        self._observer.ended(job)
        # One that finished as it was retracted counts as cancelled: another may have replaced it.
        if job.task.cancelled() or job.cancelled is not None or self.jobs.closed:
            return
        if job.task.exception() is None:
            self._judged(job.path, job.task.result(), job)
        elif job.guess:
            self._failed.add(job.path)
        self._changed()

    def _freed(self, job: Job[float]) -> None:
        asking = asks(self._reward) is not None
        load = self._budget.end(job.request, paced=not asking, tokens=0 if asking else 1)
        if job.path in self.known and job.ended is not None:
            started = job.begun if job.request.started is None else job.request.started
            self._lead.judged[job.path] = Writing(
                tokens=job.request.tokens, seconds=job.ended - started, load=load
            )

    def _judged(self, path: Path, reward: float, job: Job[float] | None = None) -> None:
        self.known[path] = reward
        self._heard(path)
        self._observer.judged(path, reward, job)
