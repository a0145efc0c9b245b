"""Answers of several parts: lists, sets, tuples, intervals, matrices."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import TypeAlias

from spex_agents.answers.forms import Form, joined
from spex_agents.answers.matrices import expanded
from spex_agents.answers.notation import closes_at_end, split
from spex_agents.answers.numbers import leading, number
from spex_agents.answers.times import among_days

Reader: TypeAlias = Callable[[str], Form]

_WIDE_COMMA = re.compile(r"\s*,\s+")  # between numbers with thousands separators
_COMMA, _SEMICOLON = re.compile(r"\s*,\s*"), re.compile(r"\s*;\s*")
_THOUSANDS = re.compile(r"\d,\d{3}(?!\d).*,\s|,\s.*\d,\d{3}(?!\d)")
_AND = re.compile(r"\s*,?\s+(?:and|und|&)\s+|\s*\\(?:land|wedge)(?![A-Za-z])\s*", re.IGNORECASE)
_OR = re.compile(r"\s*,?\s+(?:or|oder)\s+|\s*\\(?:lor|vee)(?![A-Za-z])\s*", re.IGNORECASE)
_AROUND = re.compile(
    r"(?:both|either|only|options|choices|statements|answers)\s+|\s+(?:only|both)$", re.IGNORECASE
)
_UNION = re.compile(r"\s*\\cup(?![A-Za-z])\s*|\s+U\s+")
_BOTH = re.compile(r"\\pm(?![A-Za-z])")
_OPPOSITE = re.compile(r"\\mp(?![A-Za-z])")
_NAMED = re.compile(r"\s*(\\?[A-Za-z]+(?:_\{?\w+\}?)?'*)\s*=(?!=)")
_COMPARED = re.compile(r"[<>=]|\\(?:le|ge|ne|in)(?![A-Za-z])")
_INTERVAL = re.compile(r"([(\[])(.+), (.+)([)\]])$")
_BUILDER = re.compile(r"[a-z]\s*(?:\\in\s*\\R\s*)?(?:\||\\mid(?![a-z])|:)\s*(.+)$")
_MATRIX = re.compile(r"\\begin\{([pbvBV]?matrix|array)\}(?:\{[^{}]*\})?(.*)\\end\{\1\}$", re.DOTALL)
_AROUND_MATRIX = re.compile(r"[(\[]\s*(\\begin\{(array|matrix)\}.*\\end\{\2\})\s*[)\]]$", re.DOTALL)
_TURNED = re.compile(r"([\[\]])\s*([^\[\](){},;]+[,;][^\[\](){},;]+)([\[\]])$")
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_MOST_WORDS = 4  # of a part of a list of words


def listed(text: str, form: Reader, is_text: Callable[[str], bool]) -> Form | None:
    """Several answers: their order is nobody's, and neither is "and" where there is a comma.

    Args:
        text: What may be several.
        form: Reads one of them.
        is_text: Whether a text holds words that are no mathematics.
    """
    if text.startswith("\\begin"):
        return None
    bare = _AROUND.sub("", text)
    comma = _comma_in(bare)
    for separator, said in ((_OR, "or"), (_AND, "and"), (_SEMICOLON, ""), (comma, "")):
        parts = split(bare, separator)
        if len(parts) < 2:
            continue
        if said:
            # "1, 2, and 3" has both.
            parts = [
                one
                for part in parts
                for one in ([part] if number(part.strip()) is not None else split(part, comma))
            ]
        parts = [part for part in (part.strip() for part in parts) if part]
        if len(parts) < 2 or _named_first(parts):
            return None
        if any(map(is_text, parts)) and any(len(part.split()) > _MOST_WORDS for part in parts):
            return None
        if (assigned := _assigned(parts, form, said)) is not None:
            return assigned
        parts = [one for part in among_days(parts) for one in _expanded(part)]
        forms = [form(part) for part in _with_units(parts, form)]
        return _ranges(parts, forms, said) or _several(forms, said)
    both = _expanded(text)
    if len(both) > 1:
        if found := _assigned(both, form, ""):
            return found
        return _several([form(one) for one in both], "")
    return None


def _expanded(text: str) -> list[str]:
    """Both of plus and minus."""
    whole = text.replace("\\{", "{").replace("\\}", "}")
    if _BOTH.search(text) is None:
        text = _OPPOSITE.sub(r"\\pm", text)  # alone it is the same
    if _BOTH.search(text) is None or (whole[:1] in _PAIRS and closes_at_end(whole)):
        return [text]
    return [_OPPOSITE.sub(down, _BOTH.sub(up, text)) for up, down in (("+", "-"), ("-", "+"))]


def _named_first(parts: Sequence[str]) -> bool:
    """Whether only the first of several is named: n = 2, 3, 4."""
    named = [_COMPARED.search(part) is not None for part in parts]
    return named[0] and not any(named[1:])


def _comma_in(text: str) -> re.Pattern[str]:
    """What separates: where thousands are marked, a comma with white space only."""
    return _WIDE_COMMA if _THOUSANDS.search(text) else _COMMA


def _with_units(parts: Sequence[str], form: Reader) -> list[str]:
    """Numbers with the unit of the last of them: 3, 5 and 7 cm."""
    *firsts, last = parts
    found = leading(last)
    unit = form(last).note
    if found is None or not unit or None in map(number, firsts):
        return list(parts)
    told = [part + last[found[1] :] for part in firsts]
    return [*told, last] if all(form(part).note == unit for part in told) else list(parts)


def _several(forms: Sequence[Form], said: str) -> Form:
    """A list: two are the same in any order, and a point is the same in its order only."""
    if said == "or" and set.intersection(*({joined(one), *one.also} for one in forms)):
        return min(forms, key=lambda one: len(one.also))  # 1/2 or 0.5, $1.50 or 150 cents
    values, note = _shared(forms)
    several = f"{{{', '.join(sorted(values))}}}"
    point = f"({', '.join(map(joined, forms))})"
    return Form(
        several,
        note,
        f"set {{{', '.join(sorted(map(joined, forms)))}}}",
        said,
        () if said else (f"point {point}", f"list {point}"),
    )


def _shared(forms: Sequence[Form]) -> tuple[list[str], str]:
    """The values of several, and the unit that all have; else each with its own."""
    notes = {one.note for one in forms}
    if len(notes) == 1 and not any(one.label for one in forms):
        return [one.value for one in forms], notes.pop()
    return [joined(one) for one in forms], ""


def _assigned(parts: Sequence[str], form: Reader, said: str) -> Form | None:
    """Values of one name (x = 2 or x = -2), or a point (x = 2 and y = 3)."""
    names = [found[1] for part in parts if (found := _NAMED.match(part))]
    if len(names) < len(parts):
        return None
    values = [form(part.partition("=")[2]) for part in parts]
    stems = {re.sub(r"_\{?\w+\}?$", "", name) for name in names}
    if len(stems) == 1 and len(set(map(joined, values))) == 1:
        return values[0]._replace(label=stems.pop())
    if len(stems) == 1:
        return _several(values, "")._replace(label=stems.pop(), also=())
    if len(stems) < len(parts) or said == "or":
        return None
    order = sorted(range(len(parts)), key=names.__getitem__)
    return _point([values[at] for at in order], ", ".join(names[at] for at in order))


def _point(forms: Sequence[Form], label: str = "") -> Form:
    """Several whose order counts, and that are no interval."""
    values, note = _shared(forms)
    base = f"point ({', '.join(map(joined, forms))})"
    return Form(f"({', '.join(values)})", note, base, label)


def _ranges(parts: Sequence[str], forms: Sequence[Form], said: str) -> Form | None:
    """Inequalities that together are an interval (1 < x and x < 5), or a union of some."""
    found = [_INTERVAL.match(one.base) for one in forms]
    if not said or not all(found) or not all(map(_COMPARED.search, parts)):
        return None
    if len(names := {one.label for one in forms}) > 1:
        return None  # x < 1 or y > 3
    label = names.pop()
    if said == "or":
        return union([one.base for one in forms])._replace(label=label)
    return overlap(forms, label) if len(forms) == 2 else None


def overlap(forms: Sequence[Form], label: str) -> Form | None:
    """What is in two rays; None where they are none, or point the same way."""
    found = [_INTERVAL.match(one.base) for one in forms]
    for low, high in (found, found[::-1]):
        if low and high and low[3] == "oo" and high[2] == "-oo":
            if empty(low[2], high[3]):
                return Form("{}", label=label)
            base = f"{low[1]}{low[2]}, {high[3]}{high[4]}"
            return Form(f"in {base}", base=base, label=label)
    return None


def empty(low: str, high: str) -> bool:
    """Whether there is nothing between two ends, as far as they are numbers."""
    first, last = number(low), number(high)
    return first is not None and last is not None and first >= last


def without(points: Sequence[str]) -> Form:
    """All real numbers but these.

    Example:
        >>> without(["3"]).base
        '(-oo, 3) u (3, oo)'
    """
    try:
        points = sorted(set(points), key=Fraction)
    except ValueError:  # no numbers
        points = sorted(set(points))
    ends = ["-oo", *points, "oo"]
    return union([f"({low}, {high})" for low, high in pairwise(ends)])


def union(parts: Sequence[str]) -> Form:
    """The union of intervals and sets."""
    whole = " u ".join(sorted(set(parts)))
    return Form(whole, base=whole)


def bracketed(text: str, form: Reader) -> Form | None:
    """A set, a tuple, an interval, a matrix, or what only stands in brackets.

    Args:
        text: What may be one.
        form: Reads what is in it.
    """
    if matrix := _MATRIX.match(text):
        rows = [row.split("&") for row in re.split(r"\\\\", matrix[2]) if row.strip()]
        if matrix[1][0] == "v" and (worth := expanded(rows)) is not None:
            return form(worth)
        return _matrix(rows, form, "norm" if matrix[1][0] in "vV" else "matrix")
    if (inner := _AROUND_MATRIX.match(text)) and _MATRIX.match(inner[1]):
        return bracketed(inner[1], form)
    parts = split(text, _UNION)
    if len(parts) > 1:
        forms = [form(part) for part in parts]
        return union([one.base or joined(one) for one in forms])
    outer = text.replace("\\{", "{").replace("\\}", "}") if text[:2] == "\\{" else text
    if outer[0] not in _PAIRS or outer[-1] not in ")]}" or not closes_at_end(outer):
        return None
    inside = outer[1:-1].strip()
    comma = _comma_in(inside)
    items = split(inside, comma if len(split(inside, comma)) > 1 else _SEMICOLON)
    ends = outer[0] + outer[-1]
    if ends == "{}":
        if builder := _BUILDER.match(inside):
            condition = form(builder[1])._replace(label="")  # any letter will do
            return condition if _INTERVAL.match(condition.base.partition(" u ")[0]) else None
        return _set(items, form) if "|" not in inside and "\\mid" not in inside else None
    if ends == "[]" and all(item[:1] == "[" and item[-1:] == "]" for item in items):
        rows = [split(item[1:-1], _COMMA) for item in items]
        if len({len(row) for row in rows}) == 1:
            return _matrix(rows, form, "matrix")
    if len(items) < 2:
        if ends == "()":
            return form(inside)
        return Form(f"[{joined(form(inside))}]") if ends == "[]" else None
    forms = [form(item) for item in items]
    if ends == "()" and (assigned := _assigned(items, form, "")) is not None:
        return assigned
    return _tuple(forms, ends)


def turned(text: str) -> str:
    """Intervals whose open ends are brackets turned outward, in the usual notation.

    Example:
        >>> turned("]0, 1]"), turned("[0, 1]")
        ('(0, 1]', '[0, 1]')
    """
    parts = [_TURNED.match(part.strip()) for part in _UNION.split(text)]
    if not any(part and (part[1] == "]" or part[3] == "[") for part in parts) or None in parts:
        return text
    return r" \cup ".join(
        f"{'(' if part[1] == ']' else '['}{part[2]}{')' if part[3] == '[' else ']'}"
        for part in parts
        if part
    )


def _set(items: Sequence[str], form: Reader) -> Form:
    forms = {joined(one): one for item in items for one in map(form, _expanded(item))}
    if len(forms) == 1:
        return next(iter(forms.values()))
    return _several([*forms.values()], "")._replace(also=())


def _tuple(forms: Sequence[Form], ends: str) -> Form:
    """A point or an open interval, a list or a closed one, or a half-open one."""
    values, note = _shared(forms)
    parts = ", ".join(map(joined, forms))
    also = {"()": (f"point ({parts})",), "[]": (f"list ({parts})",)}.get(ends, ())
    value, base = (f"{ends[0]}{inside}{ends[1]}" for inside in (", ".join(values), parts))
    return Form(value, note, base, also=also)


def _matrix(rows: Sequence[Sequence[str]], form: Reader, kind: str) -> Form:
    cells = [[joined(form(cell)) for cell in row] for row in rows]
    if kind == "matrix" and len(cells) > 1 and all(len(row) == 1 for row in cells):
        return _point([form(row[0]) for row in rows])  # a vector
    return Form(f"{kind} {cells}")
