"""Reads what an answer comes to: what is plain first, formulas last."""

from __future__ import annotations

import re
from dataclasses import dataclass

from spex_agents.answers import choices
from spex_agents.answers.amounts import FUNCTIONS, unit_after, with_signs
from spex_agents.answers.classes import same
from spex_agents.answers.forms import LONGEST, Algebra, Form, NeedsAlgebra, joined, text_form
from spex_agents.answers.groups import bracketed, listed, turned, without
from spex_agents.answers.matrices import determinant
from spex_agents.answers.notation import plain
from spex_agents.answers.numbers import number
from spex_agents.answers.phrases import bounded, excepted, meant, spelled, unhedged
from spex_agents.answers.quantities import quantity
from spex_agents.answers.relations import ray, related
from spex_agents.answers.substances import reaction, substance
from spex_agents.answers.times import time_or_date
from spex_agents.answers.units import of_cents

_DEEPEST = 6
_WORD = re.compile(r"(?<![\\A-Za-z])[^\W\d_]{3,}")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_NUMERIC = re.compile(r"\\(?:pi|sqrt|frac|cdot|times|pm)(?![A-Za-z])")
_ANGULAR = re.compile(r"\\pi(?![A-Za-z])|arc|\^\{?-1")
_TWO_NUMBERS = re.compile(r"(?<![_\d])\d+\s+\d")
_TOO_LONG = re.compile(r"[-+]?[\d.,]+[eE][-+]?\d+$")  # a number, and its value is not written
_LABEL = re.compile(
    r"^(?:(?:the\s+)?(?:final\s+)?answer\s*(?:[:=]|is\b)\s*(?=\S)|only\s+(?=[a-z]\s*=))",
    re.IGNORECASE,
)
_TITLE = re.compile(r"([A-Za-z]{3,}(?: [A-Za-z]+){0,3}):\s+(\S.*)$")
_CONSTANT = re.compile(r"\+\s*(?:an?\s+)?(?:arbitrary\s+)?const(?:ant)?\.?$", re.IGNORECASE)
_ONLY = re.compile(r"(?:only\s+([IVX]+|[A-H])|([IVX]+|[A-H])\s+only)")
_REMARK = re.compile(r"(.*\S)\s+\((.+)\)$")
_REPEATED = re.compile(
    r"(?:a\s+)?(?:double|repeated|triple)\s+(?:root|solution|zero)$", re.IGNORECASE
)


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
    text = _CONSTANT.sub("+ C", _LABEL.sub("", plain(answer)))
    if not text or len(text) > LONGEST:
        return text_form(text or answer)
    return _Reader(algebra, 0).form(text)


@dataclass(frozen=True, slots=True)
class _Reader:
    algebra: Algebra | None
    depth: int

    def form(self, text: str) -> Form:
        text = text.strip()
        if self.depth > _DEEPEST or not text:
            return text_form(text)
        if (value := number(text)) is not None:
            return Form(str(value))
        if _TOO_LONG.match(text):
            return text_form(text)
        text = "\\pi" if text == "pi" else text
        below = _Reader(self.algebra, self.depth + 1)
        return below._simple(text) or below._composed(text) or below._formula(text)

    def _simple(self, text: str) -> Form | None:
        """What is read as a whole, without a formula."""
        if word := choices.letter(text):
            return Form(word)
        if said := choices.said(text):
            word, rest = said
            plain_value = number(rest) is not None or quantity(rest) is not None
            return Form(word, note=joined(self.form(rest)) if plain_value else "")
        if only := _ONLY.fullmatch(text):
            return self.form(only[1] or only[2])
        if (moment := time_or_date(text)) is not None:
            return moment
        if chosen := choices.chosen(text):
            return Form(chosen[0], note=joined(self.form(chosen[1])))
        if meaning := meant(text):
            value, note = meaning
            return Form(value, note, value if value[0] == "(" else "")
        if points := excepted(text):
            return self._without(points)
        if bound := bounded(text):
            sign, amount = bound
            inner = self.form(amount)
            base = inner.base or ("" if inner.note else inner.value)
            return Form(ray(inner.value, sign), inner.note, base and ray(base, sign))
        if (exact := unhedged(text)) is not None:
            return self.form(exact)
        if (measured := quantity(text)) is not None:
            return Form(*measured, also=of_cents(measured[2]))
        if (atoms := substance(text) or reaction(text)) is not None:
            return Form(atoms)
        if (label := _TITLE.match(text)) and (number(label[2]) is not None or quantity(label[2])):
            return self.form(f"{label[1]} = {label[2]}")  # total: $45
        return self._remarked(text)

    def _without(self, points: str) -> Form | None:
        inner = points.replace("\\", "").strip("{} ")
        values = [number(point.strip()) for point in re.split(r",|\band\b", inner)]
        return None if None in values else without([str(value) for value in values])

    def _remarked(self, text: str) -> Form | None:
        """A value said twice: 5 (five)."""
        if (remark := _REMARK.match(text)) is None:
            return None
        if choices.letter(remark[1]) and (
            _is_text(remark[2]) or (remark[1] in "ABCDE" and number(remark[2]) is not None)
        ):
            return Form(remark[1].casefold(), note=joined(self.form(remark[2])))
        if _REPEATED.match(remark[2]):
            return self.form(remark[1])
        said = re.sub(r"^(?:or|i\.e\.,?|=)\s*", "", remark[2])
        if said.startswith("\\approx"):
            return self.form(remark[1])
        if number(said) is None and quantity(said) is None:
            return None
        one, other = self.form(remark[1]), self.form(said)
        return one if same(one, other) else None

    def _composed(self, text: str) -> Form | None:
        text = determinant(text)
        if (usual := turned(text)) != text:
            found = self.form(usual)
            return found._replace(value=f"in {found.value}", also=())  # no point
        return (
            listed(text, self.form, _is_text)
            or bracketed(text, self.form)
            or related(text, self.form, self._compared)
        )

    def _compared(self, kind: str, left: str, right: str, sign: str) -> Form:
        if self.algebra is None:
            raise NeedsAlgebra
        found = None
        if _is_formula(left) and _is_formula(right):
            found = self.algebra(kind, f"({left})-({right})")
        if found is None:
            ends = [text_form(end).value for end in (left, right)]
            return Form(f"{ends[0]} {sign} {ends[1]}")
        value = f"{found} {sign} 0"
        return self._solved(f"({left})-({right})", sign, value)

    def _solved(self, difference: str, sign: str, value: str) -> Form:
        """With what the only unknown comes to: 2x = 4 is x = 2 as well."""
        solved = self.algebra(f"{sign} 0", difference) if self.algebra and sign != "!=" else None
        if solved is None:
            return Form(value, base=value)
        name, found = solved.split(" ", 1)
        if sign != "=":
            return Form(value, base=found, label=name)
        if found[0] == "{":
            return Form(found, base=f"set {found}", label=name)
        return Form(found, base=value, label=name)

    def _formula(self, text: str) -> Form:
        if (told := spelled(text)) is not None:
            return self.form(told)
        bare = text.isascii() and text.replace(" ", "").isalpha() and not set(text) <= set("xyz ")
        named = bool(FUNCTIONS & set(text.split()))  # arcsin x
        bare = bare and not named
        known = (
            named or text.isalpha() or re.search(r"\d|[-+*/^=<>()!|']|\\[A-Za-z]", text) is not None
        )
        if (measured := self._with_unit(text)) is not None:
            return measured
        if bare or not known or not _is_formula(text):
            return text_form(text)
        if self.algebra is None:
            raise NeedsAlgebra
        found = self.algebra("value", text)
        if found is None:
            return text_form(text)
        return Form(found, base=self._angle(text) if _ANGULAR.search(text) else "")

    def _angle(self, text: str) -> str:
        r"""A multiple of \pi, which may be an angle in radians, as a base unit."""
        if self.algebra is None:
            raise NeedsAlgebra
        halves = self.algebra("value", f"({text})/\\pi")
        return f"{halves} πrad" if halves and number(halves) else ""

    def _with_unit(self, text: str) -> Form | None:
        r"""A formula without variables and its unit: 36\pi cm^2."""
        for blank in re.finditer(r"\s+", text):
            left, right = text[: blank.start()], text[blank.end() :]
            if re.search("[A-Za-z]", _NUMERIC.sub("", left)):
                return None
            if re.search(r"\\|\d", left) and (unit := unit_after(with_signs(right))) is not None:
                inner = self.form(left)
                if unit.base == "rad":
                    return Form(inner.value, unit.name, inner.base)
                if self.algebra is None:
                    raise NeedsAlgebra
                worth = self.algebra("value", f"({left})*({unit.worth})") if unit.base else None
                return Form(inner.value, unit.name, f"{worth} {unit.base}" if worth else "")
        return None


def _is_text(text: str) -> bool:
    """Whether there are words in it that are no mathematics."""
    words = _WORD.findall(_COMMAND.sub(" ", text))
    return any(word.casefold() not in FUNCTIONS for word in words) and quantity(text) is None


def _is_formula(text: str) -> bool:
    return not _is_text(text) and _TWO_NUMBERS.search(text) is None
