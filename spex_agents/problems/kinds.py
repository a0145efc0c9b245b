"""What a problem is, and the plainest kind: a question whose answer is known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from spex_agents.answers import symbolic
from spex_agents.answers.equivalence import Canonical, canonical, plain_form
from spex_agents.answers.extract import Extract, extract_answer
from spex_agents.engines.prompts import PromptTemplate

VERIFY_SECONDS = 20.0
"""Of processor time, for one comparison by math-verify."""


class Problem(Protocol):
    """Something to solve, and how a solution is told from a wrong one.

    Attributes:
        template: How it is put to a model, unless a set has a template of its own.
        extract: Finds an answer in a path's text.
        canonical: Brings it to the form in which answers are counted.
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

    Answers are compared by `equal_to`.

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
        return (await equal_to(answer, [self.answer]))[0]


async def equal_to(
    given: str, known: Sequence[str], *, seconds: float | None = None
) -> tuple[bool, ...]:
    r"""Which of `known` are equal to `given`: numbers, LaTeX, or words.

    Numbers and words are compared at once. Other mathematics goes to math-verify, in a process of
    its own that is killed after `seconds` of processor time (`VERIFY_SECONDS`); what takes longer
    is unequal.

    Example:
        >>> import asyncio
        >>> asyncio.run(equal_to(r"\frac{6}{8}", ["0.75", "3/4", "x"]))
        (True, True, False)
    """
    easy, bare = plain_form(given), "".join(given.split())
    same: list[bool | None] = []
    for one in known:
        form = plain_form(one)
        if easy is not None and form is not None:
            same.append(easy == form)
        else:
            same.append(True if bare == "".join(one.split()) else None)
    if asked := [one for one, found in zip(known, same, strict=True) if found is None]:
        limit = VERIFY_SECONDS if seconds is None else seconds
        verdicts = await asyncio.to_thread(symbolic.equal, given, asked, seconds=limit)
        rest = iter(verdicts)
        return tuple(next(rest) if found is None else found for found in same)
    return tuple(map(bool, same))
