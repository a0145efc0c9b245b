"""Marks a student's line against the solution and against what else the search has tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from examples.math_tutor.evidence import Attempt, Step
from examples.math_tutor.steps import false_sum, given, number
from spex_agents.answers import same_as
from spex_agents.rewards.checking.arithmetic import evaluate

LONGEST = 200

Verdict: TypeAlias = Literal[
    "unreadable", "right", "ahead", "another way", "tried", "behind", "false sum", "unit", "sum",
    "wrong",
]  # fmt: skip
"""right: the step's value; ahead: a later step's; behind: an earlier one's; another way: a sound
alternative's; tried: that of an alternative which came to nothing; false sum: what is written does
not hold; sum: right, but not worked out; unit: another unit of measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a line is worth.

    Attributes:
        verdict: See `Verdict`.
        value: What the line comes to.
        why: In words, where the verdict needs them; it does not tell the right value.
        step: The number of the step whose value it is.
        attempt: The alternative whose value it is.
    """

    verdict: Verdict
    value: str = ""
    why: str = ""
    step: int | None = None
    attempt: Attempt | None = None


async def mark(reply: str, steps: Sequence[Step], at: int) -> Mark:
    """Mark a line that a student gives for the step of number `at`, counted from 0."""
    if fault := unreadable(reply):
        return Mark(verdict="unreadable", why=fault)
    said, step = given(reply), steps[at]
    if number(step.value) is not None and not any(char.isdigit() for char in reply):
        return Mark(verdict="unreadable", why="there is no number in that line")
    places = [Mark(verdict="right", step=at)]
    places += [
        Mark(verdict="tried" if other.way is None else "another way", attempt=other)
        for other in step.others
    ]
    places += [Mark(verdict="ahead", step=n) for n in range(at + 1, len(steps))]
    places += [Mark(verdict="behind", step=n) for n in range(at)]
    known = [place.attempt.value if place.attempt else _value(steps, place) for place in places]
    equal = await same_as(said.value, known)
    found = next((place for place, same in zip(places, equal, strict=True) if same), None)
    if found is None or found.verdict in ("tried", "behind"):
        if why := false_sum(reply):
            attempt = found.attempt if found else None
            return Mark(verdict="false sum", value=said.value, why=why, attempt=attempt)
        return replace(found or Mark(verdict="wrong"), value=said.value)
    if why := false_sum(reply):
        return Mark(verdict="false sum", value=said.value, why=why)
    value, unit = step.value, step.unit
    if found.verdict == "right" and unit and said.unit and unit != said.unit:
        why = f"the number is right, but the step comes to {unit}, not to {said.unit}"
        return Mark(verdict="unit", value=said.value, why=why)
    if number(value) is not None and number(said.value) is None and evaluate(said.value)[0]:
        return Mark(verdict="sum", value=said.value, why="that is not worked out yet")
    return replace(found, value=said.value)


def unreadable(reply: str) -> str | None:
    """Why a line cannot be marked; None if it can.

    Example:
        >>> unreadable(r"\\frac{1}{2"), unreadable("25")
        ('the brackets do not match', None)
    """
    if not reply.strip():
        return "there is nothing in that line"
    if len(reply) > LONGEST:
        return f"that line has more than {LONGEST} characters"
    open_ones: list[str] = []
    for char in reply:
        if char in _PAIRS.values():
            open_ones.append(char)
        elif char in _PAIRS and (not open_ones or open_ones.pop() != _PAIRS[char]):
            return "the brackets do not match"
    return "the brackets do not match" if open_ones else None


_PAIRS = {")": "(", "]": "[", "}": "{"}


def _value(steps: Sequence[Step], place: Mark) -> str:
    return steps[place.step or 0].value
