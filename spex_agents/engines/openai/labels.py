"""The probabilities of labels, read from the alternatives to a reply's first token."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.openai.fields import Call
from spex_agents.engines.openai.reply import Reply
from spex_agents.engines.openai.thoughts import said_tokens
from spex_agents.engines.prompts import Prompt
from spex_agents.errors import EngineError

TOP_LOGPROBS = 20


def label_call(prompt: Prompt, request: Request) -> Call:
    """Asks for one token and the most probable alternatives to it."""
    return Call(
        prompt=prompt,
        request=request,
        sampling=Sampling(temperature=0, top_p=1, top_k=0, stop=(), logprobs=True),
        max_tokens=1,
        alternatives=TOP_LOGPROBS,
    )


def label_probabilities(reply: Reply, labels: Sequence[str], *, url: str) -> Mapping[str, float]:
    """The probability of each label among the first token's alternatives; 0 for one not listed.

    Args:
        reply: To a `label_call`.
        labels: As the tokens' text is, a leading space included.
        url: Of the server, for messages.

    Raises:
        EngineError: It has no alternatives to its token.
    """
    said = said_tokens(reply)
    if not said or not said[0].top:
        raise EngineError(
            f"{url} sent no top_logprobs though asked for {TOP_LOGPROBS}: let the server return "
            "them, or take a reward that does not read label probabilities"
        )
    top = said[0].top
    return {
        label: min(1.0, math.fsum(math.exp(logprob) for token, logprob in top if token == label))
        for label in labels
    }
