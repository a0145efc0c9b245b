"""What a judge is asked: a prompt with fields, filled in for one path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from spex_agents.engines.prompts import Prompt
from spex_agents.engines.prompts import fill as fill_text
from spex_agents.search.tree import Thought


def filled(prompt: Prompt, question: str, thoughts: Sequence[Thought]) -> Prompt:
    """Fill in ``{question}``, ``{steps}`` (all of them, a line each) and ``{step}`` (the last)."""
    texts = [thought.text for thought in thoughts]
    return fill(prompt, {"question": question, "steps": "\n".join(texts), "step": texts[-1]})


def fill(prompt: Prompt, values: Mapping[str, str]) -> Prompt:
    """Fill the fields named by `values` in all messages and the reply."""
    messages = tuple(
        replace(turn, content=fill_text(turn.content, **values)) for turn in prompt.messages
    )
    return Prompt(messages, fill_text(prompt.reply, **values))
