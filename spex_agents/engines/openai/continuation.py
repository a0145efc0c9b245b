"""What becomes of a partial reply at a server that does not say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.openai.dialects import Partial
from spex_agents.engines.openai.fields import Call
from spex_agents.engines.openai.refusals import Refusals
from spex_agents.engines.openai.reply import Reply
from spex_agents.engines.prompts import Message, Prompt

COUNTING = Prompt(
    (Message("user", "Write the numbers from 1 to 9, one a line, and nothing else."),),
    reply="1\n2\n3\n4\n",
)
"""A reply that every model goes on with alike, and that ends in what servers trim."""


async def find_partial(
    ask: Callable[[Call], Awaitable[Reply]], request: Request, refusals: Refusals
) -> Partial:
    """Ask for the end of a list once: what comes shows what became of its beginning.

    Args:
        ask: Asks the server; a partial reply is sent as a last message.
        request: Who needs to know it, and whose tokens it costs.
        refusals: Of the server; it is noted there if the reply is trimmed.
    """
    asked = Request(id=f"{request.id}/continues", seed=request.seed)
    greedy = Sampling(temperature=0, top_p=1, top_k=0, stop=())
    try:
        reply = await ask(Call(prompt=COUNTING, request=asked, sampling=greedy, max_tokens=8))
    finally:
        request.tokens += asked.tokens
    return "ask" if refusals.asks else judge_continuation(reply.split.text, refusals)


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
