"""The thought that a reply is."""

from __future__ import annotations

from collections.abc import Sequence

from spex_agents.engines.base import Sampling
from spex_agents.engines.calls.cut import cut, tokens_of_step, without_lead
from spex_agents.engines.openai.reply import Reply, TokenLogprob
from spex_agents.engines.reasoning import OPEN
from spex_agents.search.tree import Finish, Thought

BEGINS_ANEW = (
    "begins its reply anew, where it is asked to go on: steps are repeated. Search whole answers "
    "(BestOfN), or take a server that continues a partial reply"
)


def thought_of(reply: Reply, sampling: Sampling, *, asked: bool) -> Thought:
    """What `reply` says, up to the first delimiter, and what it was reasoned from.

    Args:
        reply: To its end.
        sampling: What was asked for.
        asked: For one step: its end is a step's, and only an empty one ends the path.
    """
    split = reply.split
    text, at_delimiter = cut(without_lead(split.text, sampling.stop), sampling.stop)
    logprobs = None
    if sampling.logprobs and (reply.logprobs or not split.text):
        step = said_tokens(reply, sampling.stop)
        logprobs = tuple(entry.logprob for entry in step if entry.logprob is not None)
    finish: Finish = "stop"
    if at_delimiter:
        finish = "step"
    elif not split.text and (split.reasoning or reply.reasoning_tokens):
        finish = "reasoning"
    elif reply.finish == "length":
        finish = "length"
    elif asked and text.strip():
        finish = "step"
    return Thought(
        text=f"{OPEN}\n{text}" if reply.whole and reply.opened else text,
        tokens=reply.tokens,
        finish=finish,
        ends=finish in ("stop", "reasoning"),
        logprobs=logprobs,
        reasoning=split.reasoning,
        reasoning_tokens=reply.reasoning_tokens,
    )


def ended_in_lead(reply: Reply, stop: Sequence[str]) -> bool:
    """Whether a stop string has ended the reply before it said anything.

    A server that takes the last line end from a partial reply sees the model write it anew.
    """
    text = reply.split.text
    return bool(text) and not without_lead(text, stop)


def said_tokens(reply: Reply, stop: Sequence[str] = ()) -> list[TokenLogprob]:
    """The tokens of the step, after reasoning and with the one that completes its delimiter."""
    whole = "".join(entry.token for entry in reply.logprobs)
    said = without_lead(reply.split_of(whole).text, stop)
    start, at = len(whole) - len(said), 0
    step, texts = [], []
    for entry in reply.logprobs:
        at += len(entry.token)
        if at > start or not entry.token:
            step.append(entry)
            texts.append(entry.token[-(at - start) :] if at > start else "")
    return step[: tokens_of_step(texts, stop)]
