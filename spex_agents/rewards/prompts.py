"""What a judge is asked: a prompt with fields, filled in for one path."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from spex_agents.engines.base import Prompt
from spex_agents.search.tree import Thought


def filled(prompt: Prompt, question: str, thoughts: Sequence[Thought]) -> Prompt:
    """Fill in ``{question}``, ``{steps}`` (all of them, a line each) and ``{step}`` (the last)."""
    texts = [thought.text for thought in thoughts]
    return fill(prompt, {"question": question, "steps": "\n".join(texts), "step": texts[-1]})


def fill(prompt: Prompt, values: Mapping[str, str]) -> Prompt:
    """Fill all fields in one pass, so that a brace in a question stays what it is."""
    fields = re.compile(r"\{(" + "|".join(values) + r")\}")

    def text(form: str) -> str:
        return fields.sub(lambda field: values[field[1]], form)

    messages = tuple(replace(turn, content=text(turn.content)) for turn in prompt.messages)
    return Prompt(messages, text(prompt.reply))
