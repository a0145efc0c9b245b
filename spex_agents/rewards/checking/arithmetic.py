"""A calculator as a reward: does every equation that a path states hold?"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from operator import add, mod, mul, sub, truediv
from typing import Literal, NamedTuple, TypeAlias, get_args

from spex_agents.answers.equivalence import plain_form
from spex_agents.answers.extract import Extract, extract_answer, found_in
from spex_agents.engines.base import Request
from spex_agents.errors import SettingsError
from spex_agents.rewards.checking.measures import MARKS, Measures, bare
from spex_agents.rewards.checking.notation import as_arithmetic, readings
from spex_agents.search.tree import Thought

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_ARITHMETIC = "-+*/@().0123456789 \t" + MARKS  # @ is the remainder
_RIGHT = re.compile(
    r"[ \t]*(?P<number>-?\d+(?:\.(?P<part>\d+))?)(?P<dots>\.{3}|…)?"
    r"(?:[ \t]*(?:R|r|rem\.?|remainder|with a remainder of)[ \t]*(?P<rest>\d+)\b)?"
)
_SIGN = re.compile("[=≈]")
_ROW = re.compile(
    rf"\d[ \t]+(?=[\d(])|[{MARKS}][ \t]+(?=[\d(])"
)  # where one equation ends and the next begins
_LONGEST = 200  # characters of one side of an equation

Rule: TypeAlias = Literal["free", "once", "in order"]

_OPERATORS: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: add,
    ast.Sub: sub,
    ast.Mult: mul,
    ast.Div: truediv,
    ast.MatMult: mod,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Calculator:
    """1 while every equation of a path holds, and its answer is the last result; else 0.

    It does not know the answer: it checks the sums that the steps state (``17 + 5 = 22``, with
    + - * / : and parentheses, whole powers and roots, mixed numbers, decimal commas and units, in
    LaTeX or not), exactly, or rounded as they are written
    (``10 / 3 = 3.33``, ``7 / 2 = 3 R 1``), and says nothing about steps that state none. Where the
    rule is "free", it says nothing about an equation of which a sum is only a part (``2x + 4 =
    10``) either, nor about an answer after it.

    Attributes:
        rule: "free" asks no more than that. "once": equations may take only numbers of the question
            that no equation has taken yet, and results, and the answer must be all that is left:
            for puzzles whose question tells no target among its numbers. "in order": each equation
            takes the result before it and the question's next numbers, as a running total does.
            Word problems need "free", since they use numbers again.
        extract: Finds an answer in a step: the search's own.

    Example:
        >>> import asyncio
        >>> def score(*steps: str) -> float:
        ...     thoughts = [Thought(text=step, tokens=9) for step in steps]
        ...     request = Request(id="r", seed=7)
        ...     return asyncio.run(Calculator(rule="once").score("4 + 8 + 5", thoughts, request))
        >>> score("4 + 8 = 12"), score("4 + 8 = 11"), score("4 + 8 = 12", "The answer is 12")
        (1.0, 0.0, 0.0)

    Raises:
        SettingsError: There is no such rule.
    """

    rule: Rule = "free"
    extract: Extract = extract_answer
    name: str = "calculator"
    needs_logprobs: bool = False
    pure: bool = True
    seeded: bool = False

    def __post_init__(self) -> None:
        if self.rule not in get_args(Rule):
            raise SettingsError(f"rule={self.rule!r}: must be one of {', '.join(get_args(Rule))}")

    async def score(self, question: str, thoughts: Sequence[Thought], request: Request) -> float:
        """Score the path of `thoughts`, all its steps."""
        left = [Fraction(number) for number in _NUMBER.findall(as_arithmetic(question))]
        last: Fraction | None = None
        exact: Fraction | None = None
        unread = False
        for thought in thoughts:
            for equation in equations(thought.text):
                if equation.part and self.rule == "free":
                    unread = True
                    continue
                terms, result = equation.terms, equation.right
                if not equation.holds or not self._allows(terms, left):
                    return 0.0
                if self.rule != "free":
                    for term in terms:
                        left.remove(term)
                    left.insert(0, result)
                last, exact, unread = result, equation.exact, False
        cut = thoughts[-1].finish == "length"
        answer = found_in(self.extract, thoughts[-1].text, cut=cut, ended=thoughts[-1].ends)
        if answer is None or unread:
            return 1.0
        settled = last is not None and (self.rule == "free" or left == [last])
        plain = bare(Measures().marked(as_arithmetic(answer))).rpartition("=")[2].strip(" .\t")
        given = _RIGHT.fullmatch(plain)
        if given is not None and given["rest"]:
            return float(settled and Fraction(given["number"]) == last)
        value = evaluate(plain)[0]
        if value is None and (form := plain_form(answer)) is not None:
            value = evaluate(form.value)[0]  # 12 apples
        if value is None and self.rule == "free":
            return 1.0  # a time of day, a word
        percent = None if value is None or "%" not in answer else 100 * value
        return float(settled and not {value, percent}.isdisjoint({last, exact} - {None}))

    def _allows(self, terms: list[Fraction], left: list[Fraction]) -> bool:
        if self.rule == "in order":
            return terms == left[: len(terms)]
        return self.rule == "free" or Counter(terms) <= Counter(left)


class Equation(NamedTuple):
    """A sum and what it is said to come to.

    Attributes:
        terms: The numbers on the left.
        value: What they come to; None where `evaluate` finds nothing.
        right: What is on the right: a number, or the value of another sum.
        part: Whether it is only what was cut out of an equation of another kind.
        holds: Whether both are the same, to the digits that are written.
        sides: Both, as they are written.
    """

    terms: list[Fraction]
    value: Fraction | None
    right: Fraction
    part: bool
    holds: bool
    sides: tuple[str, str]

    @property
    def exact(self) -> Fraction:
        """The sum's own value, where the right side is that rounded to decimals."""
        apart = 1 if self.value is None else abs(self.value - self.right)
        near = self.right.denominator > 1 and apart <= Fraction(1, 2 * self.right.denominator)
        return self.value if near and self.value is not None else self.right


def equations(text: str) -> Iterator[Equation]:
    """The sums that a text states.

    Example:
        >>> [(str(one.value), str(one.right)) for one in equations("So 17 + 5 = 23 apples.")]
        [('22', '23')]
    """
    found = [list(_stated(reading)) for reading in readings(text)]
    held = [[one.holds for one in stated if not one.part] for stated in found]
    # Another reading is meant where it reads no less, and all of it holds.
    sound = (at for at, holds in enumerate(held) if all(holds) and len(holds) >= len(held[0]))
    yield from found[next(sound, 0)]


def _stated(text: str) -> Iterator[Equation]:
    # Sentences end at a full stop, but not a number that goes on without end.
    text = re.sub(r"\.(?![\d.])(?<!\.\.)", ";", as_arithmetic(text))
    measures = Measures()
    text = measures.marked(text)
    signs = [sign.start() for sign in _SIGN.finditer(text)]
    for sign, last, following in zip(signs, [-1, *signs], [*signs[1:], len(text)], strict=False):
        before, after = text[last + 1 : sign], text[sign + 1 : following]
        left = before[len(before.rstrip(_ARITHMETIC)) :]
        rows = list(_ROW.finditer(left))
        joined = any(row[0][0] in MARKS for row in rows)  # 5 m 20 cm, or: in 5 min 3 * 4
        lead = before.removesuffix(left)
        labelled = lead[-2:].strip().isalpha()  # Step 1 100 + 20
        if rows and (joined or labelled or (last >= 0 and not lead)):
            left = " " + left[rows[-1].end() :]
        rest = after.lstrip(_ARITHMETIC)
        on_right = after[: len(after) - len(rest)].rstrip(" \t(+-*/")
        right, (result, others) = _RIGHT.match(bare(after)), evaluate(bare(on_right))
        if right is None and (
            result is None or (re.match(r"[\w^\\]", rest) and bare(on_right) == on_right)
        ):
            continue  # (1/2) x
        if re.match(r":\d", rest):
            continue  # a time of day
        if not _NUMBER.search(left):
            continue
        value, terms = evaluate(bare(left))
        part = _is_part(lead, left, len(terms))
        compound = (joined and len(terms) < 2) or re.search(rf"[{MARKS}]\s+\d", on_right)
        written = right if result is None or len(others) < 2 else None  # None where it is a sum
        stated = result or Fraction(0) if written is None else Fraction(written["number"])
        equal = partial(
            _equal,
            stated=stated,
            written=written,
            terms=terms,
            left=bare(left),
            about=text[sign] == "≈",
        )
        percent = rest[:1] == "%" and value is not None and equal(100 * value)  # 3/25 = 12%
        holds = percent or measures.holds(left, on_right, evaluate, equal)
        shown = written[0] if written and on_right[-1:] not in MARKS else on_right
        sides = measures.shown(left.strip()), measures.shown(shown.strip())
        part = part or bool(compound) or holds is None
        stated /= 100 if percent else 1
        yield Equation(terms, value, stated, part, bool(holds), sides)


def _equal(
    value: Fraction | None,
    *,
    stated: Fraction,
    written: re.Match[str] | None,
    terms: Sequence[Fraction],
    left: str,
    about: bool,
) -> bool:
    """Whether a value is what the other side comes to, or what is written there."""
    if value is None or written is None:
        return value == stated
    return _comes_to(value, terms, left, written, about)


def _comes_to(
    value: Fraction, terms: Sequence[Fraction], left: str, right: re.Match[str], about: bool
) -> bool:
    """Whether a value is what is written: exactly, or rounded to as many digits as there are."""
    stated = Fraction(right["number"])
    if right["rest"]:
        remainder = Fraction(right["rest"])
        divides = len(terms) == 2 and "/" in left and terms[1] > remainder
        return divides and terms[0] == stated * terms[1] + remainder
    unit = Fraction(1, 10 ** len(right["part"] or ""))
    if value == stated or ((value / unit).denominator == 1 and not about):
        return value == stated
    if right["dots"]:
        return 0 <= abs(value) - abs(stated) < unit and (value < 0) == (stated < 0)
    return bool(right["part"] or about) and abs(value - stated) <= unit / 2


def _is_part(before: str, left: str, terms: int) -> bool:
    """Whether something before a sum belongs to it: in ``2x + 4``, ``2^3``, ``half of 48``."""
    word = before.rstrip()
    if re.search(r"\d:$", before) and left[:1].isdigit():
        return True  # a time of day
    if not word or not (word[-1].isalnum() or word[-1] in "%^_}]\\√"):
        return False
    first = left.lstrip()
    leads = first[0] in "+*/" or first[:2] in ("- ", "-\t")
    return leads or terms < 2 or left[:1].strip() != "" or word.endswith("% of")


def evaluate(text: str) -> tuple[Fraction | None, list[Fraction]]:
    """The exact value of an arithmetic expression, and its numbers in their order.

    Only numbers, + - * / and parentheses; None for the value of anything else, of a division by
    zero, and of what is too long. Nothing of it is executed.

    Example:
        >>> evaluate("(4 + 8) / 5")
        (Fraction(12, 5), [Fraction(4, 1), Fraction(8, 1), Fraction(5, 1)])
    """
    terms: list[Fraction] = []
    if len(text) > _LONGEST:
        return None, terms
    try:
        return _evaluate(ast.parse(text.strip(), mode="eval").body, terms), terms
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None, terms


def _evaluate(node: ast.expr, terms: list[Fraction]) -> Fraction:
    match node:
        case ast.Constant(value=int() | float()):
            terms.append(Fraction(str(node.value)))
            return terms[-1]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            terms.append(-Fraction(str(number)))
            return terms[-1]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_evaluate(left, terms), _evaluate(right, terms))
    raise ValueError(f"{ast.dump(node)} is no sum")
