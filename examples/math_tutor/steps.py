r"""One step of a solution: its value, in words that do not tell it, and slips in computing it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import zip_longest

from spex_agents.answers import extract_answer
from spex_agents.answers.equivalence import plain_form
from spex_agents.answers.units import measure
from spex_agents.rewards.checking.arithmetic import equations, evaluate

_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+|,\d{1,2}(?![\d,]))?"
_UNIT = r"[A-Za-z]+(?![A-Za-z])(?:\^\{?\d\}?|[²³])?"
_QUANTITY = re.compile(
    rf"^(?P<before>[$£€]?)\s*(?P<number>[-+]?{_NUMBER}(?:\s*/\s*\d+)?)"
    rf"(?:\s*(?P<unit>[%°$£€¢]|(?:(?:square|cubic)\s+)?{_UNIT}(?:(?:\s*/\s*|\s+per\s+){_UNIT})?)"
    r"[^-+*/^=\\\d]*)?[\s.,;:!?)]*$"
)
_MIXED = re.compile(r"^([-+]?)(\d+)\s+(\d+)/(\d+)$")
_LABEL = re.compile(r"^\s*[^\W\d][\w ]*:\s*")
_TERM = re.compile(rf"{_NUMBER}(?:\s*[-+*/×·÷:x]\s*{_NUMBER})*")  # noqa: RUF001
_FRACTION = re.compile(rf"{_NUMBER}\s*/\s*{_NUMBER}")
_WORDS = re.compile(r"(?<![\\\w])[^\W\d_]{2,}")
_COMES_TO = re.compile(r"\b(?:is|are|makes?|gives?|equals?|leaves?|gets?)\s+$", re.IGNORECASE)
_LATEX_TEXT = re.compile(r"\\(?:text|mathrm|mbox)\s*\{([^{}]*)\}")

_LONGEST_ANSWER = 40  # characters
_SIGNS = "mglsh°$£€¢"  # of units; another letter by itself is algebra, as 5 x


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A value as it is written, and its unit of measure, if it has one of the common ones."""

    value: str
    unit: str | None = None

    def __str__(self) -> str:
        return f"{self.value} {self.unit or ''}".rstrip()


def quantity(text: str) -> Quantity:
    r"""A value without the words around a number.

    Example:
        >>> quantity("24 clips in May.").value, quantity("2x + 1.").value, quantity("$2.50").unit
        ('24', '2x + 1', '$')
    """
    text = _LATEX_TEXT.sub(r" \1 ", text).replace("\\$", "$").replace("\\%", "%")
    text = re.sub(r"\\[,;:! ]", " ", text).replace("**", "").strip()
    text = text[1:-1].strip() if len(text) > 2 and text[0] == text[-1] == "$" else text
    if mixed := _MIXED.match(text):
        sign, whole, top, bottom = mixed.groups()
        if int(bottom):
            return Quantity(value=f"{sign}{int(whole) * int(bottom) + int(top)}/{bottom}")
    if found := _QUANTITY.match(text):
        word = (found["unit"] or found["before"] or "").replace("²", "^2").replace("³", "^3")
        known = measure(word) if len(word) > 1 or word in _SIGNS else None
        unit = word if word == "%" else known.name if known and word != "in" else None
        if unit or len(word) != 1:
            written = found["number"]
            one_or_two = unit or not re.fullmatch(r"[-+]?\d,\d", written)  # 1,2 may be a list
            return Quantity(value=decimal(written) if one_or_two else written, unit=unit)
    return Quantity(value=text.rstrip(" .,;:!?"))


def decimal(number: str) -> str:
    """A number with a point for a decimal comma."""
    return re.sub(r"(?<=\d),(?=\d{1,2}$)", ".", number)


def stated(text: str) -> Quantity | None:
    """What a step comes to: the right side of its last equation, or its answer; None if nothing.

    Example:
        >>> stated("Tuesday: 19 + 6 = 25").value, stated("First we count the days.")
        ('25', None)
    """
    answer = extract_answer(text)
    if answer is None and "=" not in text:
        return None
    found = quantity(_right_side(answer or text))
    if number(found.value) is None:
        found = said(text) or found
    return found if found.value else None


def in_words(text: str) -> bool:
    """Whether a line is a sentence, more than a number with a label, a unit or a formula."""
    return "\\" not in text and len(_WORDS.findall(_LABEL.sub("", text))) > 1


def said(text: str) -> Quantity | None:
    """The value that a sentence tells: the only one besides sums, or what its end says it is.

    Example:
        >>> said("because 3 * 4 is 12, she has 12 cm left"), said("2x + 1")
        (Quantity(value='12', unit='cm'), None)
        >>> said("3 and 4 more make 7").value, said("She has 3 or 4")
        ('7', None)
    """
    if not in_words(text):
        return None
    terms = list(_TERM.finditer(text))
    told = []
    for term, following in zip(terms, [*terms[1:], None], strict=False):
        after = text[term.end() : following.start() if following else len(text)]
        fraction = _FRACTION.fullmatch(term[0]) and "=" not in after
        if number(decimal(term[0])) is not None and (fraction or re.fullmatch(_NUMBER, term[0])):
            told.append(quantity(term[0] + re.split(r"[,;.!?=]", after)[0]))
    values = {number(one.value) for one in told}
    if not told or None in values:
        return None
    if len(values) == 1:
        return next((one for one in told if one.unit), told[-1])
    last = terms[-1]
    ends = told[-1].unit is not None or not _WORDS.search(text[last.end() :])
    return told[-1] if ends and _COMES_TO.search(text[: last.start()]) else None


def bare(answer: str) -> str:
    """An answer without words and without the sum that led to it.

    Example:
        >>> bare("12 + 31 = 43 apples")
        '43'
    """
    return quantity(_right_side(answer)).value


def measured(answer: str) -> str:
    """An answer without the sum that led to it, but with its unit or noun.

    Example:
        >>> measured("12 + 31 = 43 apples."), measured(r"24 \\text{ cm}"), measured("$2.50")
        ('43 apples', '24 cm', '$2.50')
    """
    text = _right_side(answer).strip(" .,;:!?")
    short = len(text) <= _LONGEST_ANSWER and not re.search(r"[\\*]", text)
    return text if short and quantity(text).value in text else str(quantity(text))


def given(reply: str) -> Quantity:
    """What a student's line comes to: as `stated`, else the whole of it without a label.

    Example:
        >>> given("Tuesday: 25 apples").value, given("25 = 19 + 6").value, given("1 + 2x").value
        ('25', '25', '1 + 2x')
    """
    found = stated(reply) or quantity(_LABEL.sub("", reply))
    return found if number(found.value) is not None else said(reply) or found


def _right_side(text: str) -> str:
    """What follows the last =, or what is before it in "3 = x" and "25 = 19 + 6"."""
    left, _, right = text.rpartition("=")
    before = left.rpartition("=")[2]
    worked_out = number(before.strip()) is not None and number(quantity(right).value) is None
    open_sum = evaluate(right)[0] is not None or re.fullmatch(r"\s*[a-z]\s*\.?", right)
    return before if worked_out and open_sum else right


def form(value: str) -> str:
    """A cheap form in which equal numbers are equal."""
    found = plain_form(value)
    return "".join(value.split()) if found is None else found.value


def number(value: str) -> Fraction | None:
    try:
        return Fraction(form(value))
    except (ValueError, ZeroDivisionError):
        return None


def masked(text: str, value: str) -> str:
    """`text` with a question mark wherever it tells `value`, in whatever notation of a number.

    A division that comes to a whole number is no notation of it, but has to be worked out.

    Example:
        >>> masked("19 + 6 = 25, or 50/2 = 25.0", "25"), masked("3/6 = 0.5", "1/2")
        ('19 + 6 = ?, or 50/2 = ?', '? = ?')
    """
    if (size := number(value)) is None:
        literal = r"\s*".join(map(re.escape, "".join(value.split())))
        return re.sub(rf"(?<!\w){literal}(?!\w)", "?", text, flags=re.IGNORECASE)

    def hide(found: re.Match[str]) -> str:
        size_here = number(decimal(found[0]))
        return "?" if size_here is not None and abs(size_here) == abs(size) else found[0]

    if size.denominator != 1:
        text = re.sub(rf"{_NUMBER}\s*/\s*{_NUMBER}", hide, text)
    return re.sub(rf"{_NUMBER}", hide, text)


def false_sum(text: str) -> str | None:
    """A sum in `text` that does not hold, in words that do not tell the right one; None if all do.

    Example:
        >>> false_sum("Thursday: 31 + 6 = 47")
        '31 + 6 is not 47'
    """
    for one in equations(text):
        if not (one.part or one.holds or one.value is None) and len(one.terms) > 1:
            return f"{one.sides[0]} is not {one.sides[1]}"
    return None


def states_sum(text: str) -> bool:
    """Whether a calculator has anything to check in `text`."""
    return any(len(one.terms) > 1 and not one.part for one in equations(text))


def operands(text: str) -> list[str]:
    """The numbers that the last sum of `text` works on."""
    found = [equation.terms for equation in equations(text)]
    return [str(term) for term in found[-1]] if found else []


def _carries(terms: Iterable[Fraction]) -> bool:
    """Whether in the sum of `terms` something is carried from one place to the next."""
    digits = [str(abs(term))[::-1] for term in terms if term.denominator == 1]
    return any(sum(map(int, place)) >= 10 for place in zip_longest(*digits, fillvalue="0"))


def slip(value: str, right: str, step: str, before: Iterable[str]) -> str:
    """What kind of slip led to `value` where `step` comes to `right`.

    Args:
        value: What the student has.
        right: What it should be.
        step: The step, as the solution has it.
        before: The values of the steps before it.

    Returns:
        One of: a false sum (the value itself is right), not carried out, sign, carrying, a wrong
        digit (where nothing is carried), off by one, operation, of another kind.

    Example:
        >>> slip("15", "25", "19 + 6 = 25", ["19"]), slip("13", "25", "19 + 6 = 25", ["19"])
        ('carrying', 'operation')
        >>> slip("43", "13", "10 + 3 = 13", ["10"]), slip("17", "13", "10 + 3 = 13", ["10"])
        ('a wrong digit', 'of another kind')
    """
    mine, known = number(value), number(right)
    if mine is None or known is None:
        return "of another kind"
    if mine == known:
        return "a false sum"
    terms = [Fraction(term) for term in operands(step)]
    if mine in terms or mine in [number(one) for one in before]:
        return "not carried out"
    if mine == -known:
        return "sign"
    wrong = str(abs(mine - known))
    carried = "+" not in step or _carries(terms)
    if re.fullmatch("[1-9]0+", wrong):
        return "carrying" if carried or re.fullmatch("10+", wrong) else "a wrong digit"
    if abs(mine - known) == 1:
        return "off by one"
    if len(terms) == 2:
        left, other = terms
        if mine in (left + other, left - other, other - left, left * other) or (
            other and mine == left / other
        ):
            return "operation"
    return "of another kind"
