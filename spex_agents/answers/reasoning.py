"""Blocks in which a model thinks aloud: nothing in them is meant as its answer."""

from __future__ import annotations

import re

_NAMES = (
    "think|thinking|thought|thoughts|reasoning|reason|reflection|analysis|scratchpad|seed:think"
)
_TAG = re.compile(
    rf"<(?P<close1>/?)(?:{_NAMES})(?:\s[^<>]{{0,200}})?>"
    r"|\[(?P<close2>/?)(?:THINK|THINKING|REASONING)\]"
    r"|<\|(?P<edge>begin|end)_of_thought\|>"
    r"|<\|channel\|>(?P<channel>\w+)"
    r"|<\|(?P<turn>end|start|return)\|>"
    r"|◁(?P<close3>/?)think▷",
    re.IGNORECASE,
)


def without_reasoning(text: str) -> str:
    """A text without its reasoning blocks.

    A block that is not closed runs to the end; what is before a closing tag that nothing has opened
    is reasoning too: the prompt had opened it.

    Example:
        >>> without_reasoning("<think>Is it 3?</think>It is 4.")
        'It is 4.'
    """
    return _read(text)[0]


def open_tag(text: str) -> str:
    """The tag of the reasoning block that is still open at the end of a text, or nothing.

    Example:
        >>> open_tag("<think>Is it 3?"), open_tag("<think>Is it 3?</think>It is 4.")
        ('<think>', '')
    """
    return _read(text)[1]


def _read(text: str) -> tuple[str, str]:
    kept: list[str] = []
    position, opened = 0, ""
    for tag in _TAG.finditer(text):
        if _opens(tag):
            if not opened:
                kept.append(text[position : tag.start()])
                opened = tag[0]
        elif opened:
            position, opened = tag.end(), ""
        elif tag["turn"] or tag["channel"]:
            kept.append(text[position : tag.start()] + "\n")
            position = tag.end()
        else:
            kept.clear()
            position = tag.end()
    if not opened:
        kept.append(text[position:])
    return "".join(kept), opened


def _opens(tag: re.Match[str]) -> bool:
    """Whether a tag begins a block; of the channels of gpt-oss, all but the final one do."""
    if tag["channel"]:
        return tag["channel"].lower() != "final"
    if tag["turn"]:
        return False
    if tag["edge"]:
        return tag["edge"].lower() == "begin"
    return not (tag["close1"] or tag["close2"] or tag["close3"])
