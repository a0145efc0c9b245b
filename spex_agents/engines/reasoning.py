"""What a model reasons before it answers: told apart from what it says."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, get_args

from spex_agents.engines.prompts import Prompt
from spex_agents.errors import SettingsError

Thinking: TypeAlias = Literal["auto", "off", "keep", "steps"]
r"""What becomes of a model's reasoning before its reply.

auto: off on servers of one's own, where there is a means, and kept elsewhere; off: switched off by
the server's own means; keep: written, counted and shown, and no part of a thought's text; steps:
the reasoning is what is searched, thoughts are pieces of it (`Sampling(stop=("\n\n",))`).
"""

REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
"""Where it comes: at DeepSeek, SGLang and older vLLM; at vLLM, OpenRouter and Ollama; at Ollama; at
MiniMax."""

OPEN, CLOSE = "<think>", "</think>"
"""How models mark it in their text."""


def check_thinking(thinking: Thinking) -> Thinking:
    """`thinking`, if it is one.

    Raises:
        SettingsError: It is not.
    """
    if thinking not in get_args(Thinking):
        raise SettingsError(
            f"thinking={thinking!r}: must be one of {', '.join(get_args(Thinking))}"
        )
    return thinking


class Split(NamedTuple):
    text: str
    reasoning: str


def split_reasoning(text: str, *, opened: bool = False) -> Split:
    r"""Tell apart what a text says and the reasoning that it begins with.

    Args:
        text: As it was written; may be at its middle.
        opened: The prompt has opened the block, so the text begins within it.

    Example:
        >>> split_reasoning("<think>\nTwo and two.\n</think>\n\nIt is 4.")
        Split(text='It is 4.', reasoning='Two and two.')
        >>> split_reasoning("Two and", opened=True)
        Split(text='', reasoning='Two and')
    """
    start = text.lstrip()
    if start.startswith(OPEN):
        start = start.removeprefix(OPEN)
    elif not opened and CLOSE not in text:
        return Split(text, "")
    reasoning, closed, rest = start.partition(CLOSE)
    return Split(rest.lstrip("\n") if closed else "", reasoning.strip())


def with_reasoning(prompt: Prompt, *, opened: bool = False) -> str:
    r"""The partial reply as the model itself would have written it, its reasoning before it.

    Args:
        prompt: Whose reply.
        opened: What comes before it has opened a block of reasoning.

    Example:
        >>> with_reasoning(Prompt((), reply="It is", reasoning="Two and two."))
        '<think>\nTwo and two.\n</think>\n\nIt is'
    """
    if opened and prompt.reply.startswith(OPEN):  # thoughts are steps of the reasoning
        return prompt.reply.removeprefix(OPEN).lstrip("\n")
    if prompt.reasoning:
        begun = "" if opened else f"{OPEN}\n"
        return f"{begun}{prompt.reasoning}\n{CLOSE}\n\n{prompt.reply}"
    return f"\n{CLOSE}\n\n{prompt.reply}" if opened and prompt.reply else prompt.reply
