"""Answers of several parts: lists, sets, tuples, intervals, matrices."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import TypeAlias

from spex_agents.answers.forms import Form, joined
from spex_agents.answers.notation import closes_at_end, split

Reader: TypeAlias = Callable[[str], Form]

_WIDE_COMMA = re.compile(r"\s*,\s+")  # between numbers with thousands separators
_COMMA, _SEMICOLON = re.compile(r"\s*,\s*"), re.compile(r"\s*;\s*")
_THOUSANDS = re.compile(r"\d,\d{3}(?!\d).*,\s|,\s.*\d,\d{3}(?!\d)")
_AND = re.compile(r"\s*,?\s+(?:and|&)\s+|\s*\\(?:land|wedge)(?![A-Za-z])\s*", re.IGNORECASE)
_OR = re.compile(r"\s*,?\s+or\s+|\s*\\(?:lor|vee)(?![A-Za-z])\s*", re.IGNORECASE)
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
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
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
    comma = _WIDE_COMMA if _THOUSANDS.search(bare) else _COMMA
    for separator, said in ((_OR, "or"), (_AND, "and"), (_SEMICOLON, ""), (comma, "")):
        parts = split(bare, separator)
        if len(parts) < 2:
            continue
        if said:
            # "1, 2, and 3" has both.
            parts = [one for part in parts for one in split(part, comma)]
        parts = [part for part in (part.strip() for part in parts) if part]
        if len(parts) < 2 or _named_first(parts):
            return None
        if any(map(is_text, parts)) and any(len(part.split()) > _MOST_WORDS for part in parts):
            return None
        if (assigned := _assigned(parts, form, said)) is not None:
            return assigned
        parts = [one for part in parts for one in _expanded(part)]
        forms = [form(part) for part in parts]
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


def _several(forms: Sequence[Form], said: str) -> Form:
    if said == "or" and len({form.base or form.value for form in forms}) == 1:
        return forms[0]  # 1/2 or 0.5
    notes = {form.note for form in forms}
    note = said
    if len(notes) == 1 and notes != {""}:
        forms = [Form(form.value) for form in forms]
        note = f"{notes.pop()} {said}".strip()
    several = f"{{{', '.join(sorted(map(joined, forms)))}}}"
    return Form(several, note=note, base=f"set {several}" if note == "and" else "")


def _assigned(parts: Sequence[str], form: Reader, said: str) -> Form | None:
    """Values of one name (x = 2 or x = -2), or a point (x = 2 and y = 3)."""
    names = [found[1] for part in parts if (found := _NAMED.match(part))]
    if len(names) < len(parts):
        return None
    values = [joined(form(part.partition("=")[2])) for part in parts]
    stems = {re.sub(r"_\{?\w+\}?$", "", name) for name in names}
    several = f"{{{', '.join(sorted(values))}}}"
    if len(stems) == 1:
        return Form(several, note=stems.pop(), base=f"set {several}")
    if len(stems) < len(parts) or said == "or":
        return None
    values = [value for _, value in sorted(zip(names, values, strict=True))]
    if "".join(sorted(names)) in _ALPHABET:
        point = f"({', '.join(values)})"
        return Form(several, note=point, base=point)
    pairs = zip(sorted(names), values, strict=True)
    return Form(several, note=", ".join(f"{name} = {value}" for name, value in pairs))


def _ranges(parts: Sequence[str], forms: Sequence[Form], said: str) -> Form | None:
    """Inequalities that together are an interval (1 < x and x < 5), or a union of some."""
    found = [_INTERVAL.match(one.base) for one in forms]
    if not said or not all(found) or not all(map(_COMPARED.search, parts)):
        return None
    if said == "or":
        return union([one.base for one in forms])
    if len(forms) == 2:
        for low, high in (found, found[::-1]):
            if low and high and low[3] == "oo" and high[2] == "-oo":
                base = f"{low[1]}{low[2]}, {high[3]}{high[4]}"
                return Form(f"in {base}", base=base)
    return None


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
        return _matrix(rows, form, "det" if matrix[1][0] in "vV" else "matrix")
    parts = split(text, _UNION)
    if len(parts) > 1:
        forms = [form(part) for part in parts]
        return union([one.base or joined(one) for one in forms])
    outer = text.replace("\\{", "{").replace("\\}", "}") if text[:2] == "\\{" else text
    if outer[0] not in _PAIRS or outer[-1] not in ")]}" or not closes_at_end(outer):
        return None
    inside = outer[1:-1].strip()
    items = split(inside, _COMMA if len(split(inside, _COMMA)) > 1 else _SEMICOLON)
    ends = outer[0] + outer[-1]
    if ends == "{}":
        if builder := _BUILDER.match(inside):
            condition = form(builder[1])
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
    return _tuple([joined(form(item)) for item in items], ends)


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
    values = sorted({joined(form(one)) for item in items for one in _expanded(item)})
    if len(values) == 1:
        return Form(values[0], note="set")
    several = f"{{{', '.join(values)}}}"
    return Form(several, note="set", base=f"set {several}")


def _tuple(values: Sequence[str], ends: str) -> Form:
    whole = f"{ends[0]}{', '.join(values)}{ends[1]}"
    if ends in ("()", "[]"):  # a bare list may be meant as this one
        return Form(f"{{{', '.join(sorted(values))}}}", note=whole, base=whole)
    return Form(whole, base=whole)


def _matrix(rows: Sequence[Sequence[str]], form: Reader, kind: str) -> Form:
    cells = [[joined(form(cell)) for cell in row] for row in rows]
    if kind == "matrix" and len(cells) > 1 and all(len(row) == 1 for row in cells):
        return _tuple([row[0] for row in cells], "()")  # a vector
    return Form(f"{kind} {cells}")
