"""Which budget a search counts to: that of its engine, and that of its reward.

Searches in several event loops do not count each other.
"""

from __future__ import annotations

from functools import partial
from weakref import WeakKeyDictionary, ref

from spex_agents.engines.base import Engine
from spex_agents.loops import PerLoop
from spex_agents.rewards.base import Reward, asks, places
from spex_agents.speculation.slots.budget import Budget

_writing: WeakKeyDictionary[Engine, PerLoop[Budget]] = WeakKeyDictionary()
_judging: WeakKeyDictionary[Reward, PerLoop[Budget]] = WeakKeyDictionary()


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
        known = _judging.setdefault(reward, PerLoop(partial(Budget, places(reward))))
    except TypeError:  # a reward that cannot be a key shares nothing
        return Budget(places(reward))
    return known()


def _as_wide_as(known: ref[Engine]) -> Budget:
    engine = known()
    return Budget() if engine is None else _limited_as(engine)


def _limited_as(engine: Engine) -> Budget:
    features = engine.features
    return Budget(
        features.slots,
        requests_per_minute=features.requests_per_minute,
        tokens_per_minute=features.tokens_per_minute,
    )
