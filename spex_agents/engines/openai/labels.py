"""The probabilities of labels: of the alternatives to a reply's first token, or by its text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from spex_agents.engines.base import Request, Sampling
from spex_agents.engines.openai.fields import Call
from spex_agents.engines.openai.reply import Reply
from spex_agents.engines.openai.thoughts import said_tokens
from spex_agents.engines.prompts import Prompt

TOP_LOGPROBS = 20


READ_TOKENS = 8
"""Tokens of a reply that is read for a label, which may be several."""


def label_call(prompt: Prompt, request: Request, *, logprobs: bool = True) -> Call:
    """Asks for one token and the most probable alternatives to it, or for a few words."""
    return Call(
        prompt=prompt,
        request=request,
        sampling=Sampling(temperature=0, top_p=1, top_k=0, stop=(), logprobs=logprobs),
        max_tokens=1 if logprobs else READ_TOKENS,
        alternatives=TOP_LOGPROBS if logprobs else None,
    )


def label_probabilities(reply: Reply, labels: Sequence[str]) -> Mapping[str, float] | None:
    """The probability of each label among the first token's alternatives; 0 for one not listed.

    None if it has no alternatives.

    Args:
        reply: To a `label_call`.
        labels: As the tokens' text is, a leading space included.
    """
    said = said_tokens(reply)
    if not said or not said[0].top:
        return None
    top = said[0].top
    return {
        label: min(1.0, math.fsum(math.exp(logprob) for token, logprob in top if token == label))
        for label in labels
    }
