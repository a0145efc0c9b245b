"""The search: a thought is a statement of the function, a path is a program."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from examples.coding_assistant.task import Task
from spex_agents import Limits, Rstar, Sampling
from spex_agents.engines import Prompt, PromptTemplate
from spex_agents.nodes import SearchSettings
from spex_agents.search import Action, Thought
from spex_agents.search.action import STEP, Try

FENCE = "```"
_BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_CLOSED = re.compile(r"^```\s*$", re.MULTILINE)

INDENT = "\n    "
STATEMENTS = tuple(INDENT + first for first in string.ascii_lowercase)
"""Where the next statement of a function's body begins, but none that is nested deeper."""

DELIMITER = INDENT[:-1]
"""Without the last space, which belongs to the word after it: models' tokens begin with a space."""

POLICY = Rstar(rollouts=16, width=6)

EXAMPLES = (
    Task(
        request='def is_even(n: int) -> bool:\n    """Whether n is even."""',
        opening="def is_even(n: int) -> bool:",
        tests="",
    ),
    Task(
        request="Write largest(numbers): the largest of a list of numbers.",
        tests="",
    ),
)
SOLUTIONS = (
    "    return n % 2 == 0",
    "def largest(numbers):\n"
    "    best = numbers[0]\n"
    "    for number in numbers:\n"
    "        if number > best:\n"
    "            best = number\n"
    "    return best",
)


def program_in(text: str) -> str | None:
    r"""The first whole block of code in a reply, or in a thought that ends one.

    Example:
        >>> program_in("```python\ndef one():\n    return 1\n```")
        'def one():\n    return 1'
    """
    if (found := _BLOCK.search(text)) is not None:
        return found[1].rstrip("\n")
    if (end := _CLOSED.search(text)) is not None:  # the block began in an earlier thought
        return text[: end.start()].rstrip("\n")
    return None


def without_trailing_space(program: str) -> str:
    return "\n".join(line.rstrip() for line in program.splitlines())


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeTemplate(PromptTemplate):
    """Tells a `Task`, without its tests, and begins the reply with the function's first line."""

    def prompt(
        self,
        question: str,
        thoughts: Sequence[Thought],
        action: Action = STEP,
        elders: Sequence[Thought] = (),
        tried: Sequence[Try] = (),
    ) -> Prompt:
        task = Task.of(question)
        told = PromptTemplate.prompt(self, asked(task), thoughts, action, elders, tried)
        return replace(told, reply=opening(task) + told.reply)


def asked(task: Task) -> str:
    """The user's turn."""
    parts = [task.request]
    if task.program:
        before = "The program so far" if not task.output else "This program is wrong"
        parts.append(f"{before}:\n{FENCE}python\n{task.program}\n{FENCE}")
    if task.output:
        parts.append(f"{task.output}\nWrite the function again, so that it is right.")
    return "\n\n".join(parts)


def opening(task: Task) -> str:
    """The beginning of every reply."""
    return f"{FENCE}python\n" + (task.opening + DELIMITER if task.opening else "")


TEMPLATE = CodeTemplate(
    system="You write Python. Answer with the whole function in one block of code, and nothing "
    "else.",
    examples=tuple(
        (asked(task), f"{FENCE}python\n{task.opening}\n{body}\n{FENCE}".replace("\n\n", "\n"))
        for task, body in zip(EXAMPLES, SOLUTIONS, strict=True)
    ),
    delimiter=DELIMITER,
)


def settings(**more: Any) -> SearchSettings:
    """The search of a program; `more` replaces some of it."""
    chosen: SearchSettings = {
        "policy": POLICY,
        "limits": Limits(depth=12, step_tokens=96, path_tokens=256),
        "sampling": Sampling(stop=STATEMENTS),
        "template": TEMPLATE,
        "extract": program_in,
        "vote": "best",
        **more,  # type: ignore[typeddict-item]
    }
    return chosen
