"""The termination rules by name, as the command line takes them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from spex_agents.answers.termination import ExactStop, MarginStop, TerminationRule
from spex_agents.errors import SettingsError

RULES: Mapping[str, TerminationRule | None] = MappingProxyType(
    {
        "none": None,
        "exact": ExactStop(),
        "margin": MarginStop(),
    }
)
"""Each rule, by the name it has on the command line; None for no rule."""


def make_rule(name: str) -> TerminationRule | None:
    """The termination rule of that name.

    Raises:
        SettingsError: There is none of that name.

    Example:
        >>> make_rule("exact"), make_rule("none")
        (ExactStop(), None)
    """
    if name not in RULES:
        raise SettingsError(f"termination={name!r}: must be one of {', '.join(RULES)}")
    return RULES[name]
