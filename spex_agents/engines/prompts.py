"""How a question and a path of thoughts become a conversation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from spex_agents.search.action import STEP, Action, Try
from spex_agents.search.tree import Thought

NEXT_STEP = (
    "Go on from where your reply ends. Write only the next step, without repeating what is there."
)
"""Asks for the next step where a partial reply cannot be continued as it is."""

Role: TypeAlias = Literal["system", "user", "assistant"]
"""Who speaks."""


@dataclass(frozen=True, slots=True)
class Message:
    """A turn of a conversation.

    Attributes:
        role: Whose it is.
        content: What it says, for engines that take text.
        source: The message that it stands for, for engines that take messages as they are
            (`Features.messages`): tool calls and results, images and files.

    Example:
        >>> Message("user", "What is 2 + 2?").role
        'user'
    """

    role: Role
    content: str
    source: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Conversation:
    """The turns that a question stands for.

    Attributes:
        question: The question at the root of the tree, which tells them in words.
        turns: They themselves, one of the user's among them.
    """

    question: str
    turns: tuple[Message, ...]

    @property
    def asked(self) -> int:
        """Which turn asks: the user's last, but for results of tools."""
        turns = enumerate(self.turns)
        return max(
            index
            for index, turn in turns
            if turn.role == "user" and getattr(turn.source, "type", "human") != "tool"
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Offer:
    """Tools that a model may call, for engines that can offer it some (`Features.tools`).

    Attributes:
        tools: Functions, as OpenAI has them: `name`, `description`, `parameters`.
        choice: "auto"; "any", if it must call one; or the name of the one that it must call.
        several: Whether a reply may call more than one.

    Example:
        >>> offer = Offer(tools=({"name": "now", "parameters": {"type": "object"}},), choice="now")
        >>> offer.forces
        True
    """

    tools: tuple[Mapping[str, Any], ...]
    choice: str = "auto"
    several: bool = True

    @property
    def forces(self) -> bool:
        """Whether it says which tool is to be called."""
        return self.choice not in ("auto", "any")


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
        offer: Tools that the reply may call; engines that cannot offer any take no notice.
        plain: The root's question and the thoughts of the path as the template alone would tell
            them, where a policy asks with a prompt of its own.

    Example:
        >>> Prompt(messages=(Message(role="user", content="2 + 3?"),), reply="2 + 3 is").reply
        '2 + 3 is'
    """

    messages: tuple[Message, ...]
    reply: str = ""
    reasoning: str = ""
    question: str | None = field(default=None, compare=False, repr=False)
    steps: tuple[Thought, ...] = field(default=(), compare=False, repr=False)
    offer: Offer | None = field(default=None, compare=False, repr=False)
    plain: Prompt | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTemplate:
    r"""How a question becomes a conversation: data, to be replaced by yours.

    Attributes:
        system: The system message; empty for none.
        examples: Solved examples, shown as earlier turns.
        user: The user's turn; ``{question}`` stands for the question.
        delimiter: Put back between steps; the first of `Sampling.stop` as a rule.
        close: Ends the system message, also where the conversation has one of its own.
        attempt: Tells an earlier try of the path to a thought that begins another, by its
            ``{number}`` and its ``{text}``.
        critique: Follows it with the ``{words}`` of its reward, if that `speaks`.
        conversation: The turns that its question stands for, in place of `user`; a system message
            among them takes the place of `system`. A run in a state of messages sets it.
        offer: Tools that a thought may call, where the engine has a chat model that takes tools.
            Such a thought ends its path, and its text ends with the calls as JSON.

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
    close: str = ""
    attempt: str = "Answer {number}:\n{text}"
    critique: str = "What was said of it: {words}"
    conversation: Conversation | None = None
    offer: Offer | None = None

    def prompt(
        self,
        question: str,
        thoughts: Sequence[Thought],
        action: Action = STEP,
        elders: Sequence[Thought] = (),
        tried: Sequence[Try] = (),
    ) -> Prompt:
        """The prompt that asks for the thought after `thoughts`.

        Args:
            question: The question at the root.
            thoughts: The path so far.
            action: How the thought is asked for.
            elders: Its elder siblings, if it continues their list.
            tried: Earlier tries, if it begins another.
        """
        steps = self._steps(thoughts)
        attempts = [self._attempt(number, each) for number, each in enumerate(tried, 1)]
        fields: dict[str, str] = {
            "steps": steps,
            "attempts": "\n\n".join(attempts),
            "attempt": attempts[-1] if attempts else "",
        }
        asked = self._asked(action.user or self.user, question, fields)
        turns = [turn for turn in asked if turn.role == "system"]
        if not turns and self.system:
            turns = [Message("system", self.system)]
        if self.close:
            said = [turn.content for turn in turns]
            turns = [Message("system", "\n\n".join([*said, self.close]))]
        for example, answered in self.examples:
            user = fill(self.user, question=example)
            turns += [Message("user", user), Message("assistant", answered)]
        turns += [turn for turn in asked if turn.role != "system"]
        reply = "" if action.anew else steps
        entries = "".join(elder.text + self.delimiter for elder in elders)
        begun = reply + entries + action.cue
        reasoned = () if action.anew else thoughts
        reasoning = "\n\n".join(thought.reasoning for thought in reasoned if thought.reasoning)
        return Prompt(
            tuple(turns),
            begun,
            reasoning,
            question=question,
            steps=tuple(thoughts),
            offer=self.offer,
        )

    def _steps(self, thoughts: Sequence[Thought]) -> str:
        return "".join(
            thought.text + (self.delimiter if thought.finish == "step" else "")
            for thought in thoughts
        )

    def _attempt(self, number: int, tried: Try) -> str:
        said = self._steps(tried.thoughts).strip()
        told = fill(self.attempt, number=str(number), text=said)
        if tried.words:
            told += "\n" + fill(self.critique, words=tried.words)
        return told

    def _asked(self, form: str, question: str, fields: dict[str, str]) -> Sequence[Message]:
        """The turns that ask: one, or the conversation with its last question in that form."""
        if (conversation := self.conversation) is None:
            return [Message("user", fill(form, question=question, **fields))]
        turns = conversation.turns
        if question == conversation.question:
            if form == "{question}":
                return turns
            question = turns[conversation.asked].content
        asked = Message("user", fill(form, question=question, **fields))
        return [*turns[: conversation.asked], asked, *turns[conversation.asked + 1 :]]


def fill(text: str, /, **values: str) -> str:
    """Fill the fields named by `values` in one pass, so that a brace in a value stays what it is.

    Example:
        >>> fill("{question} {other}", question="{other}?")
        '{other}? {other}'
    """
    return re.sub(r"\{(\w+)\}", lambda field: values.get(field[1], field[0]), text)
