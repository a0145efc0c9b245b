"""Equations, inequalities and congruences."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from spex_agents.answers.classes import same
from spex_agents.answers.forms import Form, joined
from spex_agents.answers.groups import Reader, empty, overlap, union, without
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
    r"|m?\s*\\(?:det|dim|vec|bar|hat|overline|overrightarrow|angle|triangle)\s*[({]?\s*[A-Za-z]+\s*[)}]?$"
    r"|\|\s*[A-Z]\s*\|$"  # a determinant, or how many
    r"|\\frac\s*\{\s*d\w\s*\}\s*\{\s*d\w\s*\}$|d\w/d\w$"
    r"|[A-Za-z]+(?: [A-Za-z]{2,}){1,4}$"  # total cost
)
_FUNCTION = re.compile(r"([A-Za-z](?:_\{?\w+\}?)?(?:\^\{?-1\}?)?)('*)\s*(\(\s*[a-z]\s*\))?$")
_WORKED = re.compile(r"\\(?:int|iint|oint|sum|prod|lim)(?![A-Za-z])")
_POINT = re.compile(r"\(\s*[A-Za-z](?:_\d)?(?:\s*,\s*[A-Za-z](?:_\d)?)+\s*\)$")
_WITHIN = re.compile(r"\|\s*[a-z]\s*\|$")
_INDEX = re.compile(r"[A-Za-z]_\{?\w+\}?$")
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
        return Form(str(rest % of), note=f"mod {of}", label=modulo[1] or "") if of else None
    about = _APPROXIMATELY.split(text)
    if len(about) > 1 and all(about):
        exact = about[0].rpartition("=")[2].strip()
        named = _NAME.match(exact) and exact != "\\pi"
        return form(f"{about[0]} = {about[1]}" if named else about[0])
    if member := _MEMBER.match(text):
        inner = form(member[2])
        value = f"in {inner.value}" if inner.also else inner.value  # no point
        return Form(value, inner.note, inner.base, member[1])
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
    return _between(parts, signs, form, compared) if len(parts) == 3 else None


def _equal(parts: list[str], form: Reader, compared: Comparison) -> Form | None:
    letters = sorted(set(filter(_LETTER.match, parts)))
    if len(letters) > 1 and len(parts) == len(letters) + 1:  # x = y = 5: both are
        (value,) = (form(part) for part in parts if part not in letters)
        several = ", ".join([joined(value)] * len(letters))
        return Form(value.value, value.note, f"point ({several})", ", ".join(letters))
    if len(parts) > 2 and all(map(_INDEX.match, parts[:-1])) and _INDEX.match(parts[-1]) is None:
        stems = {part[0] for part in parts[:-1]}  # x_1 = x_2 = 2
        return form(f"{stems.pop()} = {parts[-1]}") if len(stems) == 1 else None
    if len(parts) > 2 and _LETTER.match(parts[-1]) and not _NAME.match(parts[0]):
        parts = parts[-2:]  # 2 + 3 = 5 = x
    left, right = parts[0], parts[-1]
    found = form(right)
    if _WORKED.match(left) and not _WORKED.match(right):
        return found  # what an integral comes to
    if _POINT.match(left) and found.base[:1] == "(" and found.also:
        label = ", ".join(re.split(r"\s*,\s*", left[1:-1].strip()))
        return Form(found.value, found.note, found.also[0], label)  # (x, y) = (1, 2)
    if _NAME.match(left):
        name = left
    elif len(parts) == 2 and _NAME.match(right) and len(right) == 1:
        found, name = form(left), right
    elif same(form(left), found):
        return found  # 3 + 4 = 7, 1 km = 1000 m
    else:
        return compared("equation", left, right, "=")
    free = re.search(r"(?<![\\A-Za-z])[a-z](?![A-Za-z])", right if name == left else left)
    if free and len(parts) == 2 and " " not in name and number(right) is None:
        # Whatever is on the left: y = 2x is x = y/2.
        whole = compared("equation", left, right, "=")
        if whole.label:
            return whole  # x = 2x - 3
        label, also = _function(name, found.value)
        return Form(found.value, found.note or name, whole.base, label, also)
    also = () if found.value[:1] == "{" else found.also  # several values, and no point
    return found._replace(label=" ".join(name.split()), also=also)


def _function(name: str, value: str) -> tuple[str, tuple[str, ...]]:
    """Whose value it is, and what else may be said for it: y for f(x), but not g(x); V for V(t)."""
    if (found := _FUNCTION.match(name)) is None:
        return "", ()
    letter, primes, of = found.groups()
    whole = (f"function{primes} {value}",)
    own = (f"function {letter}{primes} {value}",)
    if of:
        return letter + primes, whole + own
    return "", whole if letter == "y" else own


def _ordered(left: str, sign: str, right: str, form: Reader, compared: Comparison) -> Form:
    if sign == "\\ne":
        found = compared("equation", left, right, "!=")
        if _LETTER.match(left):
            end = joined(form(right))
            return Form(found.value, base=without([end]).base, label=left)
        return found
    if sign in ("<", "\\le"):
        left, right = right, left
    strict = sign in "<>"
    base, label = "", ""
    low, high = ("(", ")") if strict else ("[", "]")
    if _WITHIN.match(left) and (most := number(right)) is not None and most > 0:
        base = union([f"(-oo, -{most}{high}", f"{low}{most}, oo)"]).base
    elif _WITHIN.match(right) and (most := number(left)) is not None and most > 0:
        base = f"{low}-{most}, {most}{high}"
    elif _LETTER.match(left):
        base, label = ray(joined(form(right)), ">" if strict else ">="), left
    elif _LETTER.match(right):
        base, label = ray(joined(form(left)), "<" if strict else "<="), right
    found = compared("order", left, right, ">" if strict else ">=")
    return Form(found.value, base=base or found.base, label=label or found.label)


def _between(parts: list[str], signs: list[str], form: Reader, compared: Comparison) -> Form | None:
    """1 < x < 5."""
    low, middle, high = parts
    first, last = signs
    if {first, last} <= {">", "\\ge"}:
        low, high, first, last = high, low, last, first
    elif not {first, last} <= {"<", "\\le"}:
        return None
    if not _LETTER.match(middle):  # 2 < 2x < 6
        ends = [
            _ordered(low, "<" if first in "<>" else "\\le", middle, form, compared),
            _ordered(middle, "<" if last in "<>" else "\\le", high, form, compared),
        ]
        label = ends[0].label if ends[0].label == ends[1].label else ""
        if label and (inside := overlap(ends, label)) is not None:
            return inside
    left, right = "(" if first in "<>" else "[", ")" if last in "<>" else "]"
    base = f"{left}{joined(form(low))}, {joined(form(high))}{right}"
    if not _LETTER.match(middle) or empty(joined(form(low)), joined(form(high))):
        return Form(f"{middle} in {base}")
    return Form(f"in {base}", base=base, label=middle)


def ray(end: str, sign: str) -> str:
    """The interval of all that is on one side of a number.

    Example:
        >>> ray("5", ">="), ray("5", "<")
        ('[5, oo)', '(-oo, 5)')
    """
    if sign[0] == ">":
        return f"{'[' if '=' in sign else '('}{end}, oo)"
    return f"(-oo, {end}{']' if '=' in sign else ')'}"
