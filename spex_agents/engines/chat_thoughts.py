"""The thought that a chat model's reply is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spex_agents.engines.calls.cut import cut
from spex_agents.engines.chat_replies import END_MARK, is_cut_off, logprobs_of, spoken
from spex_agents.engines.chat_tools import calls_in, calls_something
from spex_agents.engines.prompts import Offer
from spex_agents.errors import EngineError
from spex_agents.search.tree import Thought

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage


def thought_of(
    said: BaseMessage,
    stop: Sequence[str],
    *,
    tokens: int,
    logprobs_asked: bool,
    stop_sent: bool,
    name: str,
    offer: Offer | None = None,
) -> Thought:
    """What a reply says, up to the first delimiter, and whether the path ends there.

    Args:
        said: The reply, at least up to where the next step begins.
        stop: The delimiters.
        tokens: Written for it, reasoning included.
        logprobs_asked: The model was asked for log-probabilities.
        stop_sent: The model was sent the delimiters, so its reply's end is a step's.
        name: Of the engine, for messages.
        offer: Tools that it may call; a call ends the path.

    Raises:
        EngineError: It is nothing but reasoning, or ends in the middle of a call, or has no
            log-probabilities though asked.
    """
    text, at_delimiter = cut(spoken(said).lstrip(), stop)
    logprobs = logprobs_of(said, stop)
    if text and logprobs is None and logprobs_asked:
        raise EngineError(
            f"{name} sent no log-probabilities though asked: set "
            "Sampling(logprobs=False), or take 'logprobs' out of parameters="
        )
    gone_on = at_delimiter and bool(after_step(spoken(said).lstrip(), text, stop))
    if offer is not None and not gone_on and calls_something(said):
        if is_cut_off(said):
            raise EngineError(
                f"{name} was cut off after {tokens} tokens, in a call of a tool: raise "
                "Limits(step_tokens=..., path_tokens=...), or the request's max_completion_tokens"
            )
        text = "\n".join(filter(None, (text, calls_in(said, offer))))
        return Thought(text=text, tokens=tokens, finish="stop", ends=True, logprobs=logprobs)
    if not text and not at_delimiter and is_cut_off(said) and tokens:
        raise EngineError(
            f"{name} sent nothing but reasoning, {tokens} tokens of it: raise "
            "Limits(step_tokens=..., path_tokens=...), or let the model reason less"
        )
    marked = text.rstrip().endswith(END_MARK)
    if marked:
        text = text.rstrip().removesuffix(END_MARK).rstrip()
    ended = not gone_on if at_delimiter else not is_cut_off(said) and not stop_sent
    if marked or ended or not (text or at_delimiter):
        return Thought(text=text, tokens=tokens, finish="stop", ends=True, logprobs=logprobs)
    cut_off = is_cut_off(said) and not at_delimiter
    return Thought(
        text=text, tokens=tokens, finish="length" if cut_off else "step", logprobs=logprobs
    )


def after_step(whole: str, text: str, stop: Sequence[str]) -> str:
    """What follows `text` and its delimiter in the whole of a reply, but for white space."""
    rest = whole[len(text) :]
    delimiter = max((mark for mark in stop if rest.startswith(mark)), key=len, default="")
    return rest.removeprefix(delimiter).strip()
