"""Values that agree but for rounding: which one is exact, and to how many digits the other is."""

from __future__ import annotations

import re
from fractions import Fraction

from examples.math_tutor.steps import decimal, number, states_sum
from spex_agents.rewards.checking.arithmetic import equations

_DECIMAL = re.compile(r"[-+]?\d+\.(\d+)")


def decimals(value: str) -> int | None:
    """The digits after the point of a decimal fraction; None for any other value.

    Example:
        >>> decimals("3.33"), decimals("3,5"), decimals("10/3"), decimals("12")
        (2, 1, None, None)
    """
    found = _DECIMAL.fullmatch(decimal(value.strip()))
    return len(found[1]) if found else None


def rounds(value: Fraction, to: str) -> bool:
    """Whether `to` is a decimal fraction that `value` rounds to, and not `value` itself.

    Example:
        >>> rounds(Fraction(10, 3), "3.33"), rounds(Fraction(10, 3), "3.34")
        (True, False)
    """
    size, digits = number(decimal(to)), decimals(to)
    if size is None or digits is None or size == value:
        return False
    return abs(value - size) <= Fraction(1, 2 * 10**digits)


def exact(text: str, value: str) -> Fraction | None:
    """What a step comes to exactly, where it states a sum that it has rounded to `value`.

    Example:
        >>> exact("10 / 3 = 3.33 km", "3.33"), exact("Half is 2.5", "2.5")
        (Fraction(10, 3), Fraction(5, 2))
    """
    for one in equations(text):
        if one.holds and one.value is not None and not one.part and rounds(one.value, value):
            return one.value
    return number(value)


def compared(mine: str, text: str, value: str) -> tuple[bool, str] | None:
    """How a value agrees with that of a step but for rounding; None where it does not.

    Args:
        mine: The student's.
        text: The step.
        value: What it comes to.

    Returns:
        Whether it counts as right, and what to say of the rounding.

    Example:
        >>> compared("10/3", "10 / 3 = 3.33", "3.33")
        (True, 'exactly 10/3; 3.33 is rounded')
        >>> compared("2.4", "19 / 8 = 2.375", "2.375")
        (False, 'that is rounded to 1 digit after the point; give more digits, or the exact value')
    """
    size, right = number(decimal(mine)), number(value)
    if size is None or right is None or size == right:
        return None
    whole, digits = exact(text, value) or right, decimals(mine)
    if digits is None and (size == whole or (rounds(size, value) and not states_sum(text))):
        return True, f"exactly {mine}; {value} is rounded"
    if digits is None:
        return None
    if size == whole or (
        rounds(whole, mine) and whole != right and digits > (decimals(value) or 0)
    ):
        return True, f"{value} is rounded further"
    if not rounds(whole, mine):
        return None
    places = f"{digits} digit{'s' * (digits != 1)} after the point"
    return False, f"that is rounded to {places}; give more digits, or the exact value"
