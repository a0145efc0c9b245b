"""Policies by what they are called on the command line, several at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from inspect import signature
from typing import cast

import typer

from spex_agents.errors import SettingsError, at_least_one
from spex_agents.named import load_named
from spex_agents.search import Policy
from spex_agents.search.policies.answer_tree import AnswerTree
from spex_agents.search.registry import POLICIES, make_policy, read_fields, sizes, stated


def sized_policies(names: Sequence[str], **common: int | None) -> list[Policy]:
    """The policies of one table; where there are several, each takes the sizes it has.

    Raises:
        SettingsError: There is no such policy, the only one lacks a size, or a value is none.

    Example:
        >>> sized_policies(["rstar", "spex_agents.search:Rebase"], width=2, rollouts=3)
        [Rstar(rollouts=3, width=2, ...), Rebase(width=2, temperature=0.2)]
    """
    if len(names) == 1:
        return [policy_of(names[0], **common)]
    return [policy_of(name, **_own(name, common)) for name in names]


def policy_of(name: str, **given: int | None) -> Policy:
    """The policy of that name, or what ``module:attribute`` is: a policy, or a class of one.

    Fields that the name states go before sizes that are given.

    Raises:
        SettingsError: There is no such policy, it lacks a size, or a value is out of range.

    Example:
        >>> policy_of("spex_agents.search:Rebase:width=4", width=2)
        Rebase(width=4, temperature=0.2)
    """
    plain, fields = stated(name)
    if ":" not in plain:
        return make_policy(name, **given)
    found = load_named("policy", plain)
    told: dict[str, object] = {size: value for size, value in given.items() if value is not None}
    if fields and callable(found):
        told |= read_fields(name, found)
    if told or fields or not hasattr(found, "decide") or isinstance(found, type):
        try:
            found = found(**told)
        except TypeError as error:
            raise SettingsError(f"policy={name!r}: {error}") from error
    if not hasattr(found, "decide"):
        raise SettingsError(f"policy={name!r}: must be a Policy, or a class of one, not {found!r}")
    return cast("Policy", found)


def named_policies(specs: Sequence[str], **common: int | None) -> dict[str, Policy]:
    """Policies by what they were called: a name, ``all``, ``module:attribute``, or with own fields.

    Sizes in common go to the policies that have them.

    Raises:
        SettingsError: There is no such policy or field, a value is none, or a name comes twice.

    Example:
        >>> named_policies(["rebase", "rebase:width=4"], width=2)["rebase:width=4"]
        Rebase(width=4, temperature=0.2)
    """
    found: dict[str, Policy] = {}
    for spec in (one for given in specs for one in (_installed() if given == "all" else (given,))):
        if spec in found:
            raise SettingsError(f"policy={spec!r}: is given twice")
        found[spec] = policy_of(spec, **_own(spec, common))
    return found


def with_models(policy: Policy, count: int) -> Policy:
    """`policy`, with the search's own engine and so many others less one.

    Raises:
        SettingsError: It cannot ask for several, or the number is below 1.
    """
    at_least_one(models=count)
    if not isinstance(policy, AnswerTree):
        raise SettingsError(f"models={count}: {type(policy).__name__} asks for one model only")
    return replace(policy, models=("", *(f"model-{number}" for number in range(2, count + 1))))


def _own(name: str, common: dict[str, int | None]) -> dict[str, int | None]:
    plain, _ = stated(name)
    if ":" in plain:
        made = load_named("policy", plain)
        known = list(signature(made).parameters) if callable(made) else []
    else:
        known = list(sizes(name))
    return {size: value for size, value in common.items() if size in known}


def _installed() -> Iterator[str]:
    """All policies but those that lack a package, which is told on standard error."""
    for name in POLICIES:
        try:
            make_policy(name)
        except SettingsError as error:
            typer.echo(f"{name} is left out: {error}", err=True)
        else:
            yield name
