"""Countdown and the Game of 24: reach a number with others, each of them used once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from spex_agents.answers.equivalence import Canonical
from spex_agents.answers.extract import Extract, extract_answer, found_in
from spex_agents.engines.base import Request
from spex_agents.engines.prompts import PromptTemplate
from spex_agents.errors import RewardError, SettingsError
from spex_agents.rewards.checking.arithmetic import Calculator, equations, evaluate
from spex_agents.rewards.checking.notation import as_arithmetic
from spex_agents.search.tree import Thought

_NUMBER = re.compile(r"\d+")
_QUESTION = re.compile(r"Numbers: (?P<numbers>[-\d, ]+)\. Reach (?P<target>-?\d+) with ")


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


def _unanswered(text: str) -> None:
    """No step is an answer."""


_STEPS = Calculator(rule="once", extract=_unanswered)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountdownReward:
    """1 while a path keeps the rules of its puzzle, and its end is a solution; else 0.

    Equations must hold and take numbers that are left, the one that takes the last of them must
    come to the target, and an answer must be a right expression. It does not look ahead: steps from
    which the target cannot be reached any more score 1 until the numbers are used up.

    Example:
        >>> import asyncio
        >>> def score(*steps: str) -> float:
        ...     thoughts = [Thought(text=step, tokens=9) for step in steps]
        ...     question = Countdown(numbers=(4, 10, 5), target=46).question
        ...     request = Request(id="r", seed=7)
        ...     return asyncio.run(CountdownReward().score(question, thoughts, request))
        >>> score("10 * 5 = 50", "50 - 4 = 46"), score("10 * 5 = 50", "50 + 4 = 54")
        (1.0, 0.0)
    """

    name: str = "countdown"
    needs_logprobs: bool = False
    pure: bool = True
    seeded: bool = False

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        """Score the path of `thoughts`, all its steps.

        Raises:
            RewardError: The question is not a `Countdown`'s.
        """
        puzzle = _puzzle(question)
        last = thoughts[-1]
        cut = last.finish == "length"
        answer = found_in(Countdown.extract, last.text, cut=cut, ended=last.ends)
        if answer is not None:
            return float(await puzzle.right(answer))
        steps = [step for thought in thoughts for step in equations(thought.text)]
        if len(steps) == len(puzzle.numbers) - 1 and steps[-1].right != puzzle.target:
            return 0.0
        numbers = ", ".join(map(str, puzzle.numbers))
        return await _STEPS.score(numbers, thoughts, request)


def _puzzle(question: str) -> Countdown:
    """The puzzle that a question states."""
    if (stated := _QUESTION.match(question)) is None:
        raise RewardError(
            f"the reward of countdown puzzles was asked about {question[:80]!r}; its questions are "
            f"like {Countdown(numbers=(1, 2), target=3).question!r}"
        )
    numbers = tuple(map(int, stated["numbers"].split(",")))
    return Countdown(numbers=numbers, target=int(stated["target"]))
