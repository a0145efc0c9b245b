"""The problems of the race, who writes steps, and who judges them: chains of sums, by hash.

Every contestant imports this, in an environment of its own: the standard library alone.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from random import Random

DELIMITER = "\n\n"
SLIP, SLIP_AGAIN = 0.12, 0.09
"""How often a step comes out wrong, in a first try and in one that has read others."""
RIGHT, WRONG, NOISE = 0.65, 0.45, 0.16
"""Mean reward of a path without a slip and with one, and what is added to it (sigma)."""

_WORDS = {"+": "add", "-": "subtract", "*": "multiply by"}
_RESULT = re.compile(r"= (-?\d+)\.")
_BOXED = re.compile(r"\\boxed\{(-?\d+)\}")
_NUMBER = re.compile(r"Problem (\d+):")


@dataclass(frozen=True)
class Problem:
    """Start with a number, and do one thing after the other to it."""

    number: int
    start: int
    operations: tuple[tuple[str, int], ...]

    @property
    def question(self) -> str:
        told = ", ".join(f"{_WORDS[sign]} {value}" for sign, value in self.operations)
        return (
            f"Problem {self.number}: Start with {self.start}. Then {told}. What is the result? "
            "Write one step at a time, an empty line between two, and the answer in \\boxed{}."
        )

    @property
    def answer(self) -> int:
        value = self.start
        for sign, operand in self.operations:
            value = calculated(value, sign, operand)
        return value

    def right(self, text: str) -> bool:
        found = _BOXED.findall(text)
        return bool(found) and int(found[-1]) == self.answer


def calculated(value: int, sign: str, operand: int) -> int:
    if sign == "*":
        return value * operand
    return value + operand if sign == "+" else value - operand


def problems(count: int, seed: int = 0, *, small: bool = False) -> list[Problem]:
    """So many problems of five to seven steps, or of two to three."""
    made = []
    for number in range(count):
        rng = Random(f"{seed}/{number}")
        operations = tuple(
            (sign := rng.choice("+-*"), rng.randint(2, 4) if sign == "*" else rng.randint(3, 40))
            for _ in range(rng.randint(*((2, 3) if small else (5, 7))))
        )
        made.append(Problem(number, rng.randint(5, 60), operations))
    return made


def number_in(text: str) -> int | None:
    """Which problem a prompt is about."""
    found = _NUMBER.search(text)
    return int(found[1]) if found else None


def written(problem: Problem, before: str, key: str, *, again: bool) -> list[str]:
    """The steps that follow those in `before`, to the end; which, is decided by `key`.

    Args:
        problem: What is asked.
        before: What the reply says so far.
        key: The same key, the same steps.
        again: Whether the prompt tells of earlier tries.
    """
    results = _RESULT.findall(before)
    value = int(results[-1]) if results else problem.start
    rng = Random(hashlib.sha256(f"{key}|{before}".encode()).digest())
    steps = []
    for at, (sign, operand) in enumerate(problem.operations[len(results) :], len(results) + 1):
        result = calculated(value, sign, operand)
        if rng.random() < (SLIP_AGAIN if again else SLIP):
            result += rng.choice((-10, -2, -1, 1, 2, 10))
        wordy = " We keep this for the next step." * rng.randint(0, 3)
        steps.append(said(at, value, sign, operand, result) + wordy)
        value = result
    if not _BOXED.search(before):
        steps.append(f"All steps are done. The answer is \\boxed{{{value}}}.")
    return steps


def said(at: int, value: int, sign: str, operand: int, result: int) -> str:
    """A step in words."""
    return (
        f"Step {at}: we had {value}, and now {_WORDS[sign]} {operand}: "
        f"{value} {sign} {operand} = {result}."
    )


def judged(problem: Problem, text: str) -> float:
    """The reward of what a reply says so far: higher where no step has slipped, and noisy."""
    value, sound = problem.start, True
    for result, (sign, operand) in zip(_RESULT.findall(text), problem.operations, strict=False):
        sound = sound and int(result) == calculated(value, sign, operand)
        value = int(result)
    digest = hashlib.sha256(f"{problem.number}|{' '.join(text.split())}".encode()).digest()
    noise = Random(digest).gauss(0, NOISE)
    return min(1.0, max(0.0, (RIGHT if sound else WRONG) + noise))


def tokens_of(text: str) -> int:
    """About as many tokens as a text has."""
    return max(1, round(len(text) / 4))
