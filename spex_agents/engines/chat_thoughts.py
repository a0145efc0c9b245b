"""The thought that a chat model's reply is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from spex_agents.engines.calls.cut import REPEATED, cut, repeated
from spex_agents.engines.chat_replies import END_MARK, is_cut_off, logprobs_of, spoken
from spex_agents.engines.chat_tools import called_in, calls_in, calls_something
from spex_agents.engines.prompts import Offer
from spex_agents.errors import EngineError
from spex_agents.search.tree import Thought

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

BEGINS_ANEW = (
    "begins its reply anew, where it is asked to go on: what it repeats is left out of its "
    "thoughts, but paid for. Search whole answers (BestOfN), or take a model that goes on from the "
    "assistant's last turn; one made up for a test can count the steps there"
)


class Step(NamedTuple):
    """What a call is to write.

    Attributes:
        begun: What it is to go on from.
        stop: The delimiters, at the first of which it ends.
        offer: Tools that it may call; a call ends the path.
    """

    begun: str = ""
    stop: tuple[str, ...] = ()
    offer: Offer | None = None


def thought_of(
    said: BaseMessage,
    step: Step,
    *,
    tokens: int,
    logprobs_asked: bool,
    stop_sent: bool,
    name: str,
) -> Thought:
    """What a reply says, up to the first delimiter, and whether the path ends there.

    Args:
        said: The reply, at least up to where the next step begins.
        step: What was asked for. Where the reply begins anew, what it repeats is left out.
        tokens: Written for it, reasoning included.
        logprobs_asked: The model was asked for log-probabilities.
        stop_sent: The model was sent the delimiters, so its reply's end is a step's.
        name: Of the engine, for messages.

    Raises:
        EngineError: It is nothing but reasoning or repeats, calls a tool that was not offered to
            it, ends in the middle of a call, or has no log-probabilities though asked.
    """
    whole, begun, stop, offer = spoken(said).lstrip(), step.begun, step.stop, step.offer
    start, goes_on = repeated(whole, begun, stop)
    if goes_on and is_cut_off(said) and len(whole) >= REPEATED:
        raise EngineError(
            f"{name} was cut off after {tokens} tokens, in which it began its reply anew: raise "
            "Limits(step_tokens=..., path_tokens=...), or search whole answers (BestOfN)"
        )
    whole = whole[start:].lstrip()
    text, at_delimiter = cut(whole, stop)
    logprobs = logprobs_of(said, stop, start)
    if text and logprobs is None and logprobs_asked:
        raise EngineError(
            f"{name} sent no log-probabilities though asked: set "
            "Sampling(logprobs=False), or take 'logprobs' out of parameters="
        )
    gone_on = at_delimiter and bool(after_step(whole, text, stop))
    calls = not gone_on and calls_something(said)
    if calls and offer is None:
        raise EngineError(
            f"{name} called {called_in(said)}, which a search over text cannot: bind no tools to "
            "the model, or search an agent's messages (SpexMiddleware)"
        )
    if calls and offer is not None:
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


def step_is_whole(text: str, step: Step) -> bool:
    """Whether a reply that is still coming has said its step, and begun the next one."""
    text = text.lstrip()
    if not cut(text, step.stop)[1]:
        return False  # as with most pieces of a reply: nothing more is looked for
    start, goes_on = repeated(text, step.begun, step.stop)
    text = text[start:].lstrip()
    said, at_delimiter = cut(text, step.stop)
    return at_delimiter and not goes_on and bool(after_step(text, said, step.stop))


def after_step(whole: str, text: str, stop: Sequence[str]) -> str:
    """What follows `text` and its delimiter in the whole of a reply, but for white space."""
    rest = whole[len(text) :]
    delimiter = max((mark for mark in stop if rest.startswith(mark)), key=len, default="")
    return rest.removeprefix(delimiter).strip()
