"""What has ended a search, in a word that a client can tell from others."""

from __future__ import annotations

import math

from spex_agents.answers.limits import MaxTokens
from spex_agents.answers.termination import ExactStop


def ended_by(
    rule: str | None, *, reached: bool = False, limit: float, most: float, asked: float
) -> str | None:
    """The word for the rule that ended a search; a rule of an agent's own is told as it is.

    Args:
        rule: As the state of the search's graph has it.
        reached: Whether it has its limit, which may also cut all paths off.
        limit: Committed tokens after which it was to decide no further.
        most: The same, had its key enough left.
        asked: The request's own limit.

    Example:
        >>> rule = "MaxTokens(limit=50, waste=False)"
        >>> ended_by(rule, limit=50, most=80, asked=80), ended_by(rule, limit=50, most=50, asked=50)
        ('key_tokens', 'max_tokens')
        >>> ended_by(None, reached=True, limit=3, most=3, asked=3)
        'max_tokens'
        >>> ended_by("ExactStop()", limit=50, most=80, asked=80)
        'certain'
    """
    if rule == str(ExactStop()):
        return "certain"
    if rule is None and not reached:
        return None
    if limit == math.inf or rule not in (None, str(MaxTokens(int(limit), waste=False))):
        return rule
    if limit < most:
        return "key_tokens"
    return "max_tokens" if limit >= asked else "most_tokens"
