"""What a problem is, and the plainest kind: a question whose answer is known."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar, Protocol

from spex_agents.engines.base import PromptTemplate
from spex_agents.search.answers import Canonical, Extract, canonical, extract_answer, plain_form

VERIFY_SECONDS = 20.0
_VERIFY_BYTES = 2 << 30


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

    Numbers and words are compared at once. Other mathematics goes to math-verify, in a process of
    its own that is killed after `VERIFY_SECONDS`; what takes longer is wrong.

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
        known, given = plain_form(self.answer), plain_form(answer)
        if known is not None and given is not None:
            return known == given
        if "".join(answer.split()) == "".join(self.answer.split()):
            return True
        return await asyncio.to_thread(_verify, self.answer, answer)


# math-verify's own time limit is a signal, which a thread cannot take and sympy may not heed.
_VERIFIER = """
import json, resource, sys
from math_verify import parse, verify
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), int(sys.argv[1])))
known, given = (parse(f"${text}$", parsing_timeout=None) for text in json.load(sys.stdin))
sys.exit(not verify(known, given, timeout_seconds=None))
"""


def _verify(known: str, given: str) -> bool:
    try:
        done = subprocess.run(  # noqa: S603 (a fixed program)
            [sys.executable, "-c", _VERIFIER, str(_VERIFY_BYTES)],
            input=json.dumps([known.strip("$ "), given.strip("$ ")]),
            text=True,
            capture_output=True,
            timeout=VERIFY_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
