"""What is not known yet, predicted: rewards and path ends, learnt online and drawn cheaply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from weakref import WeakKeyDictionary

from spex_agents.search.tree import Path, Thought
from spex_agents.speculation.slots.budget import Budget

PRIOR_WEIGHTS = (0.15, 0.7, 0.0, 0.0, 0.0)
PRIOR_PRECISION = (8.0, 8.0, 8.0, 8.0, 8.0)
PRIOR_SPREAD = 0.15
PRIOR_ENDS = 0.15
PRIOR_PERFECT = (1.0, 15.0)
"""Rewards of 1 among how many, before any: at one a search may end that would go on below it.

They are looked for where rewards take few values, votes for instance: where one of the first MANY
has come again or one of 1 has been seen, and as long as fewer than FEW values have been."""

SAME = 12.0
"""Rewards of the same run as long without a 1 that those of all runs count for."""

FEW, MANY = 5, 16

GOLDEN = 0.6180339887498949
"""Multiples of the golden ratio, without their whole parts, lie evenly between 0 and 1."""


class RewardModel:
    """Bayesian linear regression of a reward on what is known when it is missing.

    Features: a constant, the parent's reward (or the mean reward below it), the mean of the
    siblings, the mean log-probability of the thought, and the depth. Recursive least squares: an
    observation costs a few dozen multiplications, a prediction five.

    Attributes:
        weights: Of the features.
        spread: How far a reward is from its prediction.
    """

    def __init__(self) -> None:
        self.weights = list(PRIOR_WEIGHTS)
        self.spread = PRIOR_SPREAD
        size = len(PRIOR_WEIGHTS)
        self._covariance = [
            [1 / PRIOR_PRECISION[row] if row == column else 0.0 for column in range(size)]
            for row in range(size)
        ]
        self._seen = 4.0
        self._squares = self._seen * PRIOR_SPREAD**2

    def copy(self) -> RewardModel:
        """A model that starts from what this one has learnt."""
        model = RewardModel()
        model.weights = list(self.weights)
        model.spread = self.spread
        model._covariance = [list(row) for row in self._covariance]
        model._seen, model._squares = min(self._seen, 32.0), min(self._seen, 32.0) * self.spread**2
        return model

    def mean(self, features: Sequence[float]) -> float:
        return sum(map(float.__mul__, self.weights, features))

    def learn(self, features: Sequence[float], reward: float) -> None:
        error = reward - self.mean(features)
        self._seen += 1
        self._squares += error * error
        self.spread = (self._squares / self._seen) ** 0.5
        noise = max(self.spread**2, 1e-4) * 16  # rewards in [0, 1]: the prior counts for some
        gain = [sum(map(float.__mul__, row, features)) for row in self._covariance]
        scale = 1 / (noise + sum(map(float.__mul__, features, gain)))
        for row, row_gain in enumerate(gain):
            self.weights[row] += row_gain * scale * error
            factor = row_gain * scale
            self._covariance[row] = [
                value - factor * column_gain
                for value, column_gain in zip(self._covariance[row], gain, strict=True)
            ]


class PerfectModel:
    """How often a reward is 1 after so many in a row of its search that were not.

    A problem that has resisted for long is a hard one. Counts by the length of the run, doubled
    from one to the next, shrunk towards those of all lengths.
    """

    def __init__(self) -> None:
        self._all = PRIOR_PERFECT
        self._by_length: dict[int, tuple[float, float]] = {}
        self._values: set[float] = set()
        self._again = False

    def copy(self) -> PerfectModel:
        model = PerfectModel()
        model._all = _at_most(self._all, 32.0)
        model._by_length = {
            length: _at_most(counts, 32.0) for length, counts in self._by_length.items()
        }
        model._values, model._again = set(self._values), self._again
        return model

    def learn(self, run: int, reward: float) -> None:
        """A reward after `run` others that were below 1."""
        perfect = reward >= 1
        length = run.bit_length()
        ones, of = self._by_length.get(length, (0.0, 0.0))
        self._by_length[length] = ones + perfect, of + 1
        self._all = self._all[0] + perfect, self._all[1] + 1
        self._again = self._again or perfect or reward in self._values
        if len(self._values) < MANY:
            self._values.add(reward)

    def share(self, run: int) -> float:
        """How probable it is that the next one is 1; 0 where rewards take many values."""
        if not self._again and len(self._values) >= FEW:
            return 0.0
        overall = self._all[0] / self._all[1]
        ones, of = self._by_length.get(run.bit_length(), (0.0, 0.0))
        return (ones + SAME * overall) / (of + SAME)


def _at_most(counts: tuple[float, float], of: float) -> tuple[float, float]:
    share = min(1.0, of / counts[1])
    return counts[0] * share, counts[1] * share


class EndModel:
    """How often a path ends at a depth: counts, shrunk towards those of all depths."""

    def __init__(self) -> None:
        self._ends: dict[int, int] = {}
        self._seen: dict[int, int] = {}
        self._all = (PRIOR_ENDS * 8, 8.0)

    def copy(self) -> EndModel:
        model = EndModel()
        model._ends, model._seen, model._all = dict(self._ends), dict(self._seen), self._all
        return model

    def learn(self, depth: int, *, ends: bool) -> None:
        self._ends[depth] = self._ends.get(depth, 0) + ends
        self._seen[depth] = self._seen.get(depth, 0) + 1
        self._all = (self._all[0] + ends, self._all[1] + 1)

    def probability(self, depth: int) -> float:
        overall = self._all[0] / self._all[1]
        return (self._ends.get(depth, 0) + 4 * overall) / (self._seen.get(depth, 0) + 4)


class Prediction:
    """All that one search has learnt, begun from what the searches before it had learnt.

    Attributes:
        perfect: The share of rewards that are 1, about. Each drawn reward asks for it.
    """

    def __init__(self, shared: Prediction | None = None) -> None:
        self._shared = shared
        self.rewards: RewardModel = shared.rewards.copy() if shared else RewardModel()
        self.ends: EndModel = shared.ends.copy() if shared else EndModel()
        self._ones: PerfectModel = shared._ones.copy() if shared else PerfectModel()
        self._run = 0
        self.perfect = self._ones.share(0)
        self._below: dict[Path, tuple[int, float]] = {}

    def learn_end(self, path: Path, *, ends: bool) -> None:
        self.ends.learn(len(path), ends=ends)
        if self._shared is not None:
            self._shared.ends.learn(len(path), ends=ends)

    def learn_reward(
        self, path: Path, thoughts: Mapping[Path, Thought], rewards: Mapping[Path, float]
    ) -> None:
        reward = rewards[path]
        features = self.features(path, thoughts.get(path), rewards.get(path[:-1]))
        self.rewards.learn(features, reward)
        self._ones.learn(self._run, reward)
        if self._shared is not None:
            self._shared.rewards.learn(features, reward)
            self._shared._ones.learn(self._run, reward)
        self._run = 0 if reward >= 1 else self._run + 1
        self.perfect = self._ones.share(self._run)
        for depth in range(len(path)):
            count, total = self._below.get(path[:depth], (0, 0.0))
            self._below[path[:depth]] = count + 1, total + reward

    def features(
        self, path: Path, thought: Thought | None, parent: float | None
    ) -> tuple[float, float, float, float, float]:
        """What the reward of `path` is predicted from; `parent` is its parent's, if known."""
        count, total = self._below.get(path[:-1], (0, 0.0))
        nearest = parent if parent is not None else self._nearest(path)
        siblings = (total + nearest) / (count + 1)
        return 1.0, nearest, siblings, _confidence(thought), len(path) / 10

    def line(self, path: Path, parent: float | None) -> tuple[float, float]:
        """What the reward of `path`, and of its siblings, is in the mean without log-probabilities.

        Returns:
            A constant, and by how much it grows with the parent's reward, if that is known.
        """
        constant, nearest, siblings, _, depth = self.rewards.weights
        count, total = self._below.get(path[:-1], (0, 0.0))
        level = constant + siblings * total / (count + 1) + depth * len(path) / 10
        slope = nearest + siblings / (count + 1)
        return (level, slope) if parent is not None else (level + slope * self._nearest(path), 0.0)

    def confident(self, thought: Thought) -> float:
        """What a thought's log-probabilities add to that."""
        return self.rewards.weights[3] * _confidence(thought)

    def _nearest(self, path: Path) -> float:
        for depth in range(len(path) - 1, -1, -1):
            if found := self._below.get(path[:depth]):
                return found[1] / found[0]
        return 0.5


def _confidence(thought: Thought | None) -> float:
    """The mean log-probability of a thought's tokens; 0 where it is not known."""
    logprobs = thought.logprobs if thought is not None else None
    return sum(logprobs) / len(logprobs) if logprobs else 0.0


_shared: WeakKeyDictionary[Budget, Prediction] = WeakKeyDictionary()


def prediction_of(budget: Budget) -> Prediction:
    """A new search's own, begun from what the searches of its budget have learnt so far."""
    return Prediction(_shared.setdefault(budget, Prediction()))


class Quantiles:
    """Stratified draws: over `draws` draws each path meets every quantile once, in its own order.

    A few draws then cover a distribution well, and an event that changes nothing changes no draw.

    Attributes:
        levels: By path and draw, the quantile that decides whether the path ends.
        normals: Likewise, by how many spreads its reward differs from its mean.
    """

    def __init__(self, draws: int) -> None:
        levels = [(index + 0.5) / draws for index in range(draws)]
        self.levels = _Ordered(levels, purpose=1)
        self._values = [NormalDist().inv_cdf(level) for level in levels]
        self.normals = _Ordered(self._values, purpose=2)

    def highest(self, path: Path, draw: int, share: float) -> bool:
        """Whether `path` meets one of its highest rewards in `draw`: in that share of all draws.

        A share that is no whole number of draws is rounded up for some paths, down for others: for
        siblings in turn, so that of a few of them about as many are as should be.
        """
        part = ((hash((3, path[:-1])) & 0xFFFF) / 0x10000 + path[-1] * GOLDEN) % 1
        count = min(len(self._values), int(share * len(self._values) + part))
        return count > 0 and self.normals[path][draw] >= self._values[-count]


class _Ordered(dict[Path, list[float]]):
    """Some values in an order of each path's own, found when a path is first asked for."""

    def __init__(self, values: Sequence[float], *, purpose: int) -> None:
        super().__init__()
        self._values = values
        self._purpose = purpose
        self._strides = [step for step in range(1, len(values) + 1) if _coprime(step, len(values))]
        self._orders: dict[tuple[int, int], list[float]] = {}

    def __missing__(self, path: Path) -> list[float]:
        mixed = hash((self._purpose, path))  # of integers: the same in every process
        values, count = self._values, len(self._values)
        first, stride = (mixed >> 8) % count, self._strides[(mixed >> 20) % len(self._strides)]
        if (ordered := self._orders.get((first, stride))) is None:
            ordered = [values[(draw * stride + first) % count] for draw in range(count)]
            self._orders[first, stride] = ordered
        self[path] = ordered
        return ordered


def _coprime(one: int, other: int) -> bool:
    while other:
        one, other = other, one % other
    return one == 1
