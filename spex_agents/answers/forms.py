"""The form of an answer: what it comes to, apart from how it is written."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from spex_agents.answers.notation import plain, split
from spex_agents.answers.numbers import number
from spex_agents.answers.quantities import COUNTED, FUNCTIONS, quantity
from spex_agents.answers.times import time_or_date

Algebra: TypeAlias = Callable[[str, str], str | None]
"""What a formula comes to: `kind` is "value", "equation" (left - right, up to a factor) or "order"
(left - right, up to a positive factor); None where sympy finds nothing."""


class NeedsAlgebra(Exception):
    """The answer holds a formula that is more than a number."""


class Form(NamedTuple):
    """What an answer comes to.

    Attributes:
        value: Equal answers have equal values.
        note: What may be left unsaid: a unit, am or pm, a variable's name, the text of a choice.
        base: The same in another way of saying it, such as base units; "" for none.
    """

    value: str
    note: str = ""
    base: str = ""

    @property
    def bare(self) -> bool:  # it leaves unsaid what others of its value may say
        return not self.note and not self.base

    @property
    def name(self) -> tuple[str, str]:
        """What all have in common that are the same in every company."""
        return ("base", self.base) if self.base else (self.value, self.note)


_LONGEST = 300  # characters of a formula; what is longer is compared as text
_WIDE_COMMA = re.compile(r"\s*,\s+")  # between numbers with thousands separators
_COMMA, _SEMICOLON = re.compile(r"\s*,\s*"), re.compile(r"\s*;\s*")
_THOUSANDS = re.compile(r"\d,\d{3}(?!\d).*,\s|,\s.*\d,\d{3}(?!\d)")
_AND = re.compile(r"\s*,?\s+(?:and|&)\s+|\s*\\(?:land|wedge)\s*", re.IGNORECASE)
_OR = re.compile(r"\s*,?\s+or\s+|\s*\\(?:lor|vee)\s*", re.IGNORECASE)
_UNION = re.compile(r"\s*\\cup\s*|\s+U\s+")
_RELATION = re.compile(r"\s*(\\(?:le|ge|ne)(?![A-Za-z])|<|>|=)\s*")
_MEMBER = re.compile(r"([A-Za-z]|\\[a-z]+)\s*\\in(?![A-Za-z])\s*(.+)$")
_NAME = re.compile(r"\\?[A-Za-z]+(?:_\{?\w+\}?)?(?:\s*\([a-z](?:,\s*[a-z])*\))?'?$")
_CHOICE = re.compile(r"(?:option|choice|answer)?\s*[(\[]?\s*([A-Za-z])\s*[)\].:]?$", re.IGNORECASE)
_CHOSEN = re.compile(r"(?:\(([A-J])\)|([A-J])[).:]|\[([A-J])\])\s*(\S.*)$")
_WORD = re.compile(r"(?<![\\A-Za-z])[^\W\d_]{3,}")
_TWO_NUMBERS = re.compile(r"(?<![_\d])\d+\s+\d")
_TOO_LONG = re.compile(r"[-+]?[\d.,]+[eE][-+]?\d+$")  # a number, and its value is not written
_MATRIX = re.compile(r"\\begin\{([pbvBV]?matrix|array)\}(?:\{[^{}]*\})?(.*)\\end\{\1\}$", re.DOTALL)
_PAIRS = {"(": ")", "[": "]", "{": "}"}


def read(answer: str, algebra: Algebra | None = None) -> Form:
    r"""The form of an answer.

    Args:
        answer: Numbers, LaTeX, or words.
        algebra: What reads formulas; None for nobody.

    Raises:
        NeedsAlgebra: There is a formula in it, and nobody to read it.

    Example:
        >>> read("1,000 m").value, read("1,000 m").note, read("1, 2") == read("12")
        ('1000', 'm', False)
    """
    text = plain(answer)
    if not text or len(text) > _LONGEST:
        return _text(text or answer)
    return _Reader(algebra).form(text, 0)


def _text(text: str) -> Form:
    folded = " ".join(text.casefold().split()).strip(" .\"'")
    folded = folded.removeprefix("the ")
    if len(folded) > _LONGEST:
        folded = "sha256 " + hashlib.sha256(folded.encode(errors="surrogatepass")).hexdigest()
    return Form(folded)


class _Reader:
    def __init__(self, algebra: Algebra | None) -> None:
        self._algebra = algebra

    def form(self, text: str, depth: int) -> Form:
        text = text.strip()
        if depth > 6 or not text:
            return _text(text)
        if (value := number(text)) is not None:
            return Form(str(value))
        if _TOO_LONG.match(text):
            return _text(text)
        if (moment := time_or_date(text)) is not None:
            return Form(*moment)
        if choice := _CHOICE.match(text):
            return Form(choice[1].casefold())
        if (chosen := _CHOSEN.match(text)) and not re.match(r"\s*[-+*/^=<>]", chosen[4]):
            letter = chosen[1] or chosen[2] or chosen[3]
            inner = self.form(chosen[4], depth + 1)
            return Form(letter.casefold(), note=_joined(inner))
        if (measured := quantity(text)) is not None:
            return Form(*measured)
        for reader in (self._list, self._bracketed, self._related):
            if (found := reader(text, depth)) is not None:
                return found
        return self._formula(text)

    def _list(self, text: str, depth: int) -> Form | None:
        """Several answers: their order is nobody's, and neither is "and" where there is a comma."""
        comma = _WIDE_COMMA if _THOUSANDS.search(text) else _COMMA
        for separator, note in ((_OR, "or"), (_AND, "and"), (_SEMICOLON, ""), (comma, "")):
            parts = split(text, separator)
            if len(parts) < 2:
                continue
            if separator in (_OR, _AND):
                # "1, 2, and 3" has both; the text of names has neither meaning.
                parts = [one for part in parts for one in split(part, comma)]
            parts = [part for part in (part.strip() for part in parts) if part]
            if not parts or self._name_before(parts):
                return None
            if len(parts) < 2 or any(self._is_text(part) for part in parts):
                return None
            return self._several([self.form(part, depth + 1) for part in parts], note)
        if "\\pm" in text:
            both = [text.replace("\\pm", sign) for sign in ("+", "-")]
            return self._several([self.form(one, depth + 1) for one in both], "")
        return None

    def _name_before(self, parts: Sequence[str]) -> bool:
        """Whether only the first of several is named: n = 2, 3, 4."""
        named = [_RELATION.search(part) is not None for part in parts]
        return named[0] and not any(named[1:])

    def _several(self, forms: Sequence[Form], said: str) -> Form:
        notes = {form.note for form in forms}
        if len(notes) == 1 and notes != {""}:
            forms = [Form(form.value) for form in forms]
            note = f"{notes.pop()} {said}".strip()
        else:
            note = said
        return Form(f"{{{', '.join(sorted(map(_joined, forms)))}}}", note=note)

    def _is_text(self, text: str) -> bool:
        return any(
            word.casefold() not in FUNCTIONS
            for word in _WORD.findall(re.sub(r"\\[A-Za-z]+", " ", text))
        ) and not COUNTED.match(text)

    def _bracketed(self, text: str, depth: int) -> Form | None:
        if matrix := _MATRIX.match(text):
            rows = [row.split("&") for row in re.split(r"\\\\", matrix[2]) if row.strip()]
            cells = [[_joined(self.form(cell, depth + 1)) for cell in row] for row in rows]
            return Form(f"matrix {cells}")
        if text in ("\\emptyset", "{}", "\\{\\}", "\\{ \\}"):
            return Form("{}")
        parts = split(text, _UNION)
        if len(parts) > 1:
            sets = sorted(_joined(self.form(part, depth + 1)) for part in parts)
            return Form(" u ".join(sets), base=" u ".join(sets))
        outer = text.replace("\\{", "{").replace("\\}", "}") if text[:2] == "\\{" else text
        if outer[0] not in _PAIRS or outer[-1] not in ")]}" or not _closes_at_end(outer):
            return None
        inside = outer[1:-1]
        separator = _COMMA if len(split(inside, _COMMA)) > 1 else _SEMICOLON
        items = split(inside, separator)
        ends = outer[0] + outer[-1]
        if ends == "{}":
            if "|" in inside or "\\mid" in inside:
                return None
            forms = [self.form(item, depth + 1) for item in items]
            values = sorted({_joined(form) for form in forms})
            value = values[0] if len(values) == 1 else f"{{{', '.join(values)}}}"
            return Form(value, note="set")
        if len(items) < 2:
            if _PAIRS[outer[0]] == outer[-1] == ")":
                return self.form(inside, depth + 1)
            return Form(f"[{_joined(self.form(inside, depth + 1))}]") if ends == "[]" else None
        values = [_joined(self.form(item, depth + 1)) for item in items]
        listed = f"{outer[0]}{', '.join(values)}{outer[-1]}"
        if ends in ("()", "[]"):  # a bare list may be meant as this one
            return Form(f"{{{', '.join(sorted(values))}}}", note=listed, base=listed)
        return Form(listed, base=listed)

    def _related(self, text: str, depth: int) -> Form | None:
        if member := _MEMBER.match(text):
            inner = self.form(member[2], depth + 1)
            return Form(inner.value, note=inner.note or member[1], base=inner.base)
        signs = [sign for sign in _RELATION.findall(text) if sign]
        parts = split(text, _RELATION)
        if len(parts) < 2 or len(parts) != len(signs) + 1 or not all(map(str.strip, parts)):
            return None
        if set(signs) == {"="}:
            return self._equal([part.strip() for part in parts], depth)
        if len(parts) == 2:
            return self._ordered(parts[0], signs[0], parts[1], depth)
        if (len(parts) == 3 and signs[0][-1] == signs[1][-1]) or {*signs} in (
            {"<", "\\le"},
            {">", "\\ge"},
        ):
            low, high = parts[0], parts[2]
            first, last = signs[0], signs[1]
            if first in (">", "\\ge"):
                low, high, first, last = high, low, last, first
            left = "(" if first in "<>" else "["
            right = ")" if last in "<>" else "]"
            ends = [_joined(self.form(end, depth + 1)) for end in (low, high)]
            base = f"{left}{', '.join(ends)}{right}"
            return Form(f"{parts[1].strip()} in {base}", base=base)
        return None

    def _equal(self, parts: list[str], depth: int) -> Form | None:
        left, right = parts[0], parts[-1]
        forms = [self.form(part, depth + 1) for part in parts[1:]]
        if _NAME.match(left):
            found, name = forms[-1], left
        elif len(parts) == 2 and _NAME.match(right) and len(right) == 1:
            found, name = self.form(left, depth + 1), right
        elif self.form(left, depth + 1).value == forms[-1].value:
            return forms[-1]  # 3 + 4 = 7
        else:
            return self._compared("equation", left, right, "=")
        free = re.search(r"(?<![\\A-Za-z])[a-z](?![A-Za-z])", left if found is None else right)
        base = found.base
        if free and len(parts) == 2 and self._is_formula(left + right):
            base = self._compared("equation", left, right, "=").value
        return Form(found.value, note=found.note or " ".join(name.split()), base=base)

    def _ordered(self, left: str, sign: str, right: str, depth: int) -> Form:
        left, right = left.strip(), right.strip()
        if sign == "\\ne":
            return self._compared("equation", left, right, "!=")
        if sign in ("<", "\\le"):
            left, right = right, left
        strict = sign in "<>"
        base = ""
        if re.fullmatch(r"[A-Za-z]|\\[a-z]+", left):
            end = _joined(self.form(right, depth + 1))
            base = f"{'(' if strict else '['}{end}, oo)"
        elif re.fullmatch(r"[A-Za-z]|\\[a-z]+", right):
            end = _joined(self.form(left, depth + 1))
            base = f"(-oo, {end}{')' if strict else ']'}"
        compared = self._compared("order", left, right, ">" if strict else ">=")
        return Form(compared.value, base=base or compared.base)

    def _compared(self, kind: str, left: str, right: str, sign: str) -> Form:
        if self._algebra is None:
            raise NeedsAlgebra
        found = None
        if self._is_formula(left) and self._is_formula(right):
            found = self._algebra(kind, f"({left})-({right})")
        if found is None:
            ends = [" ".join(end.split()) for end in (left, right)]
            return Form(f"{ends[0]} {sign} {ends[1]}".casefold())
        value = f"{found} {sign} 0"
        return Form(value, base=value)

    def _is_formula(self, text: str) -> bool:
        return not self._is_text(text) and _TWO_NUMBERS.search(text) is None

    def _formula(self, text: str) -> Form:
        if text in ("\\infty", "+\\infty", "infinity", "oo"):
            return Form("oo")
        if text in ("-\\infty", "-infinity", "-oo"):
            return Form("-oo")
        bare = text.isascii() and text.replace(" ", "").isalpha() and not set(text) <= set("xyz ")
        known = text.isalpha() or re.search(r"\d|[-+*/^=<>()!|]|\\[A-Za-z]", text) is not None
        if bare or not known or not self._is_formula(text):
            return _text(text)
        if self._algebra is None:
            raise NeedsAlgebra
        found = self._algebra("value", text)
        return Form(found) if found is not None else _text(text)


def _joined(form: Form) -> str:
    """A form as a part of another one, where nothing may be left unsaid but the note of a set."""
    return f"{form.value} {form.note}" if form.note and form.note != "set" else form.value


def _closes_at_end(text: str) -> bool:
    """Whether the bracket that opens a text is closed by its last character."""
    depth = 0
    for position, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if depth == 0:
            return position == len(text) - 1
    return False
