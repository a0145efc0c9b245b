"""Equations, inequalities and congruences."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from spex_agents.answers.forms import Form, joined
from spex_agents.answers.groups import Reader, union, without
from spex_agents.answers.notation import split
from spex_agents.answers.numbers import number

Comparison: TypeAlias = Callable[[str, str, str, str], Form]
"""Compares as a whole: what kind of relation, its left and its right side, and its sign."""

_RELATION = re.compile(r"\s*(\\(?:le|ge|ne)(?![A-Za-z])|<|>|==?)\s*")
_APPROXIMATELY = re.compile(r"\s*\\approx(?![A-Za-z])\s*")
_MEMBER = re.compile(r"([A-Za-z]|\\[a-z]+)\s*\\in(?![A-Za-z])\s*(.+)$")
_NAME = re.compile(
    r"\\?[A-Za-z]+(?:_\{?\w+\}?)?'*$"  # x, x_1, \alpha, y'
    r"|[A-Za-z](?:_\{?\w+\}?)?(?:\^\{?(?:-1|\(\w\))\}?)?"  # f(x), P(X > 2)
    r"'*\s*(?:\([\w\s,|<>=]+\)|\[\w+\])$"
    r"|m?\s*\\(?:det|dim|vec|bar|hat|overline|overrightarrow|angle|triangle)\s*\{?\s*[A-Za-z]+\s*\}?$"
    r"|\\frac\s*\{\s*d\w\s*\}\s*\{\s*d\w\s*\}$|d\w/d\w$"
    r"|[A-Za-z]+(?: [A-Za-z]{2,}){1,4}$"  # total cost
)
_POINT = re.compile(r"\(\s*[A-Za-z](?:_\d)?(?:\s*,\s*[A-Za-z](?:_\d)?)+\s*\)$")
_WITHIN = re.compile(r"\|\s*[a-z]\s*\|$")
_LETTER = re.compile(r"[A-Za-z]$|\\[a-z]+$")
_MODULO = re.compile(
    r"(?:([a-z])\s*(?:\\equiv|=)\s*)?(-?\d+)\s*\(?\s*(?:\\[pb]?mod|mod(?:ulo)?)\s*\{?\s*(\d+)\s*\}?\s*\)?$"
)


def related(text: str, form: Reader, compared: Comparison) -> Form | None:
    """What equations and the like come to; None where there are none.

    Args:
        text: What may be one.
        form: Reads one side.
        compared: Compares both.
    """
    if modulo := _MODULO.match(text):
        rest, of = int(modulo[2]), int(modulo[3])
        return Form(str(rest % of), note=f"mod {of}") if of else None
    about = _APPROXIMATELY.split(text)
    if len(about) > 1 and all(about):
        exact = about[0].rpartition("=")[2].strip()
        named = _NAME.match(exact) and exact != "\\pi"
        return form(f"{about[0]} = {about[1]}" if named else about[0])
    if member := _MEMBER.match(text):
        inner = form(member[2])
        return Form(inner.value, note=inner.note or member[1], base=inner.base)
    parts, signs, position = split(text, _RELATION), [], 0
    for part in parts[:-1]:
        sign = _RELATION.match(text, position + len(part))
        if sign is None:
            return None
        signs.append(sign[1])
        position = sign.end()
    parts = [part.strip() for part in parts]
    if len(parts) < 2 or not all(parts):
        return None
    if set(signs) <= {"=", "=="}:
        return _equal(parts, form, compared)
    if len(parts) == 2:
        return _ordered(parts[0], signs[0], parts[1], form, compared)
    return _between(parts, signs, form) if len(parts) == 3 else None


def _equal(parts: list[str], form: Reader, compared: Comparison) -> Form | None:
    left, right = parts[0], parts[-1]
    found = form(right)
    if _POINT.match(left) and found.base[:1] == "(":
        return found  # (x, y) = (1, 2)
    if _NAME.match(left):
        name = left
    elif len(parts) == 2 and _NAME.match(right) and len(right) == 1:
        found, name = form(left), right
    elif form(left).value == found.value:
        return found  # 3 + 4 = 7
    else:
        return compared("equation", left, right, "=")
    free = re.search(r"(?<![\\A-Za-z])[a-z](?![A-Za-z])", right if name == left else left)
    base = found.base
    if free and len(parts) == 2 and " " not in name and number(right) is None:
        whole = compared("equation", left, right, "=")
        base = whole.base
    return Form(found.value, note=found.note or " ".join(name.split()), base=base)


def _ordered(left: str, sign: str, right: str, form: Reader, compared: Comparison) -> Form:
    if sign == "\\ne":
        found = compared("equation", left, right, "!=")
        if _LETTER.match(left):
            end = joined(form(right))
            return Form(found.value, base=without([end]).base)
        return found
    if sign in ("<", "\\le"):
        left, right = right, left
    strict = sign in "<>"
    base = ""
    low, high = ("(", ")") if strict else ("[", "]")
    if _WITHIN.match(left) and (most := number(right)) is not None and most > 0:
        base = union([f"(-oo, -{most}{high}", f"{low}{most}, oo)"]).base
    elif _WITHIN.match(right) and (most := number(left)) is not None and most > 0:
        base = f"{low}-{most}, {most}{high}"
    elif _LETTER.match(left):
        base = ray(joined(form(right)), ">" if strict else ">=")
    elif _LETTER.match(right):
        base = ray(joined(form(left)), "<" if strict else "<=")
    found = compared("order", left, right, ">" if strict else ">=")
    return Form(found.value, base=base or found.base)


def _between(parts: list[str], signs: list[str], form: Reader) -> Form | None:
    """1 < x < 5."""
    low, middle, high = parts
    first, last = signs
    if {first, last} <= {">", "\\ge"}:
        low, high, first, last = high, low, last, first
    elif not {first, last} <= {"<", "\\le"}:
        return None
    left, right = "(" if first in "<>" else "[", ")" if last in "<>" else "]"
    base = f"{left}{joined(form(low))}, {joined(form(high))}{right}"
    return Form(f"{middle} in {base}", base=base if _LETTER.match(middle) else "")


def ray(end: str, sign: str) -> str:
    """The interval of all that is on one side of a number.

    Example:
        >>> ray("5", ">="), ray("5", "<")
        ('[5, oo)', '(-oo, 5)')
    """
    if sign[0] == ">":
        return f"{'[' if '=' in sign else '('}{end}, oo)"
    return f"(-oo, {end}{']' if '=' in sign else ')'}"
