"""What becomes of a partial reply at a server that does not say."""

from __future__ import annotations

from spex_agents.engines.openai.dialects import Partial
from spex_agents.engines.openai.refusals import Refusals
from spex_agents.engines.prompts import Message, Prompt

COUNTING = Prompt(
    (Message("user", "Write the numbers from 1 to 9, one a line, and nothing else."),),
    reply="1\n2\n3\n4\n",
)
"""A reply that every model goes on with alike, and that ends in what servers trim."""


def judge_continuation(text: str, refusals: Refusals) -> Partial:
    r"""How to go on with partial replies, seen by what followed `COUNTING`.

    Example:
        >>> refusals = Refusals("http://127.0.0.1:1/v1")
        >>> judge_continuation("5\n6", refusals), refusals.trims
        ('continue', False)
        >>> judge_continuation("\n5\n6", refusals), refusals.trims
        ('continue', True)
        >>> judge_continuation("1\n2\n3\n4\n5", refusals)
        'ask'
    """
    if not text.lstrip().startswith("5"):
        return "ask"
    refusals.trims = refusals.trims or text.startswith("\n")
    return "continue"
