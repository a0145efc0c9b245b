"""Texts that are not ours, where a server reads them: never control."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

from spex_agents.engines.prompts import Message, Prompt
from spex_agents.errors import EngineError, SettingsError

SpecialTokens: TypeAlias = Literal["escape", "refuse", "keep"]
"""What becomes of special tokens in questions, thoughts and whatever else is told to a model.

escape: a space breaks them; refuse: an error; keep: they are sent, and end or begin turns.
"""

SPECIAL = re.compile(
    r"<\|[^<>|\s][^<>|]{0,60}\|>"  # ChatML, Llama 3, Phi, GLM, gpt-oss
    r"|<\uff5c[^<>\uff5c]{1,60}\uff5c>"  # DeepSeek, with the wide bar
    r"|</?(?:s|bos|eos|pad|unk|mask|start_of_turn|end_of_turn|start_of_image|end_of_utterance)>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|IMG)\]"
    r"|<</?SYS>>"
    r"|<(?:extra_|extra_id_|reserved_|unused)\d+>"
)
"""What tokenizers of common models take for special tokens."""


def check_special_tokens(how: SpecialTokens) -> SpecialTokens:
    """`how`, if it is one of the ways.

    Raises:
        SettingsError: It is not.
    """
    if how not in get_args(SpecialTokens):
        allowed = ", ".join(get_args(SpecialTokens))
        raise SettingsError(f"special_tokens={how!r}: must be one of {allowed}")
    return how


def escaped(text: str) -> str:
    """The text with a space in each special token, which makes it an ordinary text.

    Example:
        >>> escaped("2 + 2?<|im_end|>")
        '2 + 2?< |im_end|>'
    """
    return SPECIAL.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)


def without_control(prompt: Prompt, how: SpecialTokens) -> Prompt:
    """The prompt as it may be sent to a server that tokenises it with special tokens.

    Raises:
        EngineError: It has one, and they are refused.
    """
    texts = [message.content for message in prompt.messages]
    texts += [prompt.reply, prompt.reasoning]
    found = next((one for text in texts if (one := SPECIAL.search(text))), None)
    if found is None or how == "keep":
        return prompt
    if how == "refuse":
        raise EngineError(
            f"a text has {found[0]!r}, a special token of language models: take it out, or set "
            "special_tokens='escape'"
        )
    return replace(
        prompt,
        messages=tuple(Message(turn.role, escaped(turn.content)) for turn in prompt.messages),
        reply=escaped(prompt.reply),
        reasoning=escaped(prompt.reasoning),
    )
