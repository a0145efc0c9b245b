"""Which budget a search counts to: that of its engine, and that of its reward.

Searches in several event loops do not count each other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from weakref import WeakKeyDictionary, ref

from spex_agents.engines.base import Engine
from spex_agents.loops import PerLoop
from spex_agents.rewards.base import Reward, asks, places
from spex_agents.search.tree import Path
from spex_agents.speculation.slots.budget import Budget
from spex_agents.speculation.slots.pace import STEEP, Pace

HOSTED = 0.25
"""In place of `STEEP` where tokens are paid for: a host has many machines."""

_writing: WeakKeyDictionary[Engine, PerLoop[Budget]] = WeakKeyDictionary()
_judging: WeakKeyDictionary[Reward, PerLoop[Budget]] = WeakKeyDictionary()


class Budgets:
    """The budgets that one search counts to.

    Args:
        engine: Who writes its thoughts.
        engines: Others who do, by their names.
        name: Tells who of them writes a path.
        own: Of `engine`, in place of the one that all its searches share.

    Attributes:
        own: Of the search's own engine.
        all: Of all engines, each once.
    """

    def __init__(
        self,
        engine: Engine,
        engines: Mapping[str, Engine],
        name: Callable[[Path], str],
        own: Budget | None,
    ) -> None:
        self.own = budget_of(engine) if own is None else own.here()
        self._engine = engine
        self._engines = engines
        self._named = {each: budget_of(other) for each, other in engines.items()}
        self._name = name
        self.all: Collection[Budget] = dict.fromkeys((self.own, *self._named.values()))

    def of(self, path: Path) -> Budget:
        """Of the engine that writes `path`."""
        return self._named.get(self._name(path), self.own)

    def pace(self, paths: Sequence[Path]) -> Pace:
        """Of the engine that writes the first of `paths`."""
        return (self.of(paths[0]) if paths else self.own).pace

    def of_reward(self, reward: Reward) -> Budget:
        """That of the engine that `reward` asks, if it is one of these, or of those who judge."""
        asked = asks(reward)
        for name, engine in self._engines.items():
            if engine is asked:
                return self._named[name]
        return budget_of_reward(reward, self._engine, self.own)


def budget_of(engine: Engine) -> Budget:
    """The budget that all searches of this loop share on `engine`, as wide as that says."""
    try:
        known = ref(engine)
        return _writing.setdefault(engine, PerLoop(partial(_as_wide_as, known)))()
    except TypeError:  # an engine that cannot be a key shares nothing
        return _limited_as(engine)


def budget_of_reward(reward: Reward, engine: Engine, thoughts: Budget) -> Budget:
    """The budget that the rewards of a search count to, shared by all searches with that reward.

    Args:
        reward: Who judges.
        engine: Who writes the thoughts.
        thoughts: The budget of that; also of a reward that asks the same engine.
    """
    if asks(reward) is engine:
        return thoughts
    try:
        known = _judging.setdefault(reward, PerLoop(partial(_judges, places(reward))))
    except TypeError:  # a reward that cannot be a key shares nothing
        return _judges(places(reward))
    return known()


def _judges(places: int | None) -> Budget:
    """Of those who judge. So many at a time, if told, are thought not to slow each other."""
    return Budget() if places is None else Budget(places, steep=0)


def _as_wide_as(known: ref[Engine]) -> Budget:
    engine = known()
    return Budget() if engine is None else _limited_as(engine)


def _limited_as(engine: Engine) -> Budget:
    features = engine.features
    return Budget(
        features.slots,
        requests_per_minute=features.requests_per_minute,
        tokens_per_minute=features.tokens_per_minute,
        steep=HOSTED if features.paid else STEEP,
    )
