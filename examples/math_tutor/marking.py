"""Marks a student's line against the solution and against what else the search has tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from examples.math_tutor.evidence import Attempt, Step
from examples.math_tutor.rounding import compared
from examples.math_tutor.steps import (
    Quantity,
    decimal,
    false_sum,
    given,
    in_words,
    number,
    stated,
    states_sum,
)
from spex_agents.answers import same_as
from spex_agents.rewards.checking.arithmetic import evaluate

LONGEST = 200

Verdict: TypeAlias = Literal[
    "unreadable", "right", "ahead", "another way", "tried", "behind", "false sum", "unit", "sum",
    "rounded", "wrong",
]  # fmt: skip
"""right: the step's value; ahead: a later step's; behind: an earlier one's; another way: a sound
alternative's; tried: that of an alternative which came to nothing; false sum: what is written does
not hold; sum: right, but not worked out; rounded: right to fewer digits; unit: another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a line is worth.

    Attributes:
        verdict: See `Verdict`.
        value: What the line comes to.
        why: In words, where the verdict needs them; it does not tell the right value.
        step: The number of the step whose value it is.
        attempt: The alternative whose value it is.
        holds: Whether the line states a sum of its own that holds.
    """

    verdict: Verdict
    value: str = ""
    why: str = ""
    step: int | None = None
    attempt: Attempt | None = None
    holds: bool = False


async def mark(reply: str, steps: Sequence[Step], at: int) -> Mark:
    """Mark a line that a student gives for the step of number `at`, counted from 0."""
    if fault := unreadable(reply):
        return Mark(verdict="unreadable", why=fault)
    said, step = given(reply), steps[at]
    if number(step.value) is not None:
        said = replace(said, value=decimal(said.value))
    digits = any(char.isdigit() for char in reply)
    if number(step.value) is not None and not digits and number(said.value) is None:
        return Mark(verdict="unreadable", why="there is no number in that line")
    if number(step.value) is not None and number(said.value) is None and in_words(said.value):
        return Mark(verdict="unreadable", why="it has several numbers, and none stands out")
    places = [Mark(verdict="right", step=at)]
    places += [
        Mark(verdict="tried" if other.way is None else "another way", attempt=other)
        for other in step.others
    ]
    places += [Mark(verdict="ahead", step=n) for n in range(at + 1, len(steps))]
    places += [Mark(verdict="behind", step=n) for n in range(at)]
    known = [_known(steps, place) for place in places]
    equal = await same_as(said.value, [one.value for one in known])
    measured = await same_as(str(said), [str(one) for one in known])
    number_alone = equal[0]
    equal = tuple(
        whole if said.unit and one.unit else same
        for one, same, whole in zip(known, equal, measured, strict=True)
    )
    found = next((place for place, same in zip(places, equal, strict=True) if same), None)
    if number_alone and not equal[0] and (found is None or found.verdict == "behind"):
        if why := false_sum(reply):
            return Mark(verdict="false sum", value=said.value, why=why)
        why = f"the number is right, but the step comes to {step.unit}, not to {said.unit}"
        return Mark(verdict="unit", value=said.value, why=why)
    if found is None or found.verdict in ("tried", "behind"):
        if why := false_sum(reply):
            attempt = found.attempt if found else None
            return Mark(verdict="false sum", value=said.value, why=why, attempt=attempt)
        if said.unit in (None, step.unit) and (same := compared(said.value, step.text, step.value)):
            right, why = same
            place = {"verdict": "right", "step": at} if right else {"verdict": "rounded"}
            return Mark(**place, value=said.value, why=why)
        found = found or Mark(verdict="wrong")
        return replace(found, value=said.value, holds=states_sum(reply))
    if why := false_sum(reply):
        return Mark(verdict="false sum", value=said.value, why=why)
    if number(step.value) is not None and number(said.value) is None and evaluate(said.value)[0]:
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


def _known(steps: Sequence[Step], place: Mark) -> Quantity:
    if place.attempt is None:
        step = steps[place.step or 0]
        return Quantity(value=step.value, unit=step.unit)
    found = stated(place.attempt.text)
    return Quantity(value=place.attempt.value, unit=found.unit if found else None)
