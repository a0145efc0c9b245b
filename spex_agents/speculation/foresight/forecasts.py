"""Which thoughts the policy will probably demand (technique 1).

Policies are pure, so the policy itself is asked: the rewards that are missing are drawn from a
predictive distribution a few times, the policy decides on each drawn tree for some decisions ahead,
and how often it demands a path is that path's probability of being demanded. Any policy, a user's
own included, is foreseen this way. Source of the replay idea: SPEX (OSDI 2026), which replays its
search algorithms on the rewards already known.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from spex_agents.search.limits import Limits
from spex_agents.search.policy import Decision, Expand, Finish, Policy
from spex_agents.search.tree import Path, Thought
from spex_agents.speculation.config import Known
from spex_agents.speculation.foresight.drawn import Drawn
from spex_agents.speculation.foresight.prediction import Prediction, Quantiles

logger = logging.getLogger(__name__)

WORK = 1000
"""Rewards looked up and paths demanded in the replays of one event, about: they are renewed a few
at each event. One that takes more is paid for by the next events, which renew none until then."""

LARGE = 350
"""Thoughts from which on it is less, in proportion to their number: one of many tells little."""

WALK = 2
"""What a decision counts for at least, for each thought on the way to what is demanded."""

FRESH, FAR = 8, 2
"""After a decision, which outdates all replays, it may be FRESH times as much, but no replay takes
more than FAR times as much: several of one mind tell more than one that looks far."""

WORK_ASIDE = 10_000
"""Likewise of a policy whose decisions are an effort: its forecasts delay no event loop."""

WORK_BLOCKING, BLOCKING = 100, 50
"""Likewise of a policy that is `blocking`, and what each of its decisions counts for besides: it
takes milliseconds, and a forecast that lasts is outdated before it is made."""

DOUBT = 0.15
"""Replays that are taken to have demanded something else: a few of one mind prove little."""

AGREED = 3.0, 4.0
"""How much of what one replay demanded others demanded too, and in how many forecasts, before any
has been made."""

LASTING = 0.95
"""What those forecasts count for after one more."""


@dataclass(frozen=True, slots=True)
class _Replay:
    """What the policy demanded on one drawn tree.

    The first `certain` paths it demands whatever is drawn: it had met nothing drawn before.
    """

    demanded: Sequence[Path]
    certain: int


class ReplayForecast:
    """Replays the policy of one search on drawn trees.

    Args:
        policy: The search's own policy.
        limits: Its caps.
        prediction: What has been learnt so far.
        one_ends: Whether a leaf of reward 1 ends the search.
        draws: Trees drawn for a forecast.
        lookahead: Decisions taken on each of them, at most.
    """

    def __init__(
        self,
        policy: Policy,
        limits: Limits,
        prediction: Prediction,
        *,
        draws: int,
        lookahead: int,
        one_ends: bool = False,
    ) -> None:
        self.policy = policy
        self.limits = limits
        self.prediction = prediction
        self.one_ends = one_ends
        self.draws = draws
        self.lookahead = lookahead
        self._quantiles = Quantiles(draws)
        self._replays: deque[_Replay] = deque()
        self._counts: Counter[Path] = Counter()
        self._certain: Counter[Path] = Counter()
        self._effort = BLOCKING if policy.blocking else policy.effort
        self._cautious = policy.cautious
        self._leaves_only = policy.leaves_only
        self._work = WORK_BLOCKING if policy.blocking else WORK_ASIDE if policy.effort else WORK
        self._longest = self._work * (FRESH if self._effort else FAR)
        self._agreed = AGREED
        self._debt = 0.0
        self._made = 0
        self._decision: Decision | None = None
        self._means: dict[Path, tuple[float, float]] = {}
        self._slopes: dict[Path, tuple[float, float]] = {}
        self._ending: dict[int, float] = {}

    def __call__(self, known: Known) -> dict[Path, float]:
        """Paths that can be begun or have been, each with its probability of being demanded."""
        if not isinstance(known.decision, Expand):
            return {}
        if known.decision is not self._decision:
            self._decision = known.decision
            self._replays.clear()
            self._counts.clear()
            self._certain.clear()
        self._means.clear()
        self._slopes.clear()
        self._ending.clear()
        budget = self._work * min(1.0, LARGE / max(1, len(known.thoughts)))
        work = self._debt if self._replays else -budget * (FRESH - 1)
        seen = self.seen(known)
        for _ in range(self.draws):
            if work >= budget or (self._replays and known.outdated()):
                break
            drawn = Drawn(
                known,
                self._made % self.draws,
                leaves_only=self._leaves_only,
                one_ends=self.one_ends,
                seen=seen,
                ends=self.ends,
                guess=self.reward,
            )
            self._keep(self._replay(drawn, known))
            self._made += 1
            work += drawn.work
        self._debt = max(0.0, work - budget) if self.draws > 1 else 0.0
        return self._probable(known)

    def _keep(self, replay: _Replay) -> None:
        """Count a replay in the place of the oldest, once there are as many as draws."""
        if len(self._replays) == self.draws:
            oldest = self._replays.popleft()
            _uncount(self._counts, oldest.demanded)
            _uncount(self._certain, oldest.demanded[: oldest.certain])
        self._replays.append(replay)
        self._counts.update(replay.demanded)
        self._certain.update(replay.demanded[: replay.certain])

    def _probable(self, known: Known) -> dict[Path, float]:
        committed, certain = known.tree.thoughts, self._certain
        thoughts, beginnable = known.thoughts, self._beginnable
        counts = {
            path: count
            for path, count in self._counts.items()
            if (not (parent := path[:-1]) or parent in thoughts)
            and path not in committed
            and beginnable(parent, known)
        }
        made = len(self._replays)
        self._compare(counts.values(), made)
        replays = made + DOUBT + (self.draws - made) * self._contrary()
        return {path: 1.0 if path in certain else n / replays for path, n in counts.items()}

    def _compare(self, counts: Collection[int], made: int) -> None:
        """Learn how often what one replay demands is demanded by another."""
        if made > 1 and counts:
            agreed, compared = self._agreed
            one = sum(counts)
            both = sum([count * count for count in counts]) - one
            self._agreed = agreed * LASTING + both / one / (made - 1), compared * LASTING + 1

    def _contrary(self) -> float:
        """What a replay that has not been made counts of one that demands something else.

        So much that a path which one replay alone demands, the only one, is taken to be demanded as
        often as other replays would demand it.
        """
        agreed, compared = self._agreed
        against = compared / max(agreed, 1e-9) - 1 - DOUBT
        return min(1.0, max(0.0, against / max(1, self.draws - 1)))

    def _replay(self, drawn: Drawn, known: Known) -> _Replay:
        demanded: list[Path] = []
        certain = blind = 0
        state, decision = known.state, known.decision
        for _ in range(self.lookahead):
            assert isinstance(decision, Expand)  # noqa: S101 (narrowing)
            drawn.work += self._effort
            if self.policy.effort:
                drawn.work += len(known.tree.thoughts) + len(demanded)
            least = drawn.work + WALK * len(decision.paths[0])
            drawn.demand(decision.paths)
            try:
                state, decision = self.policy.decide(state, drawn)
            except Exception:
                # A drawn tree may be one that never occurs; the search itself will report errors.
                logger.debug("the policy failed on a predicted tree", exc_info=True)
                break
            drawn.work = max(drawn.work, least)
            if drawn.over or isinstance(decision, Finish):
                break
            demanded += decision.paths
            certain = certain if drawn.guessed and not self._cautious else len(demanded)
            if drawn.work > self._longest or known.outdated():
                break  # one replay must not take long either
            if len(decision.paths) == 1:
                continue
            parents = {path[:-1] for path in decision.paths}
            if any(self._beginnable(parent, known) for parent in parents):
                blind = 0
            else:
                # Below a layer there is nothing else. Siblings are of one rollout: when it has
                # come to its end, the next one may go where something can begin.
                blind += 1
                if len(parents) > 1 or blind > self.limits.depth:
                    break
        return _Replay(demanded, certain)

    def _beginnable(self, parent: Path, known: Known) -> bool:
        """Whether what is below `parent` can be begun."""
        if len(parent) >= self.limits.depth:
            return False
        return not parent or ((above := known.thoughts.get(parent)) is not None and not above.ends)

    def seen(self, known: Known) -> Callable[[Path], Thought | None]:
        """Looks up the thought at a path, if a drawn tree may show it."""
        return known.thoughts.get

    def ends(self, path: Path, draw: int) -> bool:
        """Whether the unwritten thought at `path` ends its path in this draw.

        Where only leaves have rewards, it is taken for one: its outcome is what matters ahead.
        """
        depth = len(path)
        if self._leaves_only or depth >= self.limits.depth:
            return True
        action = self.policy.action(path)
        if action.to_end:
            return not action.refines
        if (ending := self._ending.get(depth)) is None:
            ending = self._ending[depth] = self.prediction.ends.probability(depth)
        return self._quantiles.levels[path][draw] < ending

    def reward(self, path: Path, thought: Thought | None, parent: float | None, draw: int) -> float:
        """The reward of `path` in this draw, given its parent's in the same draw."""
        above = path[:-1]
        means = self._means if parent is None else self._slopes
        if (line := means.get(above)) is None:
            line = means[above] = self.prediction.line(path, parent)
        mean = line[0] if parent is None else line[0] + line[1] * parent
        if thought is not None and thought.logprobs:
            mean += self.prediction.confident(thought)
        if (ones := self.prediction.perfect) and self._quantiles.highest(path, draw, ones):
            return 1.0
        reward = mean + self.prediction.rewards.spread * self._quantiles.normals[path][draw]
        return 1.0 if reward > 1.0 else reward if reward > 0.0 else 0.0


def _uncount(counts: Counter[Path], paths: Sequence[Path]) -> None:
    for path in paths:
        if (count := counts[path]) == 1:
            del counts[path]
        else:
            counts[path] = count - 1
