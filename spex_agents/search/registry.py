"""The policies by name: what the command line, the test suites and the documentation go through."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
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


def stated(name: str) -> tuple[str, dict[str, str]]:
    """A policy's name, and the fields that are stated with it.

    Raises:
        SettingsError: A field has no name or no value, or comes twice.

    Example:
        >>> stated("rstar:create=all,width=3")
        ('rstar', {'create': 'all', 'width': '3'})
    """
    if "=" not in name:
        return name, {}
    plain, _, parts = name.rpartition(":")
    fields: dict[str, str] = {}
    for part in parts.split(","):
        field, _, value = part.partition("=")
        if not (plain and field and value) or field in fields:
            raise SettingsError(
                f"policy={name!r}: fields are stated once each, as in rstar:create=all,width=3"
            )
        fields[field] = value
    return plain, fields


def read_fields(name: str, made: Callable[..., object]) -> dict[str, int | float | str]:
    """The fields that are stated with a policy's name, as what makes it takes them.

    Raises:
        SettingsError: It does not take one, or the value is not of the field's kind.

    Example:
        >>> read_fields("mine:half=0.5", lambda half=1.0: half)
        {'half': 0.5}
    """
    kinds = {field: _kind(one.default) for field, one in inspect.signature(made).parameters.items()}
    plain, fields = stated(name)
    found: dict[str, int | float | str] = {}
    for field, value in fields.items():
        if (kind := kinds.get(field)) is None:
            raise SettingsError(
                f"policy={name!r}: {plain} has no {field} that can be stated; it has "
                f"{', '.join(field for field, kind in kinds.items() if kind)}"
            )
        try:
            found[field] = kind(value)
        except ValueError:
            number = "a whole number" if kind is int else "a number"
            raise SettingsError(f"policy={name!r}: {field} must be {number}") from None
    return found


def _kind(default: object) -> type[int | float | str] | None:
    """What is read for a field: numbers and words, by its default; without one a whole number."""
    if default is None or default is inspect.Parameter.empty:
        return int
    return next((kind for kind in (int, float, str) if type(default) is kind), None)


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


def over_models(policy: Policy, names: Iterable[str]) -> Policy:
    """`policy`, with the search's own engine and those of that name as its models.

    Raises:
        SettingsError: It asks one model alone.

    Example:
        >>> from spex_agents.search import AbMcts
        >>> over_models(AbMcts(), ["large"]).models
        ('', 'large')
    """
    if not (names := tuple(names)):
        return policy
    if not hasattr(policy, "models"):
        several = ", ".join(filter(over_several, POLICIES))
        raise SettingsError(
            f"policy {type(policy).__name__} asks one model, not {', '.join(names)} as well; "
            f"take a policy over several: {several}"
        )
    return replace(policy, models=("", *names))  # type: ignore[type-var]


def make_policy(name: str, **given: int | None) -> Policy:
    """The policy of that name; a size of None is the policy's own default.

    The name may state fields, which go before a size that is given: ``rstar:create=all``.

    Raises:
        SettingsError: There is no such policy, it lacks a size or field, or a value is out of
            range.

    Example:
        >>> make_policy("rebase", width=8, rollouts=None)
        Rebase(width=8, temperature=0.2)
        >>> make_policy("rstar:create=all", rollouts=10).create
        'all'
    """
    own = sizes(name)
    chosen = {size: value for size, value in given.items() if value is not None}
    for size in chosen.keys() - own:
        owners = ", ".join(other for other in POLICIES if size in sizes(other))
        raise SettingsError(
            f"{size}={chosen[size]!r}: {name} has no {size}; leave it out, "
            f"or take a policy that has: {owners}"
        )
    return _maker(name)(**chosen | read_fields(name, _maker(name)))


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
            f"{'; leave it out for the default' * (policy is None)}"
        )
    members = [name for name in vars(Policy) if not name.startswith("_")]
    if lacking := [name for name in members if not hasattr(policy, name)]:
        raise SettingsError(
            f"policy={policy!r}: has no {', '.join(lacking)}; subclass spex_agents.search.Policy, "
            "which has defaults for all but decide"
        )
    return policy


def _maker(name: str) -> Callable[..., Policy]:
    plain, _ = stated(name)
    if plain not in POLICIES:
        raise SettingsError(f"policy={name!r}: must be one of {', '.join(POLICIES)}")
    module, _, attribute = POLICIES[plain].partition(".")
    policy = getattr(import_module(f"spex_agents.search.policies.{module}"), attribute)
    made: Callable[..., Policy] = getattr(policy, "sized", policy)
    return made
