"""Templates of ``/completions``: prompts that are written here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from spex_agents.engines.prompts import Prompt
from spex_agents.engines.reasoning import with_reasoning
from spex_agents.errors import SettingsError

Template: TypeAlias = Callable[[Prompt], str]


def chatml(prompt: Prompt) -> str:
    r"""Write a prompt in ChatML (Qwen, SmolLM2, ...), its reply left open.

    Example:
        >>> from spex_agents.engines.prompts import Message
        >>> chatml(Prompt((Message("user", "2 + 2?"),), reply="It is"))
        '<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\nIt is'
    """
    turns = "".join(
        f"<|im_start|>{message.role}\n{message.content}<|im_end|>\n" for message in prompt.messages
    )
    return f"{turns}<|im_start|>assistant\n{with_reasoning(prompt)}"


TEMPLATES: Mapping[str, Template] = {"chatml": chatml}


def template_named(template: Template | str | None) -> Template | None:
    """The template of that name; one that is given, or None, is passed through.

    Raises:
        SettingsError: There is none.
    """
    if template is None or not isinstance(template, str):
        return template
    if template not in TEMPLATES:
        raise SettingsError(f"template={template!r}: must be one of {', '.join(TEMPLATES)}")
    return TEMPLATES[template]
