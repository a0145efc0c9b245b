"""What a problem is, and the plainest kind: a question whose answer is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from spex_agents.answers.equivalence import Canonical, canonical, same_as
from spex_agents.answers.extract import Extract, extract_answer
from spex_agents.engines.prompts import PromptTemplate


class Problem(Protocol):
    """Something to solve, and how a solution is told from a wrong one.

    Attributes:
        template: How it is put to a model, unless a set has a template of its own.
        extract: Finds an answer in a path's text.
        canonical: Brings it to the form in which answers are counted.

    Example:
        >>> import asyncio
        >>> problem: Problem = Stated(question="What is 5 + 7?", answer="12")
        >>> asyncio.run(problem.right("24/2"))
        True
    """

    template: ClassVar[PromptTemplate]
    extract: ClassVar[Extract]
    canonical: ClassVar[Canonical]

    @property
    def question(self) -> str: ...

    async def right(self, answer: str) -> bool:
        """Whether `answer`, as `extract` has found it, is right."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    r"""A question and its right answer: a number, LaTeX, or words.

    Answers are compared by `spex_agents.answers.equivalent`.

    Example:
        >>> import asyncio
        >>> problem = Stated(question="What is 1 / 2 + 1 / 4?", answer="0.75")
        >>> asyncio.run(problem.right("3/4")), asyncio.run(problem.right("1"))
        (True, False)
    """

    template: ClassVar[PromptTemplate] = PromptTemplate()
    extract: ClassVar[Extract] = staticmethod(extract_answer)
    canonical: ClassVar[Canonical] = staticmethod(canonical)

    question: str
    answer: str

    @property
    def title(self) -> str:
        """The question in one line."""
        return ", ".join(self.question.splitlines())

    async def right(self, answer: str) -> bool:
        return (await same_as(answer, [self.answer]))[0]
