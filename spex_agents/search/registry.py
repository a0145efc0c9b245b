"""The policies by name: what the command line, the test suites and the documentation go through."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType

from spex_agents.errors import SettingsError
from spex_agents.search.policy import Policy

POLICIES: Mapping[str, str] = MappingProxyType(
    {
        "rebase": "rebase.Rebase",
        "ets": "ets.Ets",
        "beam": "beam.Beam",
        "dvts": "dvts.Dvts",
        "tot-bfs": "tot.TotBfs",
        "tot-dfs": "tot.TotDfs",
        "rstar": "rstar.Rstar",
        "rstar-actions": "rstar_actions.RstarActions",
        "rest-mcts": "rest_mcts.RestMcts",
        "rap": "rap.Rap",
        "best-of-n": "best_of_n.BestOfN",
        "adaptive-consistency": "adaptive_consistency.AdaptiveConsistency",
        "ab-mcts": "ab_mcts.AbMcts",
        "ab-mcts-m": "ab_mcts_m.AbMctsM",
        "refine": "refine.Refine",
        "lats": "lats.Lats",
        "particles": "particles.Particles",
    }
)
"""Where each policy is, by the name it has on the command line: its module here, and its class.

A class may say what a size stands for: by a class method `sized` that takes `width`, `rollouts` or
both, with their defaults. Without one they are its own fields.
"""

_SIZES = ("width", "rollouts")


def sizes(name: str) -> dict[str, int]:
    """The sizes that a policy has, with their defaults.

    Raises:
        SettingsError: There is no such policy.

    Example:
        >>> sizes("rap")
        {'width': 4, 'rollouts': 10}
    """
    parameters = inspect.signature(_maker(name)).parameters
    return {size: parameters[size].default for size in _SIZES if size in parameters}


def defaults(size: str) -> str:
    """The default of a size in each policy that has it, in words.

    Example:
        >>> "rap 10" in defaults("rollouts")
        True
    """
    names: dict[int, list[str]] = {}
    for name in POLICIES:
        if (default := sizes(name).get(size)) is not None:
            names.setdefault(default, []).append(name)
    return "; ".join(f"{', '.join(owners)} {default}" for default, owners in names.items())


def over_several(name: str) -> bool:
    """Whether a policy may ask several models: its field `models` says which.

    Raises:
        SettingsError: There is no such policy.

    Example:
        >>> over_several("ab-mcts"), over_several("rebase")
        (True, False)
    """
    return "models" in inspect.signature(_maker(name)).parameters


def make_policy(name: str, **given: int | None) -> Policy:
    """The policy of that name; a size of None is the policy's own default.

    Raises:
        SettingsError: There is no such policy, it lacks a size, or a value is out of range.

    Example:
        >>> make_policy("rebase", width=8, rollouts=None)
        Rebase(width=8, temperature=0.2)
    """
    own = sizes(name)
    chosen = {size: value for size, value in given.items() if value is not None}
    for size in chosen.keys() - own:
        owners = ", ".join(other for other in POLICIES if size in sizes(other))
        raise SettingsError(
            f"{size}={chosen[size]!r}: {name} has no {size}; leave it out, "
            f"or take a policy that has: {owners}"
        )
    return _maker(name)(**chosen)


def as_policy(policy: Policy | str) -> Policy:
    """Return the policy that `policy` stands for: itself, or the one of that name.

    Raises:
        SettingsError: It is neither, or lacks members of `Policy`.

    Example:
        >>> as_policy("rebase")
        Rebase(width=16, temperature=0.2)
    """
    if isinstance(policy, str):
        return make_policy(policy)
    if isinstance(policy, type):
        raise SettingsError(f"policy={policy.__name__}: is a class, pass {policy.__name__}()")
    if not callable(getattr(policy, "decide", None)):
        raise SettingsError(
            f"policy={policy!r}: must be a Policy, or the name of one: {', '.join(POLICIES)}"
        )
    members = [name for name in vars(Policy) if not name.startswith("_")]
    if lacking := [name for name in members if not hasattr(policy, name)]:
        raise SettingsError(
            f"policy={policy!r}: has no {', '.join(lacking)}; subclass spex_agents.search.Policy, "
            "which has defaults for all but decide"
        )
    return policy


def _maker(name: str) -> Callable[..., Policy]:
    if name not in POLICIES:
        raise SettingsError(f"policy={name!r}: must be one of {', '.join(POLICIES)}")
    module, _, attribute = POLICIES[name].partition(".")
    policy = getattr(import_module(f"spex_agents.search.policies.{module}"), attribute)
    made: Callable[..., Policy] = getattr(policy, "sized", policy)
    return made
