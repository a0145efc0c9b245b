"""How a question and a path of thoughts become a conversation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from spex_agents.search.action import STEP, Action
from spex_agents.search.tree import Thought

NEXT_STEP = (
    "Go on from where your reply ends. Write only the next step, without repeating what is there."
)
"""Asks for the next step where a partial reply cannot be continued as it is."""

Role: TypeAlias = Literal["system", "user", "assistant"]
"""Who speaks."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation, and the beginning of the assistant's next reply, to be continued as it is.

    Attributes:
        messages: The turns before the reply.
        reply: Its beginning.
        reasoning: What the model reasoned before its reply, if that was kept.
        question: What the template was asked to tell, for engines without a model; None if the
            prompt is no template's.
        steps: The thoughts that it was to tell, likewise.
        plain: The root's question and the thoughts of the path as the template alone would tell
            them, where a policy asks with a prompt of its own.
    """

    messages: tuple[Message, ...]
    reply: str = ""
    reasoning: str = ""
    question: str | None = field(default=None, compare=False, repr=False)
    steps: tuple[Thought, ...] = field(default=(), compare=False, repr=False)
    plain: Prompt | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTemplate:
    r"""How a question becomes a conversation: data, to be replaced by yours.

    Attributes:
        system: The system message; empty for none.
        examples: Solved examples, shown as earlier turns.
        user: The user's turn; ``{question}`` stands for the question.
        delimiter: Put back between steps; the first of `Sampling.stop` as a rule.

    Example:
        >>> template = PromptTemplate(system="Be brief.")
        >>> template.prompt("What is 2 + 2?", [Thought(text="2 + 2 = 4.", tokens=8)]).reply
        '2 + 2 = 4.\n'
    """

    system: str = (
        "Reason step by step, one short step a line. "
        "End with a line that gives the answer in \\boxed{}."
    )
    examples: tuple[tuple[str, str], ...] = field(default=())
    user: str = "{question}"
    delimiter: str = "\n"

    def prompt(
        self,
        question: str,
        thoughts: Sequence[Thought],
        action: Action = STEP,
        elders: Sequence[Thought] = (),
    ) -> Prompt:
        """The prompt that asks for the thought after `thoughts`.

        Args:
            question: The question at the root.
            thoughts: The path so far.
            action: How the thought is asked for.
            elders: Its elder siblings, if it continues their list.
        """
        turns = [Message("system", self.system)] if self.system else []
        for asked, answered in self.examples:
            user = fill(self.user, question=asked)
            turns += [Message("user", user), Message("assistant", answered)]
        steps = "".join(
            thought.text + (self.delimiter if thought.finish == "step" else "")
            for thought in thoughts
        )
        asked = fill(action.user or self.user, question=question, steps=steps)
        turns.append(Message("user", asked))
        reply = "" if "{steps}" in action.user else steps
        entries = "".join(elder.text + self.delimiter for elder in elders)
        begun = reply + entries + action.cue
        reasoned = () if "{steps}" in action.user else thoughts
        reasoning = "\n\n".join(thought.reasoning for thought in reasoned if thought.reasoning)
        return Prompt(tuple(turns), begun, reasoning, question=question, steps=tuple(thoughts))


def fill(text: str, **values: str) -> str:
    """Fill the fields named by `values` in one pass, so that a brace in a value stays what it is.

    Example:
        >>> fill("{question} {other}", question="{other}?")
        '{other}? {other}'
    """
    return re.sub(r"\{(\w+)\}", lambda field: values.get(field[1], field[0]), text)
