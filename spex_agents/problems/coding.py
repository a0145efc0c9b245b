"""Programs to write, graded by tests that run apart from everything else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from spex_agents.answers.equivalence import Canonical
from spex_agents.answers.extract import Extract
from spex_agents.answers.ready import python_block
from spex_agents.engines.prompts import PromptTemplate
from spex_agents.errors import SettingsError
from spex_agents.sandbox import Isolation, SandboxLimits, judge

LIMITS = SandboxLimits(seconds=15.0)


def _without_trailing_space(code: str) -> str:
    return "\n".join(line.rstrip() for line in code.strip("\n").splitlines())


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """A program that has to pass tests.

    Attributes:
        prompt: What to write: a docstring's function as in HumanEval, or words.
        tests: Python that fails with an exception; with an `entry_point` it may define
            ``check(candidate)``, as HumanEval does.
        entry_point: Name of the function to write; "" if the tests know it.
        isolation: What keeps it apart.

    Raises:
        SettingsError: There are no tests.

    Example:
        >>> import asyncio
        >>> problem = Coding(
        ...     prompt="def double(x):", tests="assert double(2) == 4", entry_point="double"
        ... )
        >>> asyncio.run(problem.right("def double(x): return x + x"))
        True
    """

    template: ClassVar[PromptTemplate] = PromptTemplate(
        system="Think about the function in a few short paragraphs. Then write it completely, once,"
        " in a block that begins with ```python and ends with ```.",
        delimiter="\n\n",
    )
    extract: ClassVar[Extract] = staticmethod(python_block)
    canonical: ClassVar[Canonical] = staticmethod(_without_trailing_space)

    prompt: str
    tests: str
    entry_point: str = ""
    isolation: Isolation = "auto"

    def __post_init__(self) -> None:
        for name in ("prompt", "tests"):
            if not isinstance(value := getattr(self, name), str) or not value.strip():
                raise SettingsError(f"{name}={value!r}: must be a text that is not empty")
        if self.entry_point and not self.entry_point.isidentifier():
            raise SettingsError(f"entry_point={self.entry_point!r}: must be a function's name")

    @property
    def question(self) -> str:
        return self.prompt

    async def right(self, answer: str) -> bool:
        """Whether the tests run to their end, and all assertions hold.

        The program is in a process of its own, and cannot reach them.
        """
        calls = self.entry_point and re.search(r"^def check\(", self.tests, re.MULTILINE)
        check = f"\ncheck({self.entry_point})" if calls else ""
        verdict = await judge(
            self.program(answer),
            self.tests + check,
            LIMITS,
            functions=[self.entry_point],
            isolation=self.isolation,
        )
        return verdict.ok

    def program(self, code: str) -> str:
        """What is tested: the prompt's own beginning, and the answer."""
        begins = -1
        if self.entry_point:
            defined = re.compile(rf"^[ \t]*(?:async[ \t]+)?def[ \t]+{self.entry_point}\b", re.M)
            if (stated := defined.search(self.prompt)) is not None:
                begins = stated.start() if defined.search(code) else len(self.prompt)
        before = self.prompt[:begins] if begins > 0 else ""
        joint = "" if begins == len(self.prompt) else "\n\n"
        return f"{before}{joint}{code}\n"
