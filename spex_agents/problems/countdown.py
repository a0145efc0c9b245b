"""Countdown and the Game of 24: reach a number with others, each of them used once."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from spex_agents.answers.equivalence import Canonical
from spex_agents.answers.extract import Extract, extract_answer
from spex_agents.engines.prompts import PromptTemplate
from spex_agents.errors import SettingsError
from spex_agents.rewards.checking.arithmetic import as_arithmetic, evaluate

_NUMBER = re.compile(r"\d+")


def expression(text: str) -> str:
    r"""An arithmetic expression in one notation: without LaTeX, blanks and what it comes to.

    Example:
        >>> expression(r"\frac{8}{2} \times (4 + 2) = 24"), expression("24 = (4 + 8) x (6 - 4)")
        ('((8)/(2))*(4+2)', '(4+8)*(6-4)')
    """
    sides = ["".join(side.split()) for side in as_arithmetic(text).split("=")]
    return max(sides, key=lambda side: len(_NUMBER.findall(side)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Countdown:
    """Reach `target` with + - * / and parentheses, from `numbers`, each used exactly once.

    Attributes:
        numbers: What there is.
        target: What it shall come to.

    Raises:
        SettingsError: There are no numbers.

    Example:
        >>> import asyncio
        >>> asyncio.run(Countdown(numbers=(4, 4, 6, 8), target=24).right("(4 + 8) * (6 - 4)"))
        True
    """

    template: ClassVar[PromptTemplate] = PromptTemplate(
        system="Combine the numbers step by step, one equation a line. End with a line that gives "
        "one expression with all of them in \\boxed{}."
    )
    extract: ClassVar[Extract] = staticmethod(extract_answer)
    canonical: ClassVar[Canonical] = staticmethod(expression)

    numbers: tuple[int, ...]
    target: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", tuple(self.numbers))
        if not self.numbers or not all(type(number) is int for number in self.numbers):
            raise SettingsError(f"numbers={self.numbers!r}: must be whole numbers, at least one")
        if type(self.target) is not int:
            raise SettingsError(f"target={self.target!r}: must be a whole number")

    @property
    def question(self) -> str:
        numbers = ", ".join(map(str, self.numbers))
        return (
            f"Numbers: {numbers}. Reach {self.target} with + - * / and parentheses. Use each "
            "number exactly once."
        )

    async def right(self, answer: str) -> bool:
        value, terms = evaluate(expression(answer))
        return value == self.target and Counter(terms) == Counter(map(Fraction, self.numbers))
