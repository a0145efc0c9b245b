"""The rewards of one search, by path, begun as soon as their thoughts are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from spex_agents.engines.base import Request
from spex_agents.rewards.base import GroupReward, Reward, in_groups
from spex_agents.search.tree import Path, Thought, chain_of
from spex_agents.speculation.running.calls import score_group, score_thought
from spex_agents.speculation.running.jobs import Job, Jobs, Work, settled
from spex_agents.speculation.running.observer import Observer


class Scores:
    """Asks for each reward once, whoever comes first.

    Args:
        reward: Who is asked.
        question: At the root.
        thoughts: Those that are written, kept current by their owner.
        known: The rewards known already.
        jobs: Owns what is under way.
        observer: Told of it.
        judged: Called when a reward is known.
        changed: Called when a request for one has ended.

    Attributes:
        known: All rewards known by now.
        flying: Those being asked for.
    """

    def __init__(
        self,
        reward: Reward,
        question: str,
        thoughts: Mapping[Path, Thought],
        known: Mapping[Path, float],
        *,
        jobs: Jobs,
        observer: Observer,
        judged: Callable[[Path], None],
        changed: Callable[[], None],
    ) -> None:
        self.known = dict(known)
        self.flying: dict[Path, Job[float]] = {}
        self._reward = reward
        self._question = question
        self._thoughts = thoughts
        self._jobs = jobs
        self._observer = observer
        self._heard = judged
        self._changed = changed

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

    def early(self, path: Path, *, demanded: bool) -> None:
        """Begin the reward of a thought that has just been written, if it may be."""
        if not in_groups(self._reward) and (demanded or self._reward.pure):
            self.begin(path, guess=not demanded)

    def begin(self, path: Path, *, guess: bool = False) -> Job[float]:
        thoughts = chain_of(self._thoughts, path)
        work = partial(score_thought, self._reward, self._question, thoughts)
        return self._begin([path], work, guess=guess)

    def _begin_group(self, paths: Sequence[Path], reward: GroupReward) -> None:
        """Begin the rewards of thoughts that are compared: one call, under the first of them."""
        if paths[0] not in self.known and paths[0] not in self.flying:
            self._begin(paths, partial(self._compare, paths, reward), guess=False)

    async def _compare(self, paths: Sequence[Path], reward: GroupReward, request: Request) -> float:
        """The reward of the first path; those of the others are known from then on."""
        group = [chain_of(self._thoughts, path) for path in paths]
        first, *others = await score_group(reward, self._question, group, request)
        for path, value in zip(paths[1:], others, strict=True):
            self._judged(path, value)
        return first

    def _begin(self, paths: Sequence[Path], work: Work[float], *, guess: bool) -> Job[float]:
        job = self._jobs.begin(
            paths[0], "reward", work, guess=guess, flying=self.flying, ended=self._ended
        )
        self._observer.scoring(paths)
        return job

    def _ended(self, job: Job[float]) -> None:
        self._observer.ended(job)
        if job.task.cancelled() or self._jobs.closed:
            return
        if job.task.exception() is None:
            self._judged(job.path, job.task.result(), job)
        self._changed()

    def _judged(self, path: Path, reward: float, job: Job[float] | None = None) -> None:
        self.known[path] = reward
        self._heard(path)
        self._observer.judged(path, reward, job)
