"""What a limit on cost leaves for guesses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from spex_agents.answers.standing import Standing
from spex_agents.answers.termination import TerminationRule
from spex_agents.engines.base import Request
from spex_agents.rewards.base import asks, calls, in_groups
from spex_agents.search.policy import Expand
from spex_agents.search.tree import Path, chain_of
from spex_agents.speculation.config import Known
from spex_agents.speculation.running.calls import longest
from spex_agents.speculation.running.memo import Memo

After: TypeAlias = Callable[[int, int], Standing]
"""Where a search stands once so many more tokens have been decoded, and so many sent."""


class Room:
    """Keeps guesses within a limit on cost, all that is under way taken at its longest.

    What is demanded comes first, its rewards included. So a search exceeds its limit by no more
    than what the last decision demands, as it does without guesses.

    A thought is as long as its caps allow. Its prompt is as long as the longest so far and the
    thought before it; as long as none has been told, a limit that counts prompts leaves no room. A
    reward takes what one has taken at most so far; before the first, as much as a step.

    Args:
        rule: The limit.
        memo: What has been begun.
        known: Tells what the search knows now.
        after: Tells where it stands once so much more has been spent.
    """

    def __init__(
        self, rule: TerminationRule, memo: Memo, known: Callable[[], Known], after: After
    ) -> None:
        self._rule = rule
        self._memo = memo
        self._known = known
        self._after = after

    def fits(self, path: Path) -> bool:
        """Whether a guess at `path` leaves enough for all that has been begun and demanded."""
        if self._ample():
            return True
        costs = [self._cost(one) for one in {*self._demanded(), *self._guesses(), path}]
        return not self._reached(costs)

    def too_much(self, probabilities: Mapping[Path, float]) -> list[Path]:
        """The guesses under way that leave too little for what is demanded by now.

        Args:
            probabilities: Of being demanded: the most probable guesses are kept.
        """
        if self._ample():
            return []
        demanded = self._demanded()
        kept, dropped = [self._cost(path) for path in demanded], []
        guesses = self._guesses() - demanded
        for path in sorted(guesses, key=lambda path: (-probabilities.get(path, 0.0), path)):
            cost = self._cost(path)
            if self._reached([*kept, cost]):
                dropped.append(path)
            else:
                kept.append(cost)
        memo = self._memo
        return [path for path in dropped if path in memo.writing or path in memo.scoring]

    def _ample(self) -> bool:
        """Whether there is room, were each as long as any may be: told sooner."""
        memo, path_tokens = self._memo, self._memo.config.limits.path_tokens
        decision, asked = self._known().decision, memo.observer.most_sent
        many = len(decision.paths) if isinstance(decision, Expand) else 0
        many += len(memo.ahead) + len(memo.jobs.live) + 1
        judging, asking = self._judged()
        sent = sys.maxsize if asked is None else asked + path_tokens + asking
        return not self._reached([(many * (path_tokens + judging), many * sent)])

    def _demanded(self) -> set[Path]:
        decision = self._known().decision
        demanded = {job.path for job in self._memo.jobs.live if job.request.demanded}
        return demanded | set(decision.paths if isinstance(decision, Expand) else ())

    def _guesses(self) -> set[Path]:
        """What was begun early, rewards included."""
        return {*self._memo.ahead, *self._memo.scoring}

    def _reached(self, costs: Sequence[tuple[int, int]]) -> bool:
        more, sent = sum(cost[0] for cost in costs), sum(cost[1] for cost in costs)
        return self._rule.reached(self._after(more, sent))

    def _cost(self, path: Path) -> tuple[int, int]:
        """Tokens that a thought and its reward may still decode, and those still to be sent."""
        memo = self._memo
        if path in memo.thoughts:
            judged = path in memo.rewards or not memo.rewarded(path)
            return (0, 0) if judged else self._reward(path)
        before = chain_of(memo.thoughts, path[:-1])
        tokens, sent = longest(memo.config, path, before), memo.observer.most_sent
        sent = sys.maxsize if sent is None else sent + (before[-1].tokens if before else 0)
        if (job := memo.writing.get(path)) is not None:
            tokens, sent = _left(job.request, tokens, sent)
        judging, asking = self._reward(path)
        return tokens + judging, sent + asking

    def _reward(self, path: Path) -> tuple[int, int]:
        memo, (tokens, sent) = self._memo, self._judged()
        decision = self._known().decision
        if in_groups(memo.config.reward) and isinstance(decision, Expand):
            together = len(decision.paths)  # one call compares them
            tokens, sent = -(-tokens // together), -(-sent // together)
        job = memo.scoring.get(path)
        return (tokens, sent) if job is None else _left(job.request, tokens, sent)

    def _judged(self) -> tuple[int, int]:
        """Tokens that a reward may decode, and those of its prompts."""
        memo, reward = self._memo, self._memo.config.reward
        if asks(reward) is None:
            return 0, 0
        step, sent, many = memo.config.limits.step_tokens, memo.observer.most_sent, calls(reward)
        return memo.observer.most_judged or (many * step, many * ((sent or 0) + step))


def _left(request: Request, tokens: int, sent: int) -> tuple[int, int]:
    """What is left of them to come: a prompt that has been counted has been sent."""
    return max(0, tokens - request.tokens), 0 if request.prompt_tokens else sent
